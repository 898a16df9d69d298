//! `install`: sets MCP clients up to use this server, and takes that back.

mod client;
mod edit;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use self::client::{Client, Link, Places, Reach};
use self::edit::Place;
use super::output::{FAINT, Output, STRONG, paint};
use super::{CommandError, Exit};
use crate::config::Config;

/// The name under which clients know the server.
const NAME: &str = "caelum-workflow";

/// Set MCP clients up to use this server. Changes one entry of a client's configuration and nothing else in it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  caelum-workflow install --client claude-code
  caelum-workflow install --client cursor --client vscode --scope project
  caelum-workflow install --client codex --url http://127.0.0.1:8113/mcp
  caelum-workflow install --client zed --print
  caelum-workflow install --client claude-code --remove")]
pub(super) struct Install {
    /// The client; may be repeated.
    #[arg(long, required = true, value_enum)]
    client: Vec<Client>,
    /// For every project of yours, or for the one in the current directory.
    #[arg(long, value_enum, default_value_t)]
    scope: Reach,
    /// Connect to a server that runs, instead of starting one for each client.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The name under which the client knows the server.
    #[arg(long, default_value = NAME)]
    name: String,
    /// Take the entry out again.
    #[arg(long, conflicts_with_all = ["url", "replace"])]
    remove: bool,
    /// Replace an entry of that name that says something else.
    #[arg(long)]
    replace: bool,
    /// Show what would be written, and write nothing.
    #[arg(long)]
    print: bool,
}

/// What became of one client's configuration.
#[derive(Debug, Serialize)]
struct Done {
    client: String,
    file: PathBuf,
    /// `installed`, `removed`, `unchanged` or `shown`.
    status: &'static str,
    /// The whole new text, when it was only shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    then: &'static str,
}

impl Install {
    pub(super) fn run(&self, config: &Config, output: &mut Output) -> Result<Exit, CommandError> {
        let places = places()?;
        // Everything is checked before anything is written: several clients are set up all or not at all.
        let mut changes = Vec::new();
        for client in &self.client {
            changes.push(self.prepare(*client, config, &places)?);
        }
        let mut done = Vec::new();
        for (client, file, text) in changes {
            let status = match (&text, self.print) {
                (None, _) => "unchanged",
                (Some(_), true) => "shown",
                (Some(text), false) => {
                    write(&file, text).map_err(|error| failed("written", &file, &error))?;
                    if self.remove { "removed" } else { "installed" }
                }
            };
            let text = text.filter(|_| self.print);
            done.push(Done { client: client.name(), file, status, text, then: client.then() });
        }
        show(&done, output).map_err(CommandError::Output)?;
        Ok(Exit::Ok)
    }

    /// Returns the file of a client and its new text; no text when nothing is to be changed.
    fn prepare(
        &self,
        client: Client,
        config: &Config,
        places: &Places,
    ) -> Result<(Client, PathBuf, Option<String>), CommandError> {
        let file = client.file(self.scope, places).ok_or_else(|| {
            CommandError::Usage(format!(
                "{} keeps no servers for a project; hint: leave --scope out",
                client.name()
            ))
        })?;
        // A link is followed, so that it stays one.
        let file = file.canonicalize().unwrap_or(file);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed("read", &file, &error)),
        };
        let place = Place { table: client.table(), name: &self.name };
        let changed = if self.remove {
            edit::take(client.form(), &text, place)
        } else {
            let link = self.link(client, config, places)?;
            let entry = client.entry(&link).ok_or_else(|| {
                CommandError::Usage(format!(
                    "{} starts servers and cannot be given a URL here; hint: leave --url out",
                    client.name()
                ))
            })?;
            edit::put(client.form(), &text, place, &entry, self.replace)
        };
        let changed = changed.map_err(|error| {
            let hint = match error {
                edit::EditError::Taken { .. } => "say --replace, or choose another --name",
                _ => "mend it first; it was left as it is",
            };
            CommandError::Refused(format!("`{}`: {error}; hint: {hint}", file.display()))
        })?;
        Ok((client, file, changed))
    }

    fn link(&self, client: Client, config: &Config, places: &Places) -> Result<Link, CommandError> {
        if let Some(url) = &self.url {
            let is_http = url.starts_with("http://") || url.starts_with("https://");
            let fits = is_http && url.parse::<http::Uri>().is_ok_and(|url| url.host().is_some());
            return fits.then(|| Link::Url(url.clone())).ok_or_else(|| {
                CommandError::Usage(format!(
                    "`{url}` is no URL of a server; hint: write http://127.0.0.1:8113/mcp"
                ))
            });
        }
        let program = std::env::current_exe().map_err(|error| {
            CommandError::Failed(format!("this program cannot be found: {error}"))
        })?;
        let mut args = vec!["serve".to_owned(), "--stdio".to_owned()];
        let own_roots = config.roots == [places.project.clone()];
        if !own_roots || client.starts_elsewhere(self.scope) {
            for root in &config.roots {
                args.extend(["--root".to_owned(), client::text(root)]);
            }
        }
        Ok(Link::Program { command: client::text(&program), args })
    }
}

fn places() -> Result<Places, CommandError> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("HOME").ok_or_else(|| {
        CommandError::Usage(
            "HOME is not set to a directory; hint: clients keep their configuration there"
                .to_owned(),
        )
    })?;
    let project = std::env::current_dir().map_err(|error| {
        CommandError::Failed(format!("the current directory cannot be had: {error}"))
    })?;
    Ok(Places {
        config: absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")),
        home,
        project,
    })
}

fn failed(what: &str, file: &Path, error: &io::Error) -> CommandError {
    CommandError::Failed(format!("`{}` cannot be {what}: {error}", file.display()))
}

/// Writes a file as a whole or not at all, with the rights that it had; a new one is its owner's alone, since clients
/// keep secrets there too.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    new.write_all(text.as_bytes())?;
    if let Ok(metadata) = fs::metadata(file) {
        new.as_file().set_permissions(metadata.permissions())?;
    }
    new.as_file().sync_all()?;
    new.persist(file).map(drop).map_err(|error| error.error)
}

fn show(done: &[Done], output: &mut Output) -> io::Result<()> {
    if output.result(&serde_json::json!({ "clients": done }))? {
        return Ok(());
    }
    for each in done {
        let file = each.file.display();
        output.line(format!("{} {} in {file}", paint(STRONG, &each.client), each.status))?;
        if let Some(text) = &each.text {
            output.raw(text)?;
        } else if each.status == "installed" {
            output.line(paint(FAINT, format!("  {}; `--remove` takes it back", each.then)))?;
        }
    }
    Ok(())
}
