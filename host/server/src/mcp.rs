//! The Model Context Protocol: the seam between protocol and tools, the protocol handler, what is offered beside the
//! tools, and the transports that carry single messages (stdio, TCP lines, WebSocket frames). Opening ports lives in
//! `listen`; what tools do lives in `tools`.

mod apps;
pub mod arguments;
mod completions;
pub mod connection;
pub mod error;
#[cfg(feature = "conformance")]
mod fixtures;
pub mod groups;
pub mod handler;
mod inquiry;
pub(crate) mod lines;
pub mod message;
pub mod progress;
mod prompts;
mod resources;
mod reviews;
pub mod schema;
pub mod session;
pub mod stdio;
mod subscriptions;
mod tasks;
pub mod tool;
pub mod tools;
pub mod toolset;
mod wire;
