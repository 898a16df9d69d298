//! Other MCP servers whose tools steps may call: `[tool_servers.NAME]` in the file, and only there, because they say what
//! is run. A value of `env` or `headers` that begins with `$` names an environment variable, so that secrets need not
//! stand in the file.

use std::collections::BTreeMap;

use caelum_core::near::did_you_mean;
use caelum_machines::ToolServer;
use toml::{Table, Value};

/// The keys of a server that is a program, and of one behind a URL.
const KEYS: [&str; 5] = ["program", "args", "env", "url", "headers"];

/// Reads every server; each fault names its key.
pub(super) fn read(
    value: &Value,
    variable: impl Fn(&str) -> Option<String>,
    faults: &mut Vec<String>,
) -> BTreeMap<String, ToolServer> {
    let Value::Table(servers) = value else {
        faults
            .push("`tool_servers` is no table; expected one `[tool_servers.NAME]` each".to_owned());
        return BTreeMap::new();
    };
    let mut read = BTreeMap::new();
    for (name, server) in servers {
        let mut reading =
            Reading { at: format!("tool_servers.{name}"), variable: &variable, faults };
        let server = match server {
            Value::Table(server) => reading.server(server),
            _ => {
                reading.fault("", "expected a table with `program` or `url`");
                None
            }
        };
        read.extend(server.map(|server| (name.clone(), server)));
    }
    read
}

struct Reading<'a, V> {
    at: String,
    variable: &'a V,
    faults: &'a mut Vec<String>,
}

impl<V: Fn(&str) -> Option<String>> Reading<'_, V> {
    fn fault(&mut self, key: &str, problem: &str) {
        let dot = if key.is_empty() { "" } else { "." };
        self.faults.push(format!("`{}{dot}{key}`: {problem}", self.at));
    }

    fn server(&mut self, table: &Table) -> Option<ToolServer> {
        for key in table.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let near = did_you_mean(key, KEYS).unwrap_or_default();
            self.fault(key, &format!("unknown key; {near}"));
        }
        let fitting: &[&str] = match (table.get("program"), table.get("url")) {
            (Some(_), None) => &["program", "args", "env"],
            (None, Some(_)) => &["url", "headers"],
            _ => {
                self.fault(
                    "",
                    "expected either `program` (with `args`, `env`) or `url` (with `headers`)",
                );
                return None;
            }
        };
        for key in KEYS.iter().filter(|key| table.contains_key(**key) && !fitting.contains(*key)) {
            self.fault(
                key,
                &format!(
                    "goes with {} only",
                    if fitting[0] == "url" { "`program`" } else { "`url`" }
                ),
            );
        }
        if fitting[0] == "url" {
            let url = self.text(table, "url")?;
            return Some(ToolServer::Http { url, headers: self.values(table, "headers") });
        }
        let program = self.text(table, "program")?;
        Some(ToolServer::Stdio { program, args: self.texts(table), env: self.values(table, "env") })
    }

    fn text(&mut self, table: &Table, key: &str) -> Option<String> {
        match table.get(key) {
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text.clone()),
            _ => {
                self.fault(key, "expected a text that is not empty");
                None
            }
        }
    }

    fn texts(&mut self, table: &Table) -> Vec<String> {
        let Some(value) = table.get("args") else { return Vec::new() };
        let texts = value.as_array().map(|items| {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        texts.flatten().unwrap_or_else(|| {
            self.fault("args", "expected a list of texts");
            Vec::new()
        })
    }

    /// Reads names with their values, which no fault shows.
    fn values(&mut self, table: &Table, key: &str) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        let Some(value) = table.get(key) else { return values };
        let Value::Table(named) = value else {
            self.fault(key, "expected a table of names and texts");
            return values;
        };
        for (name, value) in named {
            let Value::String(text) = value else {
                self.fault(&format!("{key}.{name}"), "expected a text");
                continue;
            };
            match text.strip_prefix('$') {
                None => drop(values.insert(name.clone(), text.clone())),
                Some(variable) => match (self.variable)(variable) {
                    Some(text) => drop(values.insert(name.clone(), text)),
                    None => self.fault(
                        &format!("{key}.{name}"),
                        &format!("the environment variable `{variable}` is not set"),
                    ),
                },
            }
        }
        values
    }
}
