//! The process group of one command: signalling it, seeing whether anything of it is left, and ending it when the one
//! who waits for it goes away.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::time::{Instant, sleep};

use crate::orphans::RunFile;
use crate::procfs;

/// How often a group that was asked to end is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A group whose leader this process started. Dropping it while it is armed kills what is left of the group, so that a
/// dropped future leaves nothing running.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Pid,
    armed: bool,
    /// Names the group for a later server; its file goes away with the group.
    _run: RunFile,
}

impl Group {
    /// Takes charge of the group that `leader` leads.
    pub(crate) fn new(leader: Pid, run: RunFile) -> Self {
        Group { leader, armed: true, _run: run }
    }

    /// Sends a signal to every member; a group that is gone is none of our concern.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Err(error) = kill_process_group(self.leader, signal) {
            tracing::trace!(group = %self.leader, %error, "the group did not take the signal");
        }
    }

    /// Asks every member to end, stopped ones included.
    pub(crate) fn ask_to_end(&self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Ends what is left after the leader was collected: asks, and kills after `grace`. Returns how many were left.
    pub(crate) async fn end_leftovers(&mut self, grace: Duration) -> usize {
        let mut left = self.members();
        let count = left;
        if left > 0 {
            self.ask_to_end();
            let deadline = Instant::now() + grace.min(Duration::from_secs(600));
            while left > 0 && Instant::now() < deadline {
                sleep(LOOK_EVERY).await;
                left = self.members();
            }
            if left > 0 {
                self.signal(Signal::KILL);
            }
        }
        self.armed = false;
        count
    }

    /// Counts live members, after the leader was collected.
    ///
    /// A number stays taken while a group of that number exists, so a process of the leader's number can only be a new
    /// one, and then the group is not ours.
    fn members(&self) -> usize {
        if test_kill_process_group(self.leader).is_err() {
            return 0;
        }
        let leader = self.leader.as_raw_nonzero().get();
        let members = procfs::processes().into_iter().filter(|process| process.group == leader);
        let (mut count, mut is_new) = (0, false);
        for process in members {
            is_new |= process.pid == leader;
            count += usize::from(!process.has_ended());
        }
        if is_new { 0 } else { count }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.armed {
            self.signal(Signal::KILL);
        }
    }
}
