//! What the process says with its exit code.

use std::process::ExitCode;

/// How a command ended. Stable: scripts branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Ok,
    /// The workflow failed or was cancelled, or the pattern was blocked.
    Failed,
    /// The command line, the configuration or a document is wrong.
    Usage,
    /// It waits for somebody: work, a review, a decision.
    Waiting,
    /// The server failed, not the caller.
    Internal,
    /// There is nothing of that name.
    NotFound,
}

impl Exit {
    /// Returns the number.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Waiting => 3,
            Self::Internal => 4,
            Self::NotFound => 5,
        }
    }

    /// Returns the ending that an error code of a tool deserves.
    pub(super) fn of_error(code: &str) -> Self {
        if code.starts_with("unknown_") || code == "execution_id" {
            return Self::NotFound;
        }
        match code {
            "internal" | "store_full" | "store_read_only" | "plugin_failed" | "deadline"
            | "busy" | "stopping" | "panic" => Self::Internal,
            "not_applicable" | "conflict" | "plugin_gone" => Self::Failed,
            _ => Self::Usage,
        }
    }

    /// Returns the ending that the status of an execution deserves.
    pub(super) fn of_execution(status: &str) -> Self {
        match status {
            "completed" => Self::Ok,
            "paused" => Self::Waiting,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// The table for `--help`.
pub(super) const TABLE: &str = "\
Exit codes:
  0  done
  1  the workflow failed or was cancelled, or the pattern cannot be applied
  2  the command line, the configuration or a document is wrong
  3  it waits for somebody: work, a review or a decision
  4  the server failed
  5  there is nothing of that name";
