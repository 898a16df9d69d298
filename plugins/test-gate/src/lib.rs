//! Judges the evidence of a test run. The validators `unit-tests` and `integration-tests` are this engine with
//! different defaults.
//!
//! The rules: every machine must hand in a report, in files that were collected or in what the program printed. The
//! report is counted case by case; its own totals, the exit code and the cases must agree. Evidence that is missing,
//! unfinished, older than the attempt or of an unknown form is never a pass, and neither is a run without tests.

mod freshness;
mod judge;
mod machine;
mod policy;
mod sources;

pub use judge::judge;
pub use policy::Policy;

/// The forms of evidence that are understood, in the words of the contract.
pub const EVIDENCE_FORMATS: &[&str] = &[
    "junit-xml",
    "go-test-json",
    "libtest-json",
    "tap",
    "cargo-test-text",
    "pytest-text",
    "unittest-text",
    "exit-code",
];
