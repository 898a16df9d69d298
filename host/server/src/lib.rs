//! The caelum-workflow server and command line: an MCP server whose workflow gates are real.

pub mod audit;
pub mod cli;
pub mod config;
pub mod document;
pub mod http;
pub mod listen;
pub mod local_socket;
pub mod mcp;
pub mod port_registry;
pub mod rates;
pub mod server;
pub mod socket_table;
pub mod trust;
