//! Where settings come from, in layers, and the reader that takes the first layer that has one. Faults are collected and
//! name their layer: the flag, the variable, the line of `.env`, the key and its file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::ConfigError;
use super::limits::{self, LIMITS, Limit};
use super::settings::{CONFIG_VARIABLE, Kind, OTHER_VARIABLES, SETTINGS, Setting, VARIABLE_PREFIX};
use super::tool_servers;
use crate::mcp::error::{did_you_mean, nearest};

/// What the command line says: for each key what was given, and the limits as `name=value`.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// Settings by key; several texts where the flag was repeated.
    pub settings: BTreeMap<&'static str, Vec<String>>,
    /// Limits, each as `name=value`.
    pub limits: Vec<String>,
    /// The TOML file.
    pub config: Option<PathBuf>,
}

/// Everything that settings may come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    flags: Flags,
    environment: BTreeMap<String, String>,
    dotenv: BTreeMap<String, String>,
    file: Option<(PathBuf, Table)>,
    directory: PathBuf,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Sources {
    /// Reads what the process was given: its environment, `.env` in the current directory, and the TOML file that a
    /// flag or a variable names or that lies where the desktop keeps configuration.
    pub fn of_process(flags: Flags) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        Self::of(flags, environment, directory)
    }

    /// Reads with a given environment and current directory.
    pub fn of(flags: Flags, environment: BTreeMap<String, String>, directory: PathBuf) -> Self {
        let mut sources = Self { flags, environment, directory, ..Self::default() };
        sources.read_dotenv();
        sources.read_file();
        sources.look_for_slips();
        sources
    }

    /// Returns the directory that relative paths of flags and variables begin at.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// Returns a variable of the environment, or of `.env`.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .or_else(|| self.dotenv.get(name))
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn read_dotenv(&mut self) {
        let path = self.directory.join(".env");
        let Ok(entries) = dotenvy::from_path_iter(&path) else { return };
        for entry in entries {
            match entry {
                Ok((name, value)) => {
                    self.dotenv.insert(name, value);
                }
                // The file is often there for other programs, which may read it more generously. What the line says
                // may be a secret.
                Err(_) => self.warnings.push(format!(
                    "a line of `{}` is no NAME=VALUE and is skipped",
                    path.display()
                )),
            }
        }
    }

    fn read_file(&mut self) {
        let named = self
            .flags
            .config
            .clone()
            .or_else(|| self.variable(CONFIG_VARIABLE).map(PathBuf::from))
            .map(|path| self.directory.join(path));
        let Some(path) = named.clone().or_else(|| self.usual_file()) else { return };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            // A file that nobody named need not be there.
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                self.problems
                    .push(format!("the file `{}` cannot be read: {error}", path.display()));
                return;
            }
        };
        match text.parse::<Table>() {
            Ok(table) => {
                self.problems.extend(unknown_keys(&path, &table));
                self.file = Some((path, table));
            }
            Err(error) => self.problems.push(format!(
                "the file `{}` is not TOML: {}",
                path.display(),
                error.to_string().trim_end().replace('\n', " ")
            )),
        }
    }

    fn usual_file(&self) -> Option<PathBuf> {
        let absolute = |name: &str| {
            self.environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
        };
        let folder = absolute("XDG_CONFIG_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
        Some(folder.join("caelum-workflow/config.toml"))
    }

    /// Notices variables that look like ours and are not.
    fn look_for_slips(&mut self) {
        let known: Vec<String> = SETTINGS
            .iter()
            .map(|setting| setting.env.to_owned())
            .chain(LIMITS.iter().map(|limit| limits::variable(limit.key)))
            .chain(OTHER_VARIABLES.iter().map(|name| (*name).to_owned()))
            .collect();
        let strange: Vec<&String> = self
            .environment
            .keys()
            .chain(self.dotenv.keys())
            .filter(|name| name.starts_with(VARIABLE_PREFIX) && !known.contains(name))
            .collect();
        let bare = |name: &str| name.trim_start_matches(VARIABLE_PREFIX).to_owned();
        let names: Vec<String> = known.iter().map(|name| bare(name)).collect();
        let warnings: Vec<String> = strange
            .into_iter()
            .map(|name| {
                let near: Vec<String> = nearest(&bare(name), names.iter().map(String::as_str))
                    .into_iter()
                    .take(1)
                    .map(|near| format!("; did you mean `{VARIABLE_PREFIX}{near}`?"))
                    .collect();
                format!("the environment variable `{name}` is not one of ours{}", near.concat())
            })
            .collect();
        self.warnings.extend(warnings);
    }
}

fn unknown_keys(path: &Path, table: &Table) -> Vec<String> {
    let mut problems = Vec::new();
    let known: Vec<&str> =
        SETTINGS.iter().map(|setting| setting.key).chain(["limits", "tool_servers"]).collect();
    for (key, value) in table {
        if !known.contains(&key.as_str()) {
            let near = did_you_mean(key, known.iter().copied());
            problems.push(format!("`{}`: unknown key `{key}`{near}", path.display()));
        } else if key == "limits" {
            let known: Vec<&str> = LIMITS.iter().map(|limit| limit.key).collect();
            match value {
                Value::Table(limits) => {
                    for key in limits.keys().filter(|key| !known.contains(&key.as_str())) {
                        let near = did_you_mean(key, known.iter().copied());
                        problems.push(format!(
                            "`{}`: unknown limit `limits.{key}`{near}",
                            path.display()
                        ));
                    }
                }
                other => problems.push(format!(
                    "`{}`: `limits` is {}, expected a table",
                    path.display(),
                    kind_of(other)
                )),
            }
        }
    }
    problems
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "a switch",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// Where a value was found.
#[derive(Debug, Clone)]
enum Origin {
    Flag(String),
    Variable(String),
    DotEnv(String),
    File(PathBuf, String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => write!(f, "the environment variable `{name}`"),
            Self::DotEnv(name) => write!(f, "`{name}` in .env"),
            Self::File(path, key) => write!(f, "`{key}` in `{}`", path.display()),
        }
    }
}

struct Found {
    texts: Vec<String>,
    origin: Origin,
}

/// Takes settings from the first layer that has them, and collects what is wrong.
pub(super) struct Reader<'a> {
    sources: &'a Sources,
    problems: Vec<String>,
    limits: BTreeMap<&'a str, &'a str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sources: &'a Sources) -> Self {
        let mut reader =
            Self { sources, problems: sources.problems.clone(), limits: BTreeMap::new() };
        let known: Vec<&str> = LIMITS.iter().map(|limit| limit.key).collect();
        for entry in &sources.flags.limits {
            match entry.split_once('=') {
                Some((name, value)) if known.contains(&name) => {
                    reader.limits.insert(name, value);
                }
                Some((name, _)) => {
                    let near = did_you_mean(name, known.iter().copied());
                    reader.fault(format!("--limit: unknown limit `{name}`{near}"));
                }
                None => reader.fault(format!(
                    "--limit: `{entry}` is no limit; expected NAME=VALUE such as calls_max=100"
                )),
            }
        }
        reader
    }

    pub(super) fn fault(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    pub(super) fn done<T>(self, value: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() {
            Ok(value)
        } else {
            Err(ConfigError { problems: self.problems })
        }
    }

    /// Returns one text, read by `parse`; an empty one counts as not given.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let found = self.find(of(key))?;
        let text = found.texts.into_iter().next_back().filter(|text| !text.is_empty())?;
        match parse(&text) {
            Ok(value) => Some(value),
            // What a token was is nobody's to read in a message.
            Err(expected) if key.ends_with("token") => {
                self.fault(format!("{}: {expected}", found.origin));
                None
            }
            Err(expected) => {
                let shown: String = text.chars().take(80).collect();
                self.fault(format!("{}: found `{shown}`, {expected}", found.origin));
                None
            }
        }
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        let found = self.find(of(key)).map(|found| found.texts).unwrap_or_default();
        found.into_iter().filter(|text| !text.is_empty()).collect()
    }

    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.paths(key).pop()
    }

    /// Returns paths, made absolute from where they were said.
    pub(super) fn paths(&mut self, key: &'static str) -> Vec<PathBuf> {
        let Some(found) = self.find(of(key)) else { return Vec::new() };
        let base = match &found.origin {
            Origin::File(file, _) => file.parent().unwrap_or(&self.sources.directory),
            _ => &self.sources.directory,
        };
        let home = self.sources.variable("HOME");
        found
            .texts
            .iter()
            .filter(|text| !text.is_empty())
            .map(|text| match (text.strip_prefix("~/"), home) {
                // No shell has looked at what stands in a file.
                (Some(rest), Some(home)) => Path::new(home).join(rest),
                _ => base.join(text),
            })
            .collect()
    }

    /// Returns the tool servers of the file.
    pub(super) fn tool_servers(&mut self) -> BTreeMap<String, caelum_machines::ToolServer> {
        let sources = self.sources;
        let Some((path, table)) = sources.file.as_ref() else { return BTreeMap::new() };
        let Some(value) = table.get("tool_servers") else { return BTreeMap::new() };
        let mut faults = Vec::new();
        let variable = |name: &str| sources.variable(name).map(str::to_owned);
        let servers = tool_servers::read(value, variable, &mut faults);
        for fault in faults {
            self.fault(format!("`{}`: {fault}", path.display()));
        }
        servers
    }

    pub(super) fn limit(&mut self, limit: &Limit) -> Option<u64> {
        let found = self.find_limit(limit.key)?;
        let text = found.texts.into_iter().next_back().filter(|text| !text.is_empty())?;
        let number: Option<u64> = text.replace('_', "").parse().ok();
        match number.filter(|number| (limit.min..=limit.max).contains(number)) {
            Some(number) => Some(number),
            None => {
                self.fault(format!(
                    "{}: found `{text}`, expected a whole number from {} to {}",
                    found.origin, limit.min, limit.max
                ));
                None
            }
        }
    }

    fn find(&mut self, setting: &Setting) -> Option<Found> {
        let sources = self.sources;
        if let Some(texts) = sources.flags.settings.get(setting.key) {
            let flag = setting.key.trim_end_matches('s').replace('_', "-");
            let name = if matches!(setting.kind, Kind::Texts | Kind::Paths) {
                flag
            } else {
                setting.key.replace('_', "-")
            };
            return Some(Found { texts: texts.clone(), origin: Origin::Flag(name) });
        }
        let split = |text: &str| -> Vec<String> {
            let separator = match setting.kind {
                Kind::Texts => ',',
                Kind::Paths => ':',
                _ => return vec![text.to_owned()],
            };
            text.split(separator).map(|part| part.trim().to_owned()).collect()
        };
        if let Some(text) = sources.environment.get(setting.env).filter(|text| !text.is_empty()) {
            let origin = Origin::Variable(setting.env.to_owned());
            return Some(Found { texts: split(text), origin });
        }
        if let Some(text) = sources.dotenv.get(setting.env).filter(|text| !text.is_empty()) {
            let origin = Origin::DotEnv(setting.env.to_owned());
            return Some(Found { texts: split(text), origin });
        }
        let (path, table) = sources.file.as_ref()?;
        let value = table.get(setting.key)?;
        let origin = Origin::File(path.clone(), setting.key.to_owned());
        let several = matches!(setting.kind, Kind::Texts | Kind::Paths);
        self.texts_of(value, several, &origin).map(|texts| Found { texts, origin })
    }

    fn find_limit(&mut self, key: &str) -> Option<Found> {
        let sources = self.sources;
        if let Some(text) = self.limits.get(key) {
            let origin = Origin::Flag(format!("limit {key}"));
            return Some(Found { texts: vec![(*text).to_owned()], origin });
        }
        let variable = limits::variable(key);
        if let Some(text) = sources.environment.get(&variable) {
            return Some(Found { texts: vec![text.clone()], origin: Origin::Variable(variable) });
        }
        if let Some(text) = sources.dotenv.get(&variable) {
            return Some(Found { texts: vec![text.clone()], origin: Origin::DotEnv(variable) });
        }
        let (path, table) = sources.file.as_ref()?;
        let value = table.get("limits")?.get(key)?;
        let origin = Origin::File(path.clone(), format!("limits.{key}"));
        self.texts_of(value, false, &origin).map(|texts| Found { texts, origin })
    }

    fn texts_of(&mut self, value: &Value, several: bool, origin: &Origin) -> Option<Vec<String>> {
        let one = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Boolean(switch) => Some(switch.to_string()),
            _ => None,
        };
        let texts = match value {
            Value::Array(items) if several => items.iter().map(one).collect(),
            other => one(other).map(|text| vec![text]),
        };
        if texts.is_none() {
            let expected = if several { "a list of strings" } else { "one value" };
            self.fault(format!("{origin}: found {}, expected {expected}", kind_of(value)));
        }
        texts
    }
}

fn of(key: &str) -> &'static Setting {
    SETTINGS
        .iter()
        .find(|setting| setting.key == key)
        .expect("every key that is read stands in the table; a test reads them all")
}
