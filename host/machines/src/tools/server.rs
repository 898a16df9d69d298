//! How another MCP server is reached, as its operator says it.

use std::collections::BTreeMap;
use std::fmt;

/// Another MCP server. What it is given (environment, headers) is shown by name only.
#[derive(Clone, PartialEq, Eq)]
pub enum ToolServer {
    /// A program that speaks MCP on its standard input and output.
    Stdio {
        /// The program: a name looked up in `PATH`, or a path.
        program: String,
        /// Its arguments.
        args: Vec<String>,
        /// Environment variables on top of the few that every program needs.
        env: BTreeMap<String, String>,
    },
    /// A server that speaks streamable HTTP.
    Http {
        /// Where.
        url: String,
        /// Header lines of every request.
        headers: BTreeMap<String, String>,
    },
}

impl fmt::Debug for ToolServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToolServer::Stdio { program, args, env } => formatter
                .debug_struct("Stdio")
                .field("program", program)
                .field("args", &args.len())
                .field("env", &env.keys())
                .finish(),
            ToolServer::Http { headers, .. } => {
                formatter.debug_struct("Http").field("headers", &headers.keys()).finish()
            }
        }
    }
}
