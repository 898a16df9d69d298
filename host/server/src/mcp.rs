//! The Model Context Protocol: the seam between protocol and tools, the protocol handler, and the transports that carry
//! single messages (stdio, TCP lines, WebSocket frames). Opening ports lives in `listen`; what tools do lives in
//! `tools`.

pub mod arguments;
pub mod connection;
pub mod error;
pub mod handler;
pub(crate) mod lines;
pub mod message;
pub mod progress;
pub mod schema;
pub mod stdio;
pub mod tool;
pub mod tools;
pub mod toolset;
