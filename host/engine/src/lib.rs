//! The use cases of Caelum workflows: what happens when somebody asks for something.
//!
//! | module | what lives there |
//! |---|---|
//! | [`engine`] | the handle, its options, opening and closing |
//! | [`request`] | what callers ask and what is answered, as plain data |
//! | [`error`] | why a use case did not answer |
//! | [`workflows`] | creating, reading and listing definitions |
//! | [`executions`] | starting, watching and steering executions |
//! | [`patterns`] | validating, applying and reverting patterns |
//! | [`tasks`] | work for many machines without a workflow |
//! | [`report`] | health, metrics and export |
//! | [`meters`] | what is counted while it happens |
//! | [`import`], [`backup`], [`retention`] | history from elsewhere, copies, and what is kept |
//!
//! Behind them: `supervisor` (one task owns each running execution), `drive` (its loop), `perform` (runs an effect),
//! `children` (runs another workflow as a step), `estimates` (how long steps usually take) and `gates` (collects evidence
//! and has it judged). The engine knows nothing of MCP, HTTP or the command line.

pub mod backup;
mod children;
mod drive;
pub mod engine;
pub mod error;
mod estimates;
pub mod executions;
mod gates;
mod idempotency;
pub mod import;
pub mod meters;
mod panics;
pub mod patterns;
mod perform;
pub mod plugins;
pub mod report;
pub mod request;
mod resume;
pub mod retention;
mod supervisor;
mod system_clock;
pub mod tasks;
pub mod workflows;

pub use engine::{Engine, EngineOptions};
pub use error::{EngineError, Mistake};
pub use supervisor::Changed;
pub use system_clock::SystemClock;
