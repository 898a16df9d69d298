//! The clock of the engine: a thread that advances its epoch, so that a guest that computes looks at its deadline.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::info;
use wasmtime::{Engine, EngineWeak};

use super::TICK;

/// How many ticks the clock goes on after the last call, so that calls in a row do not wake its thread each time.
const LINGER_TICKS: u32 = 20;

/// Advances the engine's epoch every [`TICK`] while calls are running and a moment longer. When no call has run for
/// that moment, the thread sleeps and nothing wakes up.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<TickerState>,
    changed: Condvar,
}

#[derive(Default)]
struct TickerState {
    calls: usize,
    asleep: bool,
    stop: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, TickerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the clock going; returned by [`super::Runtime::ticking`].
pub(crate) struct Ticking(Arc<Shared>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.lock().calls -= 1;
    }
}

impl Ticker {
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared =
            Arc::new(Shared { state: Mutex::new(TickerState::default()), changed: Condvar::new() });
        let weak = engine.weak();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("caelum-ticker".to_owned())
            .spawn(move || tick(&theirs, &weak))?;
        Ok(Ticker { shared, thread: Some(thread) })
    }

    pub(super) fn ticking(&self) -> Ticking {
        let asleep = {
            let mut state = self.shared.lock();
            state.calls += 1;
            state.asleep
        };
        if asleep {
            self.shared.changed.notify_one();
        }
        Ticking(Arc::clone(&self.shared))
    }
}

fn tick(shared: &Shared, engine: &EngineWeak) {
    let mut state = shared.lock();
    let mut idle_ticks = 0;
    loop {
        if state.stop {
            return;
        }
        if state.calls > 0 {
            idle_ticks = 0;
        } else if idle_ticks >= LINGER_TICKS {
            state.asleep = true;
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep = false;
            idle_ticks = 0;
            continue;
        }
        idle_ticks += 1;
        let (after, waited) = wait(shared, state, TICK);
        state = after;
        if waited {
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
        }
    }
}

/// Waits; says whether the whole time has passed.
fn wait<'a>(
    shared: &Shared,
    state: MutexGuard<'a, TickerState>,
    time: Duration,
) -> (MutexGuard<'a, TickerState>, bool) {
    let (state, waited) =
        shared.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner);
    (state, waited.timed_out())
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            info!("the clock of the plugin engine had stopped before its engine");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_clock_sleeps_when_nothing_has_run_for_a_while_and_wakes_up_for_a_call() {
        let engine = Engine::default();
        let ticker = Ticker::start(&engine).expect("starts");
        let asleep = || ticker.shared.lock().asleep;
        let until = |wanted: bool| {
            let limit = Instant::now() + Duration::from_secs(30);
            while asleep() != wanted {
                assert!(Instant::now() < limit, "the clock does not follow");
                std::thread::yield_now();
            }
        };

        until(true);
        let ticking = ticker.ticking();
        until(false);
        drop(ticking);
        until(true);
    }
}
