//! What went wrong with a program, in words and codes: before it started, and by the way it ended.

use std::io;
use std::path::Path;

use caelum_core::task::{FailureClass, OutcomeStatus, TaskFailure};
use rustix::io::Errno;

use super::{End, Ended, Patience};
use crate::policy::Prepared;
use crate::program;

fn permanent(code: &str, message: String) -> TaskFailure {
    TaskFailure { class: FailureClass::Permanent, code: code.to_owned(), message, hint: None }
}

fn transient(code: &str, message: String) -> TaskFailure {
    TaskFailure { class: FailureClass::Transient, code: code.to_owned(), message, hint: None }
}

/// The task's directory cannot be opened.
pub(super) fn directory(path: &Path, error: &io::Error) -> TaskFailure {
    permanent(
        "directory_not_found",
        format!("the directory `{}` cannot be opened: {error}", path.display()),
    )
}

/// A look at the file system did not come to its end, because the server is stopping.
pub(super) fn interrupted(error: &tokio::task::JoinError) -> TaskFailure {
    transient("interrupted", format!("the server stopped while it worked on this: {error}"))
}

/// The start cannot be written down.
pub(super) fn run_file(error: &io::Error) -> TaskFailure {
    let mut failure =
        transient("run_file", format!("the start of the program cannot be written down: {error}"));
    failure.hint = Some("check that the data directory is there, writable and not full".to_owned());
    failure
}

/// The operating system lost the child.
pub(super) fn not_collected(error: &io::Error) -> TaskFailure {
    transient("exit_unknown", format!("how the program ended cannot be known: {error}"))
}

/// The operating system did not start the program.
pub(super) fn not_started(prepared: &Prepared, error: &io::Error) -> TaskFailure {
    let file = prepared.program.display();
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => {
            program::interpreter_problem(&prepared.program).unwrap_or_else(|| {
                permanent(
                    "program_not_found",
                    format!("`{file}` went away before it could be started"),
                )
            })
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            permanent("permission_denied", format!("`{file}` may not be executed: {error}"))
        }
        Some(Errno::NOEXEC) => TaskFailure {
            hint: Some(
                "begin a script with a line such as `#!/bin/sh`, or set `shell: true`".to_owned(),
            ),
            ..permanent(
                "not_a_program",
                format!("`{file}` is neither a program of this machine nor a script with `#!`"),
            )
        },
        Some(Errno::TOOBIG) => permanent(
            "arguments_too_long",
            "arguments and environment are longer than the machine allows".to_owned(),
        ),
        Some(
            Errno::TXTBSY | Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::BUSY,
        ) => {
            transient("machine_busy", format!("`{file}` cannot be started at the moment: {error}"))
        }
        _ => permanent("not_started", format!("`{file}` cannot be started: {error}")),
    }
}

/// Judges how a program ended.
pub(super) fn judged(
    ended: &Ended,
    patience: Patience,
    shell: bool,
) -> (OutcomeStatus, Option<TaskFailure>) {
    let stuck = match ended.status {
        Some(_) => "",
        None => "; it was killed and is still there, waiting in the kernel",
    };
    match ended.end {
        End::TimedOut => (
            OutcomeStatus::TimedOut,
            Some(transient(
                "run_timeout",
                format!("ran longer than {} ms and was ended{stuck}", patience.run.as_millis()),
            )),
        ),
        End::Cancelled => (
            OutcomeStatus::Cancelled,
            Some(permanent("cancelled", format!("was ended because somebody cancelled{stuck}"))),
        ),
        End::Itself => match (ended.exit_code(), ended.signal()) {
            (Some(0), _) => (OutcomeStatus::Succeeded, None),
            (Some(code), _) => (OutcomeStatus::Failed, Some(exit_code(code, shell))),
            (None, signal) => (OutcomeStatus::Failed, Some(killed(signal.unwrap_or_default()))),
        },
    }
}

fn exit_code(code: i32, shell: bool) -> TaskFailure {
    let hint = match code {
        126 if shell => Some("126 from a shell means that a program is not executable"),
        127 if shell => Some("127 from a shell means that a program was not found"),
        _ => None,
    };
    TaskFailure {
        class: FailureClass::Exit,
        code: "exit_code".to_owned(),
        message: format!("ended with exit code {code}"),
        hint: hint.map(str::to_owned),
    }
}

fn killed(signal: i32) -> TaskFailure {
    let hint = match signal {
        9 => Some("when nobody killed it, the machine may have run out of memory"),
        13 => Some("it wrote to a pipe that nobody reads any more"),
        _ => None,
    };
    TaskFailure {
        class: FailureClass::Exit,
        code: "signal".to_owned(),
        message: format!("was ended by signal {signal}{}", signal_name(signal)),
        hint: hint.map(str::to_owned),
    }
}

/// Names the signals that end programs, by their numbers on Linux.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        14 => " (SIGALRM)",
        15 => " (SIGTERM)",
        24 => " (SIGXCPU)",
        25 => " (SIGXFSZ)",
        31 => " (SIGSYS)",
        _ => "",
    }
}
