//! What a plugin says during a call: log lines, and what it writes to standard output and error. Kept with caps,
//! never written to the streams of the server.

use std::fmt;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Every detail.
    Trace,
    /// What helps to follow one call.
    Debug,
    /// What somebody who uses the plugin wants to know.
    Info,
    /// Unexpected, and handled.
    Warn,
    /// Somebody must look at this.
    Error,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        })
    }
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogSource {
    /// The plugin's `log` function.
    Plugin,
    /// The plugin's standard output.
    Stdout,
    /// The plugin's standard error.
    Stderr,
}

/// One line that a plugin wrote. Its texts are the plugin's own words, without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How important.
    pub level: LogLevel,
    /// Where it came from.
    pub source: LogSource,
    /// The line.
    pub message: String,
    /// Named values that belong to it.
    pub fields: Vec<(String, String)>,
}

/// Everything that a plugin said during one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logs {
    /// The lines that were kept, in order; those of standard output and error come last.
    pub lines: Vec<LogLine>,
    /// How many lines were dropped because there were too many or they were too long.
    pub lines_dropped: u64,
    /// How many bytes of standard output and error were dropped.
    pub output_bytes_dropped: u64,
}

/// Collects the lines of one call up to its limits.
#[derive(Debug)]
pub(crate) struct LogBook {
    logs: Logs,
    lines_left: u64,
    bytes_left: u64,
}

impl LogBook {
    pub(crate) fn new(lines_max: u64, bytes_max: u64) -> Self {
        LogBook { logs: Logs::default(), lines_left: lines_max, bytes_left: bytes_max }
    }

    /// Says whether a line of this length would be kept, and takes its room when it would. Asked before the line is
    /// cleaned, so that a flood costs nothing.
    pub(crate) fn admit(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        if self.lines_left == 0 || bytes > self.bytes_left {
            self.logs.lines_dropped += 1;
            return false;
        }
        self.lines_left -= 1;
        self.bytes_left -= bytes;
        true
    }

    pub(crate) fn push(&mut self, line: LogLine) {
        self.logs.lines.push(line);
    }

    pub(crate) fn into_logs(self) -> Logs {
        self.logs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_fits_is_kept_and_the_next_is_counted() {
        let mut book = LogBook::new(2, 10);

        assert!(book.admit(4));
        assert!(!book.admit(7), "seven bytes do not fit into six");
        assert!(book.admit(6));
        assert!(!book.admit(0), "two lines are the limit");

        assert_eq!(book.into_logs().lines_dropped, 2);
    }
}
