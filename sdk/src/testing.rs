//! What stands in for the host in plain `cargo test`: a tree in memory, evidence made by hand, and checks that every
//! pattern and every validator must pass. Native only.
//!
//! ```
//! use caelum_sdk::testing::{FakeTarget, exited, judge};
//! # use caelum_sdk::*;
//! # struct AllZero;
//! # impl Validator for AllZero {
//! #     type Parameters = NoParameters;
//! #     const ABOUT: About = about!("all-zero", "All zero", "Passes when every program ended with 0.");
//! #     fn judge(evidence: &Evidence, _: &dyn Target, _: &NoParameters) -> Result<Verdict, PluginError> {
//! #         Ok(evidence.require_exit_zero().unwrap_or_else(|| Verdict::pass("every program ended with 0")))
//! #     }
//! # }
//! use serde_json::json;
//!
//! let evidence = caelum_sdk::testing::evidence(vec![exited("local", 3)]);
//! let verdict = judge::<AllZero>(&evidence, &FakeTarget::new(), json!({})).expect("a verdict");
//! assert_eq!(verdict.summary, "1 of 1 programs failed");
//! ```

mod apply;
mod fake_target;
mod pattern_check;
mod validator_check;

pub use apply::ApplyError;
pub use fake_target::FakeTarget;
pub use pattern_check::{Applied, check_pattern, check_plan, plan, validate};
pub use validator_check::{approved, check_validator, evidence, exited, judge, probe, rejected};

use crate::host::with_record;
use crate::log::LogLine;

/// Returns what was logged on this thread since the last time, oldest first.
#[must_use]
pub fn take_log() -> Vec<LogLine> {
    with_record(|record| std::mem::take(&mut record.lines))
}

/// Returns what progress was reported on this thread since the last time: done, total, message.
#[must_use]
pub fn take_progress() -> Vec<(u32, Option<u32>, String)> {
    with_record(|record| std::mem::take(&mut record.progress))
}

/// Decides what plugins on this thread hear when they ask whether the call was cancelled.
pub fn set_cancelled(cancelled: bool) {
    with_record(|record| record.cancelled = cancelled);
}
