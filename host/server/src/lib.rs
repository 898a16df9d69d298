//! The caelum-workflow server and command line: an MCP server whose workflow gates are real.

pub mod http;
pub mod listen;
pub mod mcp;
pub mod port_registry;
pub mod socket_table;
pub mod trust;
