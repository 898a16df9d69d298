//! Lines for people about what a plugin is doing. In the host they are stamped with plugin and call; in native tests
//! they are kept for [`testing::take_log`](crate::testing::take_log). Never put secrets or results here.

use crate::host;

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
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

/// A line as it was written; native tests get them from [`testing::take_log`](crate::testing::take_log).
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How important it is.
    pub level: Level,
    /// The line.
    pub message: String,
    /// The named values that belong to it.
    pub fields: Vec<(String, String)>,
}

/// Writes one line with named values.
pub fn write(level: Level, message: &str, fields: &[(&str, &str)]) {
    host::log(level, message, fields);
}

/// Writes a line of every detail.
pub fn trace(message: impl AsRef<str>) {
    write(Level::Trace, message.as_ref(), &[]);
}

/// Writes a line that helps to follow one call.
pub fn debug(message: impl AsRef<str>) {
    write(Level::Debug, message.as_ref(), &[]);
}

/// Writes a line that users of the plugin want to see.
pub fn info(message: impl AsRef<str>) {
    write(Level::Info, message.as_ref(), &[]);
}

/// Writes a line about something unexpected that was handled.
pub fn warn(message: impl AsRef<str>) {
    write(Level::Warn, message.as_ref(), &[]);
}

/// Writes a line that somebody must look at.
pub fn error(message: impl AsRef<str>) {
    write(Level::Error, message.as_ref(), &[]);
}
