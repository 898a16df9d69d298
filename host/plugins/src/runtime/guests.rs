//! The threads that guests run on: one for each call, started when none is idle, and kept. There are as many as calls
//! have run at the same time, and for a moment one more for each that was just ending. What runs on them is computed to its
//! end; a call that waits for the host waits here and holds up nobody.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

/// Stack of one thread in bytes: the guest's own share, and what the host's functions need on top of the deepest guest.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// A call on its way to a thread.
type Job = Box<dyn FnOnce() + Send>;

/// A job and the way to hand the next one to the same thread.
struct Given {
    job: Job,
    again: SyncSender<Given>,
}

/// Hands calls to threads. The one that was idle last comes first: its stack is still in the processor's caches.
pub(super) struct GuestThreads(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    /// One sender for each thread that waits; dropping it ends the thread.
    idle: Vec<SyncSender<Given>>,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Threads> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GuestThreads {
    pub(super) fn new() -> Self {
        GuestThreads(Arc::default())
    }

    /// Runs a job at once, on an idle thread or on a new one. A job that panics ends alone.
    ///
    /// # Errors
    ///
    /// The system has no thread left; the job is dropped.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let job: Job = Box::new(job);
        let idle = self.0.lock().idle.pop();
        let job = match idle {
            // It waits for exactly this, so that there is room and it is there.
            Some(again) => match again.clone().send(Given { job, again }) {
                Ok(()) => return Ok(()),
                Err(unsent) => unsent.0.job,
            },
            None => job,
        };
        let (again, given) = sync_channel(1);
        let shared = Arc::clone(&self.0);
        Builder::new()
            .name("caelum-guest".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || serve(&shared, Given { job, again }, &given))
            .map(drop)
    }
}

fn serve(shared: &Shared, first: Given, next: &Receiver<Given>) {
    let mut given = first;
    loop {
        let Given { job, again } = given;
        // Whoever waits for the job's answer sees that there is none; the hook has told of the panic.
        drop(catch_unwind(AssertUnwindSafe(job)));
        {
            let mut threads = shared.lock();
            if threads.stopped {
                return;
            }
            threads.idle.push(again);
        }
        match next.recv() {
            Ok(another) => given = another,
            Err(_) => return,
        }
    }
}

impl Drop for GuestThreads {
    /// Lets the threads end. Waiting for them is not possible: the last holder may be one of them.
    fn drop(&mut self) {
        let mut threads = self.0.lock();
        threads.stopped = true;
        threads.idle.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Far longer than anything here should take on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn jobs_run_side_by_side_on_threads_of_their_own() {
        let threads = GuestThreads::new();
        let together = Arc::new(Barrier::new(3));
        for _ in 0..2 {
            let together = Arc::clone(&together);
            let job = move || {
                together.wait();
            };
            threads.run(job).expect("a thread");
        }

        // Returns only when both run at the same time, and neither on this thread.
        together.wait();
    }

    #[test]
    fn a_thread_that_is_idle_takes_the_next_job_even_after_a_panic() {
        let threads = GuestThreads::new();
        let (sender, told) = channel();
        let mut seen = Vec::new();
        for turn in 0..3 {
            let sender = sender.clone();
            let job = move || {
                sender.send(thread::current().id()).expect("somebody listens");
                assert!(turn != 1, "a job that breaks down, on purpose");
            };
            threads.run(job).expect("a thread");
            seen.push(told.recv_timeout(PATIENCE).expect("it has run"));
            while threads.0.lock().idle.is_empty() {
                thread::yield_now();
            }
        }

        assert!(seen.iter().all(|id| *id == seen[0]), "{seen:?}");
    }

    #[test]
    fn threads_end_with_the_last_holder_even_when_it_is_one_of_them() {
        let threads = Arc::new(GuestThreads::new());
        let shared = Arc::downgrade(&threads.0);
        let (sender, told) = channel::<()>();
        let (go, wait) = channel::<()>();
        let held = Arc::clone(&threads);
        let job = move || {
            wait.recv().expect("told to go on");
            drop(held);
            drop(sender);
        };
        threads.run(job).expect("a thread");
        drop(threads);

        go.send(()).expect("it waits");

        assert!(told.recv_timeout(PATIENCE).is_err(), "nothing is said, the sender is dropped");
        while shared.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
