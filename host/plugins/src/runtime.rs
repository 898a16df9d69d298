//! The engine that runs plugins, the clock that interrupts them, and the threads that they run on. One per process.

mod guests;
mod ticker;

use std::fs::File;
use std::hash::{Hash, Hasher};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tracing::warn;
use wasmparser::WasmFeatures;
use wasmtime::component::Component;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy,
};

use crate::limits::Limits;

use guests::GuestThreads;
use ticker::Ticker;

pub(crate) use ticker::Ticking;

/// How many plugins are asked who they are at the same time: enough that one that takes all its time holds up no other,
/// few enough that a folder full of them leaves the processors to calls.
pub(crate) const DESCRIBES_MAX: u32 = 2;

/// How often running guests are asked to look at their deadline. Short enough for a deadline of 250 ms, long enough to
/// cost nothing.
const TICK: Duration = Duration::from_millis(10);

/// Stack of one guest in bytes. The engine's default; deeper recursion is a trap. Its thread has more, for the host's
/// functions.
const WASM_STACK_BYTES: usize = 512 * 1024;

/// Threads for what only waits: timers, the pipes of compiler processes, the keeper of the plugins directory.
const WAITING_THREADS: usize = 1;

/// Threads that may wait for a disk on behalf of guests. A hanging network disk can hold this many calls.
const DISK_THREADS_MAX: usize = 16;

/// The WebAssembly that plugins may use: the 2.0 standard, several memories (components with adapters need them) and
/// extended constants. Measured with Rust, Python and two JavaScript toolchains. Everything else is off: it is attack
/// surface that no plugin needs.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .difference(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// How the memory of instances is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Allocator {
    /// Fresh from the system for each call, and given back after it. Works in a small address space.
    OnDemand,
    /// From a pool reserved at start, sized by the limits. The default, by measurement: on Linux 6.7 and later a call
    /// takes three quarters of the time, and two processors do twice as many, because the system has not to change the
    /// address space for each. Falls back to [`Allocator::OnDemand`] where the address space does not allow it.
    #[default]
    Pooling,
}

/// The machinery could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The engine refused its configuration.
    #[error("failed to set up the WebAssembly engine: {0}")]
    Engine(String),
    /// A thread could not be started.
    #[error("failed to start the threads for plugins")]
    Threads(#[source] std::io::Error),
}

/// The engine, its clock and its threads.
pub(crate) struct Runtime {
    engine: Engine,
    compatibility: String,
    ticker: Ticker,
    guests: GuestThreads,
    /// Only taken when the runtime is dropped.
    threads: Option<tokio::runtime::Runtime>,
}

impl Runtime {
    pub(crate) fn new(limits: &Limits, allocator: Allocator) -> Result<Self, RuntimeError> {
        let engine = engine(limits, allocator)?;
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WAITING_THREADS)
            .max_blocking_threads(DISK_THREADS_MAX)
            .thread_name("caelum-plugins")
            // Timers for deadlines, and the pipes of compiler processes.
            .enable_all()
            .build()
            .map_err(RuntimeError::Threads)?;
        let ticker = Ticker::start(&engine).map_err(RuntimeError::Threads)?;
        let compatibility = compatibility(&engine);
        let guests = GuestThreads::new();
        Ok(Runtime { engine, compatibility, ticker, guests, threads: Some(threads) })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns a text that is equal exactly for engines that can run each other's compiled code.
    pub(crate) fn compatibility(&self) -> &str {
        &self.compatibility
    }

    /// Keeps the clock going for as long as the answer lives.
    pub(crate) fn ticking(&self) -> Ticking {
        self.ticker.ticking()
    }

    /// Runs a call on a thread for guests, not on one of the caller or of [`Runtime::threads`]: it may compute for as
    /// long as it may run, and nobody else has to wait for that. The caller bounds how many run at the same time.
    ///
    /// # Errors
    ///
    /// The system has no thread left; the call is dropped.
    pub(crate) fn run_guest(&self, call: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        self.guests.run(call)
    }

    /// Returns the threads for what the host itself waits for: disks, compilers, timers.
    pub(crate) fn threads(&self) -> &tokio::runtime::Handle {
        self.threads.as_ref().expect("they are taken only when the runtime is dropped").handle()
    }

    /// Loads what this program's engine has compiled.
    ///
    /// # Errors
    ///
    /// What the engine says of a file that it cannot use.
    #[expect(
        unsafe_code,
        reason = "the engine's way to load its own compiled code without compiling again"
    )]
    pub(crate) fn load_compiled(
        &self,
        trusted: &TrustedArtifact<'_>,
    ) -> wasmtime::Result<Component> {
        // By its descriptor: whoever exchanges the name in between exchanges nothing that is loaded.
        let path = format!("/proc/self/fd/{}", trusted.0.as_raw_fd());
        // SAFETY: the file was written by this program's own compiler. A `TrustedArtifact` is made in two places: by
        // the cache, after it has checked that the directory is private to this user (mode 0700, owned by us), that
        // the file is a regular file of ours, and that its bytes have the SHA-256 that the cache wrote down when it
        // was made; and of what a compiler process of ours has just written to a file without a name, which was
        // sealed against every change. Files of the cache are never written in place: they are created under another
        // name and renamed, so that the bytes that are mapped here cannot change.
        unsafe { Component::deserialize_file(&self.engine, Path::new(&path)) }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            // Waiting for the threads is not allowed inside asynchronous code, which is where handles are dropped.
            threads.shutdown_background();
        }
    }
}

/// A compiled plugin whose origin has been checked. Made in `cache.rs`, of a file of the cache, and in `host.rs`, of a
/// compiler's sealed output.
pub(crate) struct TrustedArtifact<'a>(pub(crate) &'a File);

/// Builds the engine of a compiler process: the same code as the server's engine makes, and no memory for instances.
///
/// # Errors
///
/// A text, when it would make code that the server's engine cannot run.
pub(crate) fn compiler_engine(expected: &str) -> Result<Engine, String> {
    let engine = build(InstanceAllocationStrategy::OnDemand).map_err(|error| chain(&error))?;
    let found = compatibility(&engine);
    if found == expected {
        Ok(engine)
    } else {
        Err(format!("it makes code of the kind {found}, and the server runs {expected}"))
    }
}

fn build(strategy: InstanceAllocationStrategy) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .wasm_features(WasmFeatures::all().difference(FEATURES), false)
        .wasm_features(FEATURES, true)
        .epoch_interruption(true)
        .consume_fuel(false)
        // The bits of a NaN would differ between processors, and with them a verdict.
        .cranelift_nan_canonicalization(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .shared_memory(false)
        .allocation_strategy(strategy);
    Engine::new(&config)
}

fn engine(limits: &Limits, allocator: Allocator) -> Result<Engine, RuntimeError> {
    if allocator == Allocator::Pooling {
        match build(InstanceAllocationStrategy::Pooling(pool(limits))) {
            Ok(engine) => return Ok(engine),
            Err(error) => {
                warn!(error = %chain(&error), "no address space for a pool of instances; they are allocated on demand");
            }
        }
    }
    build(InstanceAllocationStrategy::OnDemand).map_err(|error| RuntimeError::Engine(chain(&error)))
}

/// Address space of one memory in the pool: all that a 32-bit memory can have, which is what the engine reserves for each
/// in any case.
const MEMORY_SLOT_BYTES: usize = 1 << 32;

/// Memories, and tables, of one core module: more are not WebAssembly to the engine's validator. The engine counts up to
/// this number when a module is dropped.
const MODULE_MAX: u32 = 100;

/// Bytes that the engine may keep of an instance besides its memories: a few for each function and global, and so less
/// than the largest file has.
const INSTANCE_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of a slot's memory and tables that stay with the pool after a call. What a guest has touched of them is put back
/// by copying, which takes microseconds and interrupts no other processor; what lies beyond goes back to the system.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Sizes the pool so that every component that the limits admit fits, as often as guests may run at the same time. What a
/// component may have is for the limiter to say, in its own words; only the tables are as large here as they may be,
/// because their memory is reserved in full.
fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let guests = number(limits.calls_max).saturating_add(DESCRIBES_MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(guests)
        .total_core_instances(guests.saturating_mul(number(limits.instances_max)))
        // Guests run on the stacks of their threads.
        .total_stacks(0)
        .total_memories(guests.saturating_mul(number(limits.memories_max)))
        .total_tables(guests.saturating_mul(number(limits.tables_max)))
        .table_elements(usize::try_from(limits.table_elements_max).unwrap_or(usize::MAX))
        .max_memory_size(MEMORY_SLOT_BYTES)
        .max_core_instances_per_component(u32::MAX)
        .max_memories_per_component(u32::MAX)
        .max_tables_per_component(u32::MAX)
        .max_memories_per_module(MODULE_MAX)
        .max_tables_per_module(MODULE_MAX)
        .max_component_instance_size(INSTANCE_BYTES)
        .max_core_instance_size(INSTANCE_BYTES);
    // Without the system's word on what was touched, all that is kept would have to be copied.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(KEPT_BYTES)
            .table_keep_resident(KEPT_BYTES);
    }
    pool
}

/// Feeds what is hashed to SHA-256, whose value is the same in every process.
struct StableHasher(Sha256);

impl Hasher for StableHasher {
    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        u64::from_le_bytes(digest[..8].try_into().expect("a SHA-256 has more than eight bytes"))
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

fn compatibility(engine: &Engine) -> String {
    let mut hasher = StableHasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Returns an error of the engine with all its causes on one line.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_code_of_one_configuration_fits_every_engine_of_it() {
        let limits = Limits::default();

        let one = Runtime::new(&limits, Allocator::OnDemand).expect("starts");
        let other = Runtime::new(&limits, Allocator::OnDemand).expect("starts");

        assert_eq!(one.compatibility(), other.compatibility());
        assert_eq!(one.compatibility().len(), 16);
    }

    #[test]
    fn a_compiler_process_makes_what_every_allocator_can_run() {
        for allocator in [Allocator::OnDemand, Allocator::Pooling] {
            let runtime = Runtime::new(&Limits::default(), allocator).expect("starts");

            assert!(compiler_engine(runtime.compatibility()).is_ok(), "{allocator:?}");
        }
        let Err(told) = compiler_engine("0123456789abcdef") else { panic!("another kind") };
        assert!(told.ends_with("and the server runs 0123456789abcdef"), "{told}");
    }

    #[test]
    fn a_pool_of_instances_starts_or_falls_back() {
        assert!(Runtime::new(&Limits::default(), Allocator::Pooling).is_ok());
    }
}
