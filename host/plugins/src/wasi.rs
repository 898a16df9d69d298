//! Inert WASI 0.2: what language runtimes insist on, without anything behind it. No directories, environment,
//! arguments or network; an empty standard input; output kept with a cap; clocks and random numbers that are derived
//! from the call and repeat with it.

mod poll;

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxBuilder, async_trait};

use crate::limits::Limits;

pub(crate) use poll::add_to_linker;

/// How far a clock moves each time it is read: far enough that two readings differ.
const CLOCK_STEP: Duration = Duration::from_micros(1);

/// What one write may bring at once; the size that WASI implementations usually permit.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// What makes two calls alike: the same seed gives the same random numbers, the same moment the same clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Determinism {
    /// SHA-256 of the plugin and everything it is given.
    pub(crate) seed: [u8; 32],
    /// What the wall clock shows at first, since 1970-01-01T00:00:00Z.
    pub(crate) now: Duration,
}

/// Builds the world that a guest finds itself in.
pub(crate) fn inert(
    limits: &Limits,
    determinism: Determinism,
    stdout: &Capture,
    stderr: &Capture,
) -> WasiCtx {
    let generator = |stream: u64| {
        let mut generator = ChaCha12Rng::from_seed(determinism.seed);
        generator.set_stream(stream);
        generator
    };
    let ticks = Arc::new(AtomicU64::new(0));
    let mut builder = WasiCtxBuilder::new();
    builder
        .stdout(stdout.clone())
        .stderr(stderr.clone())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .secure_random(generator(0))
        .insecure_random(generator(1))
        .insecure_random_seed(u128::from_le_bytes(
            determinism.seed[..16].try_into().expect("a seed has 32 bytes"),
        ))
        .max_random_size(limits.random_bytes_max)
        .wall_clock(DerivedClock { start: determinism.now, ticks: Arc::clone(&ticks) })
        .monotonic_clock(DerivedClock { start: Duration::ZERO, ticks });
    builder.build()
}

/// A clock that starts at a given moment and moves by [`CLOCK_STEP`] with each reading.
struct DerivedClock {
    start: Duration,
    ticks: Arc<AtomicU64>,
}

impl DerivedClock {
    fn read(&self) -> Duration {
        let ticks = self.ticks.fetch_add(1, Ordering::Relaxed);
        self.start
            .saturating_add(CLOCK_STEP.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX)))
    }
}

impl HostWallClock for DerivedClock {
    fn resolution(&self) -> Duration {
        CLOCK_STEP
    }

    fn now(&self) -> Duration {
        self.read()
    }
}

impl HostMonotonicClock for DerivedClock {
    fn resolution(&self) -> u64 {
        CLOCK_STEP.as_nanos() as u64
    }

    fn now(&self) -> u64 {
        u64::try_from(self.read().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Room for output that standard output and standard error of one call share.
#[derive(Debug)]
pub(crate) struct CaptureRoom {
    left: AtomicU64,
    dropped: AtomicU64,
}

impl CaptureRoom {
    pub(crate) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(CaptureRoom { left: AtomicU64::new(bytes_max), dropped: AtomicU64::new(0) })
    }

    /// Returns how many bytes did not fit.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// A stream that keeps what is written while there is room and counts the rest. It never fails and never blocks: a
/// plugin must not trap because it is talkative.
#[derive(Debug, Clone)]
pub(crate) struct Capture {
    kept: Arc<Mutex<Vec<u8>>>,
    room: Arc<CaptureRoom>,
}

impl Capture {
    pub(crate) fn new(room: &Arc<CaptureRoom>) -> Self {
        Capture { kept: Arc::default(), room: Arc::clone(room) }
    }

    /// Takes what was written so far.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, bytes: &[u8]) {
        let wanted = bytes.len() as u64;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fits = 0;
        let update = |left: u64| {
            fits = left.min(wanted);
            Some(left - fits)
        };
        self.room
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update)
            .expect("the update always gives a value");
        kept.extend_from_slice(&bytes[..fits as usize]);
        self.room.dropped.fetch_add(wanted - fits, Ordering::Relaxed);
    }
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Capture {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.keep(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.keep(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }

    /// The usual implementation would make as many zeroes as the guest names.
    fn write_zeroes(&mut self, count: usize) -> StreamResult<()> {
        if count > WRITE_BYTES_MAX {
            return Err(StreamError::trap(
                "more zeroes were written at once than `check-write` permits",
            ));
        }
        self.keep(&vec![0; count]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_beyond_the_room_is_counted_and_dropped() {
        let room = CaptureRoom::new(5);
        let (stdout, stderr) = (Capture::new(&room), Capture::new(&room));

        stdout.keep(b"abc");
        stderr.keep(b"defg");
        stdout.keep(b"h");

        assert_eq!(stdout.take(), b"abc");
        assert_eq!(stderr.take(), b"de");
        assert_eq!(room.dropped(), 3);
    }

    #[test]
    fn a_clock_repeats_itself_and_never_stands_still() {
        let clock = || DerivedClock { start: Duration::from_secs(7), ticks: Arc::default() };
        let (one, other) = (clock(), clock());

        let first = HostWallClock::now(&one);
        let second = HostWallClock::now(&one);

        assert_eq!(first, Duration::from_secs(7));
        assert!(second > first);
        assert_eq!(HostWallClock::now(&other), first);
    }
}
