//! The caelum-workflow server and command line: an MCP server whose workflow gates are real.

pub mod mcp;
pub mod trust;
