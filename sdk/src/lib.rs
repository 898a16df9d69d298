//! Write Caelum improvement patterns and step validators in Rust.
//!
//! A plugin is one type with one trait and one line that exports it. The smallest validator:
//!
//! ```
//! use caelum_sdk::{About, Evidence, PluginError, Target, Validator, Verdict, about};
//! struct AllZero;
//! impl Validator for AllZero {
//!     type Parameters = ();
//!     const ABOUT: About = about!("all-zero", "All zero", "Passes when every program ended with 0.");
//!     fn judge(evidence: &Evidence, _: &dyn Target, _: &()) -> Result<Verdict, PluginError> {
//!         Ok(evidence.require_exit_zero().unwrap_or(Verdict::pass("every program ended with 0")))
//!     }
//! }
//! caelum_sdk::export_validator!(AllZero);
//! ```
//!
//! A plugin is a pure function: it reads through [`Target`], returns data, and cannot write. Each call runs in a fresh
//! instance, which is why the traits have no `self`. The contract behind this crate, with all units and limits, is the
//! WIT package `caelum:plugin`; this crate is its Rust face and knows nothing of the host.
//!
//! Everything builds for the native target, too, where [`testing`] stands in for the host: plugins are tested with
//! plain `cargo test`.

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod about;
mod context;
mod convert;
mod edit;
mod error;
mod evidence;
mod file;
mod finding;
mod fingerprint;
mod glob;
mod host;
mod parameters;
mod pattern;
mod plan;
mod rule;
mod target;
mod validator;
mod verdict;

pub mod control;
pub mod log;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

// For the export macros, which expand in the plugin's crate. Not part of the API.
#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod export;

pub use about::About;
pub use context::{Context, PortClaim, PreviousApplication, PreviousFile};
pub use edit::{Change, Content, Edit, Ownership, Replacement, Risk};
pub use error::{ParameterProblem, PluginError};
pub use evidence::{Decision, Evidence, Outcome, Output, Probe, Review};
pub use file::{FileRef, Line, SourceFile, sha256_hex};
pub use finding::{Extensions, Finding, Location, Severity};
pub use glob::{Glob, GlobError};
pub use parameters::{NoParameters, parse_parameters};
pub use pattern::{Applicability, Assessment, Pattern, assess};
pub use plan::{NextStep, Plan};
pub use rule::Rule;
pub use target::{Entry, Kind, READ_BYTES_MAX, Target, TargetError, TargetErrorCode};
pub use validator::{Phase, Validator};
pub use verdict::{Reason, Verdict, VerdictKind};
