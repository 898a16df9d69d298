//! The MCP clients that can be set up: where each keeps its servers, and how an entry looks there.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};

/// An MCP client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Client {
    /// Claude Code.
    ClaudeCode,
    /// Claude Desktop.
    ClaudeDesktop,
    /// Codex.
    Codex,
    /// Cursor.
    Cursor,
    /// Gemini CLI.
    GeminiCli,
    /// Visual Studio Code.
    Vscode,
    /// Windsurf.
    Windsurf,
    /// Zed.
    Zed,
}

/// For whom a client is set up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Reach {
    /// For every project of the user.
    #[default]
    User,
    /// For the project in the current directory.
    Project,
}

/// How a client reaches the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// It starts the program and speaks over its standard input and output.
    Program { command: String, args: Vec<String> },
    /// It connects to a server that runs.
    Url(String),
}

/// What a configuration is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON, with the comments and trailing commas that some clients allow.
    Json,
    /// TOML.
    Toml,
}

/// The directories that configurations lie in.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The user's home.
    pub(super) home: PathBuf,
    /// Where applications keep their configuration.
    pub(super) config: PathBuf,
    /// The current directory.
    pub(super) project: PathBuf,
}

impl Client {
    /// Returns the name that it is called by on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns the file that holds its servers; nothing where it has none of that reach.
    pub(super) fn file(self, reach: Reach, places: &Places) -> Option<PathBuf> {
        let Places { home, config, project } = places;
        Some(match (self, reach) {
            (Self::ClaudeCode, Reach::User) => home.join(".claude.json"),
            (Self::ClaudeCode, Reach::Project) => project.join(".mcp.json"),
            (Self::ClaudeDesktop, Reach::User) if cfg!(target_os = "macos") => {
                home.join("Library/Application Support/Claude/claude_desktop_config.json")
            }
            (Self::ClaudeDesktop, Reach::User) => config.join("Claude/claude_desktop_config.json"),
            (Self::Codex, Reach::User) => home.join(".codex/config.toml"),
            (Self::Codex, Reach::Project) => project.join(".codex/config.toml"),
            (Self::Cursor, Reach::User) => home.join(".cursor/mcp.json"),
            (Self::Cursor, Reach::Project) => project.join(".cursor/mcp.json"),
            (Self::GeminiCli, Reach::User) => home.join(".gemini/settings.json"),
            (Self::GeminiCli, Reach::Project) => project.join(".gemini/settings.json"),
            (Self::Vscode, Reach::User) if cfg!(target_os = "macos") => {
                home.join("Library/Application Support/Code/User/mcp.json")
            }
            (Self::Vscode, Reach::User) => config.join("Code/User/mcp.json"),
            (Self::Vscode, Reach::Project) => project.join(".vscode/mcp.json"),
            (Self::Windsurf, Reach::User) => home.join(".codeium/windsurf/mcp_config.json"),
            (Self::Zed, Reach::User) => config.join("zed/settings.json"),
            (Self::Zed, Reach::Project) => project.join(".zed/settings.json"),
            (Self::ClaudeDesktop | Self::Windsurf, Reach::Project) => return None,
        })
    }

    /// Returns what its configuration is written in.
    pub(super) fn form(self) -> Form {
        match self {
            Self::Codex => Form::Toml,
            _ => Form::Json,
        }
    }

    /// Returns the key of the table of servers.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Codex => "mcp_servers",
            Self::Vscode => "servers",
            Self::Zed => "context_servers",
            _ => "mcpServers",
        }
    }

    /// Whether it starts servers in a directory of its own choice, so that the roots have to be told.
    pub(super) fn starts_elsewhere(self, reach: Reach) -> bool {
        reach == Reach::User && matches!(self, Self::ClaudeDesktop | Self::Windsurf)
    }

    /// Returns the entry of a server; nothing where the client knows no such link.
    pub(super) fn entry(self, link: &Link) -> Option<Value> {
        Some(match (self, link) {
            (Self::ClaudeCode | Self::Vscode, Link::Program { command, args }) => {
                json!({"type": "stdio", "command": command, "args": args})
            }
            (_, Link::Program { command, args }) => json!({"command": command, "args": args}),
            (Self::ClaudeCode | Self::Vscode, Link::Url(url)) => {
                json!({"type": "http", "url": url})
            }
            (Self::Codex | Self::Cursor | Self::Zed, Link::Url(url)) => json!({"url": url}),
            (Self::GeminiCli, Link::Url(url)) => json!({"httpUrl": url}),
            (Self::Windsurf, Link::Url(url)) => json!({"serverUrl": url}),
            // It knows servers with a URL only as connectors that are added in its settings.
            (Self::ClaudeDesktop, Link::Url(_)) => return None,
        })
    }

    /// Says what to do so that a change is seen.
    pub(super) fn then(self) -> &'static str {
        match self {
            Self::ClaudeCode => "start a new session, or see /mcp",
            Self::ClaudeDesktop => "quit Claude Desktop and start it again",
            Self::Codex => "start a new session",
            Self::Cursor => "enable it under Settings, MCP",
            Self::GeminiCli => "start a new session, or see /mcp",
            Self::Vscode => "run `MCP: List Servers` and start it",
            Self::Windsurf => "press refresh in the MCP panel",
            Self::Zed => "it appears in the agent panel by itself",
        }
    }
}

/// Returns the path as a configuration holds it.
pub(super) fn text(path: &Path) -> String {
    path.display().to_string()
}
