//! Ends running programs when the server dies without a word.
//!
//! A small shell waits for the end of a pipe that only the server holds. When the server is gone, whichever way it went,
//! the pipe ends, and the shell ends the groups that the server's run files name. It is a convenience: a server that
//! starts again does the same more thoroughly with [`crate::reap_orphans`], so where there is no `/bin/sh` or no `/proc`
//! nothing but the delay is lost.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::orphans::RunFolder;

/// `$1` is the folder of run files, `$2` what the names of this server's files begin with.
///
/// The 22nd field of `stat` is the start time; what stands before the last bracket is the name, which may hold anything.
const SCRIPT: &str = r#"
while read -r _; do :; done
started() {
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    set -- ${stat##*) }
    shift 19
    start_time=$1
}
groups=
for file in "$1/$2"-*.run; do
    read -r leader start rest 2>/dev/null <"$file" || continue
    [ "$leader" -gt 1 ] 2>/dev/null || continue
    started "$leader" && [ "$start_time" = "$start" ] && groups="$groups $leader"
done
[ -n "$groups" ] || exit 0
for group in $groups; do kill -s TERM -- "-$group"; kill -s CONT -- "-$group"; done
sleep 2
for group in $groups; do kill -s KILL -- "-$group"; done
"#;

/// The waiting shell. Dropping it lets it go.
#[derive(Debug)]
pub(crate) struct Guard(Option<Child>);

impl Guard {
    /// Starts the shell.
    pub(crate) fn start(runs: &RunFolder) -> io::Result<Guard> {
        let child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "caelum-guard"])
            .arg(runs.path())
            .arg(runs.server())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own, so that Ctrl-C in a terminal ends the server and not the guard.
            .process_group(0)
            .spawn()?;
        Ok(Guard(Some(child)))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else {
            return;
        };
        drop(child.stdin.take());
        // Collected by a thread of its own: the shell may have work to do, and dropping must not wait for it.
        let collect =
            std::thread::Builder::new().name("guard-collect".to_owned()).spawn(move || {
                if let Err(error) = child.wait() {
                    tracing::debug!(%error, "the guard could not be collected");
                }
            });
        if let Err(error) = collect {
            tracing::debug!(%error, "the guard stays uncollected until the server ends");
        }
    }
}
