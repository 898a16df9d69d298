//! From the way in which the compiler process ended to a reason in words.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::limits::Limits;
use crate::text;

use super::CompileError;
use super::child::{OTHER_VERSION, PANICKED, REFUSED};

/// What the standard library says when memory runs out, before it aborts.
const OUT_OF_MEMORY: &str = "memory allocation of";

/// SIGXCPU: the processor time is used up.
const CPU_SIGNAL: i32 = 24;
/// SIGABRT: the process gave up.
const ABORT_SIGNAL: i32 = 6;
/// SIGSEGV: among others, the stack is used up.
const SEGMENTATION_SIGNAL: i32 = 11;

/// Says what a process that ended in this way, with this complaint, means for the file.
pub(super) fn verdict(
    status: ExitStatus,
    complaint: &[u8],
    limits: &Limits,
) -> Result<(), CompileError> {
    let message = text::line(&String::from_utf8_lossy(complaint));
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) if code == i32::from(REFUSED) => Err(CompileError::Refused { message }),
        (Some(code), _) if code == i32::from(PANICKED) => Err(CompileError::Panicked { message }),
        (Some(code), _) if code == i32::from(OTHER_VERSION) => {
            Err(CompileError::Unusable { message })
        }
        (_, Some(CPU_SIGNAL)) => {
            Err(CompileError::Cpu { limit_s: limits.compile_cpu.as_secs().max(1) })
        }
        (_, Some(ABORT_SIGNAL)) if message.contains(OUT_OF_MEMORY) => {
            Err(CompileError::Memory { limit_bytes: limits.compile_memory_bytes_max })
        }
        (_, Some(ABORT_SIGNAL | SEGMENTATION_SIGNAL)) => {
            let message = if message.is_empty() { status.to_string() } else { message };
            Err(CompileError::Panicked { message })
        }
        _ => Err(CompileError::Unusable {
            message: format!(
                "it ended with {status}{}{message}",
                if message.is_empty() { "" } else { ": " }
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(raw: i32, complaint: &str) -> String {
        let limits = Limits::default();
        verdict(ExitStatus::from_raw(raw), complaint.as_bytes(), &limits)
            .expect_err("it failed")
            .to_string()
    }

    #[test]
    fn every_end_is_told_in_its_own_words() {
        let exit = |code: u8| i32::from(code) << 8;
        assert_eq!(verdict(ExitStatus::from_raw(0), b"noise", &Limits::default()), Ok(()));
        assert_eq!(told(exit(REFUSED), "no\u{1b}[2J"), "it could not be compiled: no");
        assert_eq!(told(exit(PANICKED), "oh"), "the compiler broke down over it: oh");
        assert_eq!(
            told(CPU_SIGNAL, ""),
            "compiling it took more than its limit of 120 s of processor time"
        );
        assert_eq!(
            told(ABORT_SIGNAL, "memory allocation of 99 bytes failed"),
            "compiling it took more than its limit of 2048 MiB of memory"
        );
        assert_eq!(
            told(SEGMENTATION_SIGNAL, ""),
            "the compiler broke down over it: signal: 11 (SIGSEGV)"
        );
        assert_eq!(
            told(exit(77), "what?"),
            "the compiler process cannot be used: it ended with exit status: 77: what?"
        );
        assert_eq!(
            told(9, ""),
            "the compiler process cannot be used: it ended with signal: 9 (SIGKILL)"
        );
    }
}
