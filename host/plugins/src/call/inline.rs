//! Inline calls: a call that is over before another thread would have woken up runs on the thread of its caller.
//!
//! Waking another thread and being woken by it costs more than a quick guest does, most of all on a virtual machine with
//! idle processors. So a plugin that has been quick for a while is begun where its caller is. What makes that safe is
//! that it may do nothing there but compute for a moment: at the first tick of the clock, at its first call of the host,
//! and when it wants more memory than [`Limits::inline_memory_bytes_max`], it is stopped, forgotten, and begun again on a
//! thread of its own, where it may use all that its limits give. A call is the same whichever way it ran, because a guest
//! sees nothing but its arguments.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::limits::Limits;

use super::perform::Performed;

/// How long a call takes that is called quick: a few times what handing it to another thread and back costs (measured:
/// 5 to 60 microseconds), and no longer than anything else that a thread which serves others does in one go.
const QUICK: Duration = Duration::from_micros(250);

/// How many quick calls in a row a plugin needs to be called inline. One that pretends is found out by the next tick, and
/// then needs as many again.
const QUICK_CALLS: u32 = 8;

/// Stack in bytes that a thread must have left: the guest's share and what the host's functions need on top.
const STACK_BYTES: usize = 1024 * 1024;

/// How quick a plugin has been of late.
#[derive(Debug, Default)]
pub(crate) struct Quickness(AtomicU32);

impl Quickness {
    /// Whether its next call may be tried inline, on this thread.
    pub(super) fn admits(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= QUICK_CALLS && has_room(stacker::remaining_stack())
    }

    /// Takes a plugin for quick.
    pub(crate) fn assume(&self) {
        self.0.store(QUICK_CALLS, Ordering::Relaxed);
    }

    /// Notes a call.
    pub(super) fn note(&self, performed: &Performed, limits: &Limits) {
        if was_quick(performed, limits) {
            // Years from its end; and where it wraps, the plugin is only not quick for a while.
            self.0.fetch_add(1, Ordering::Relaxed);
        } else {
            self.0.store(0, Ordering::Relaxed);
        }
    }
}

/// Says whether the stack that a thread has left is enough. Unknown is not.
fn has_room(stack_bytes: Option<usize>) -> bool {
    stack_bytes.is_some_and(|left| left >= STACK_BYTES)
}

/// Says whether a call could as well have run inline.
fn was_quick(performed: &Performed, limits: &Limits) -> bool {
    performed.answer.is_ok()
        && performed.remains.host_calls == 0
        && performed.remains.memory_bytes <= limits.inline_memory_bytes_max
        && performed.instantiated + performed.duration <= QUICK
}

#[cfg(test)]
mod tests {
    use caelum_core::plugin::HostReason;

    use crate::bindings::types::PluginError;
    use crate::call::perform::Answer;
    use crate::log::Logs;
    use crate::state::Remains;
    use crate::target::ReadCounts;

    use super::*;

    const HALF: Duration = Duration::from_micros(125);

    fn quick() -> Performed {
        Performed {
            answer: Ok(Answer::Plan(Err(PluginError::Other("an answer is an answer".to_owned())))),
            needs_thread: false,
            stood: true,
            instantiated: HALF,
            duration: HALF,
            deadline_left: Duration::ZERO,
            remains: Remains {
                logs: Logs::default(),
                counts: ReadCounts::default(),
                host_calls: 0,
                memory_bytes: Limits::default().inline_memory_bytes_max,
            },
        }
    }

    #[test]
    fn only_what_computes_for_a_moment_and_answers_is_quick() {
        let limits = Limits::default();
        assert!(was_quick(&quick(), &limits));
        let spoilt = |what: &str, spoil: fn(&mut Performed)| {
            let mut call = quick();
            spoil(&mut call);

            assert!(!was_quick(&call, &limits), "{what}");
        };
        spoilt("slow to call", |call| call.duration += Duration::from_nanos(1));
        spoilt("slow to make", |call| call.instantiated += Duration::from_nanos(1));
        spoilt("calls the host", |call| call.remains.host_calls = 1);
        spoilt("large", |call| call.remains.memory_bytes += 1);
        spoilt("no answer", |call| call.answer = Err(HostReason::Cancelled));
    }

    #[test]
    fn a_thread_needs_stack_and_has_to_know_how_much() {
        assert!(has_room(Some(STACK_BYTES)));
        assert!(!has_room(Some(STACK_BYTES - 1)));
        assert!(!has_room(None));
    }

    #[test]
    fn eight_quick_calls_in_a_row_are_needed_and_one_that_is_not_undoes_them() {
        let (limits, quickness) = (Limits::default(), Quickness::default());
        for _ in 0..2 {
            for _ in 0..QUICK_CALLS {
                assert!(!quickness.admits());
                quickness.note(&quick(), &limits);
            }
            assert!(quickness.admits());
            let slow = Performed { duration: Duration::from_secs(1), ..quick() };
            quickness.note(&slow, &limits);
        }
        assert!(!quickness.admits());
    }
}
