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

/// How many characters of a plugin's last words are told.
const LAST_WORDS_MAX: usize = 400;

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

impl Logs {
    /// Returns what was written to standard error, in one line: what went wrong stands last there, so that the end is
    /// kept.
    pub(crate) fn last_words(&self) -> Option<String> {
        let lines: Vec<&str> = self
            .lines
            .iter()
            .filter(|line| line.source == LogSource::Stderr)
            .map(|line| line.message.trim())
            .filter(|line| !line.is_empty() && !line.starts_with("note: run with"))
            .collect();
        let said = lines.join(" | ");
        let skipped = said.chars().count().saturating_sub(LAST_WORDS_MAX);
        let kept: String = said.chars().skip(skipped).collect();
        (!kept.is_empty()).then_some(kept)
    }
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

    pub(crate) fn take_logs(&mut self) -> Logs {
        std::mem::take(&mut self.logs)
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

        assert_eq!(book.take_logs().lines_dropped, 2);
    }

    #[test]
    fn the_last_words_are_the_end_of_standard_error() {
        let line = |source, message: &str| LogLine {
            level: LogLevel::Warn,
            source,
            message: message.to_owned(),
            fields: vec![],
        };
        let said = |messages: &[&str]| {
            let lines = messages.iter().map(|message| line(LogSource::Stderr, message));
            let lines = std::iter::once(line(LogSource::Stdout, "not this")).chain(lines).collect();
            Logs { lines, ..Logs::default() }.last_words()
        };

        assert_eq!(said(&[]), None);
        assert_eq!(
            said(&[
                "  File \"plugin.py\", line 3",
                "KeyError: 'x'",
                "note: run with `RUST_BACKTRACE=1`"
            ]),
            Some("File \"plugin.py\", line 3 | KeyError: 'x'".to_owned())
        );
        assert_eq!(
            said(&["ä".repeat(500).as_str(), "end"]).map(|said| said.chars().count()),
            Some(400)
        );
    }
}
