//! The sandbox of Caelum plugins: loads, limits and calls WebAssembly components.
//!
//! A plugin is a pure function: it reads a tree through one import and returns data. This crate never writes to a
//! component and opens no network connection; it reads plugin files, reads and writes its own cache of compiled code,
//! and starts one kind of process, its own compiler. Each call has a fresh instance that is dropped with it. Guests run
//! on threads of their own, but for those that have proved to be over before such a thread would have woken up.
//!
//! ```no_run
//! # async fn example(tree: std::sync::Arc<dyn caelum_core::tree::Tree>) -> Result<(), Box<dyn std::error::Error>> {
//! use caelum_core::plugin::PluginKind;
//! use caelum_plugin_host::{CallControl, Options, Plugins};
//! use serde_json::json;
//!
//! let plugins = Plugins::open(Options::default(), vec![]).await?;
//! let pattern = plugins.find(PluginKind::Pattern, "health-check")?;
//! let called =
//!     plugins.validate(&pattern, tree, &json!({}), &json!({}), CallControl::default()).await;
//! println!("{} findings in {:?}", called.outcome?.findings.len(), called.report.duration);
//! # Ok(())
//! # }
//! ```
//!
//! | module | what lives there |
//! |---|---|
//! | [`registry`](Plugins) | the handle, the snapshot of what serves, the plugins directory and its changes |
//! | [`trust`](Trust), [`quarantine`](Quarantine) | what may serve by the operator's word; what is kept out because it fails |
//! | [`loader`](Stage) | the stages from a file to a plugin, each with its error and hint |
//! | `cache`, [`compile`](Compiler), `runtime` | native code: made in a child process, kept, believed; the engine, its clock and its threads |
//! | [`call`](CallReport) | places in the queue, deadlines, reasons, reports |
//! | `state`, [`target`](TargetPolicy), [`log`](Logs), `wasi` | what a guest can see and say |
//! | [`limits`](Limits), `limiter` | every number that bounds a plugin |
//! | `bindings`, `convert`, `text` | the contract's types, and the way to the core's |

mod bindings;
mod cache;
mod call;
mod compile;
mod convert;
mod host;
mod limiter;
mod limits;
mod loader;
mod log;
mod parameters;
mod plugin;
mod quarantine;
mod registry;
mod runtime;
mod state;
mod target;
mod text;
mod trust;
mod wasi;

pub use cache::CacheError;
pub use call::{CallControl, CallError, CallReport, Called};
pub use compile::child::compile_plugin;
pub use compile::{CompileError, Compiler};
pub use limits::{LimitProblem, Limits};
pub use loader::{
    CaptureError, HeaderError, Inspection, LoadError, ManifestError, Refused, Source, Stage,
    ValidateError, WorldError, inspect, inspect_bytes,
};
pub use log::{LogLevel, LogLine, LogSource, Logs};
pub use plugin::Plugin;
pub use quarantine::Quarantine;
pub use registry::{
    BundledPlugin, Change, Loading, Options, Plugins, PluginsError, Reload, Snapshot, UnknownPlugin,
};
pub use runtime::{Allocator, RuntimeError};
pub use state::Progress;
pub use target::{PolicyError, TargetPolicy};
pub use trust::{Lock, LockEntry, LockError, Trust, TrustError, TrustMode};
