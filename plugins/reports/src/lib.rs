//! Reads what test runners leave behind and counts it by itself: a report's own totals are compared with its cases and
//! never trusted alone.
//!
//! No judgement is made here. A report that ends early, contradicts itself or tells of a crash says so in its fields,
//! and whoever judges decides what that means. Hostile input is refused or bounded: document types, entities, depth,
//! size and the number of cases.

mod cargo_text;
mod detect;
mod go_json;
mod junit;
mod libtest_json;
mod locate;
mod python_text;
mod report;
mod tap;

pub use detect::detect;
pub use locate::{Place, locate};
pub use report::{Case, CaseStatus, Fault, Format, Report, ReportError, Totals};

/// The largest report that is read, in bytes. A suite of 100,000 cases stays below it.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most cases that one report may hold.
pub const CASES_MAX: usize = 100_000;
/// How many characters of a case's message are kept.
pub const MESSAGE_MAX: usize = 400;

/// Reads a report of a known format.
///
/// # Errors
/// [`ReportError`] when the text is too large or not of the format. A report that is readable but incomplete or
/// contradictory is no error: see [`Report::unfinished`] and [`Report::contradictions`].
pub fn parse(text: &str, format: Format) -> Result<Report, ReportError> {
    if text.len() > BYTES_MAX {
        return Err(ReportError::TooLarge { bytes: text.len() });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        Format::JunitXml => junit::parse(text),
        Format::CargoTestText => cargo_text::parse(text),
        Format::LibtestJson => libtest_json::parse(text),
        Format::GoTestJson => go_json::parse(text),
        Format::Tap => tap::parse(text),
        Format::PytestText => python_text::parse_pytest(text),
        Format::UnittestText => python_text::parse_unittest(text),
    }
}

/// Returns the errors of a build that are told in the standard error of `cargo test`: the tests of what did not
/// compile never ran.
pub fn cargo_build_faults(stderr: &str) -> Vec<Fault> {
    cargo_text::build_faults(stderr)
}
