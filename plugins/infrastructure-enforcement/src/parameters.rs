//! What can be set.

use std::collections::BTreeMap;

use caelum_plugin_component::{Scope, Suppression};
use caelum_sdk::{ParameterProblem, PluginError, Rule, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::naming;

/// What kind of component it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Whatever its files show.
    Auto,
    /// Services in a compose file.
    Compose,
    /// Kubernetes workloads.
    Kubernetes,
    /// Python.
    Python,
    /// JavaScript or TypeScript.
    Node,
    /// Rust.
    Rust,
    /// Go.
    Go,
}

impl Kind {
    /// Returns the word used in the declaration; nothing for `auto`.
    pub(crate) fn word(self) -> Option<&'static str> {
        Some(match self {
            Kind::Auto => return None,
            Kind::Compose => "compose",
            Kind::Kubernetes => "kubernetes",
            Kind::Python => "python",
            Kind::Node => "node",
            Kind::Rust => "rust",
            Kind::Go => "go",
        })
    }
}

/// What must be there before the component starts, beyond what its files show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Requirements {
    /// Names of environment variables.
    pub env: Vec<String>,
    /// Addresses that must accept connections: `host:port`.
    pub tcp: Vec<String>,
    /// Files, relative to the component.
    pub files: Vec<String>,
}

/// What can be set.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// The component's name: letters, digits, `-`, `_` and `.`. Without it: the name in the declaration that is there
    /// already, the name the component is registered under, or the one its files give it.
    pub component_name: Option<String>,
    /// What kind of component it is.
    pub kind: Kind,
    /// Ports that it publishes beyond those that its files show.
    pub ports: Vec<u16>,
    /// What must be there before it starts, beyond what its files show.
    pub requires: Requirements,
    /// Address that tells its health.
    pub health_path: String,
    /// Whether to propose that images run the start-up checks before their command. Such changes need review.
    pub entrypoint_wrap: bool,
    /// Globs of files to leave out.
    pub exclude: Vec<String>,
    /// Weights of single rules: `{"IE03": "warning"}`.
    pub severity_overrides: BTreeMap<String, Severity>,
    /// Findings that are accepted, with the reason. They stay visible, as advice, and nothing is changed for them.
    pub suppress: Vec<Suppression>,
}

impl Default for Parameters {
    fn default() -> Self {
        Parameters {
            component_name: None,
            kind: Kind::Auto,
            ports: Vec::new(),
            requires: Requirements::default(),
            health_path: "/health".to_owned(),
            entrypoint_wrap: false,
            exclude: Vec::new(),
            severity_overrides: BTreeMap::new(),
            suppress: Vec::new(),
        }
    }
}

impl Parameters {
    /// Checks what the schema cannot say, and makes the shared parameters ready.
    pub(crate) fn scope(&self, rules: &[Rule]) -> Result<Scope, PluginError> {
        let mut problems = Vec::new();
        if let Some(name) = &self.component_name
            && !naming::is_name(name)
        {
            let message = format!(
                "expected letters, digits, `-`, `_` and `.`, a letter first, found `{name}`"
            );
            problems.push(ParameterProblem::new("/component_name", message));
        }
        if !self.health_path.starts_with('/') {
            let message =
                format!("expected an address such as `/health`, found `{}`", self.health_path);
            problems.push(ParameterProblem::new("/health_path", message));
        }
        for (index, port) in self.ports.iter().enumerate() {
            if *port == 0 {
                let message = "expected a port from 1 to 65535".to_owned();
                problems.push(ParameterProblem::new(format!("/ports/{index}"), message));
            }
        }
        let lists = [
            (
                "env",
                &self.requires.env,
                naming::is_variable as fn(&str) -> bool,
                "a name of a variable",
            ),
            ("tcp", &self.requires.tcp, naming::is_address, "an address of the form `host:port`"),
            ("files", &self.requires.files, naming::is_path, "a path beneath the component"),
        ];
        for (key, values, is_valid, expected) in lists {
            for (index, value) in values.iter().enumerate() {
                if !is_valid(value) {
                    let message = format!("expected {expected}, found `{}`", value.escape_debug());
                    problems
                        .push(ParameterProblem::new(format!("/requires/{key}/{index}"), message));
                }
            }
        }
        match Scope::new(rules, &self.exclude, &self.severity_overrides, &self.suppress) {
            Ok(scope) if problems.is_empty() => Ok(scope),
            Ok(_) => Err(PluginError::InvalidParameters(problems)),
            Err(PluginError::InvalidParameters(more)) => {
                problems.extend(more);
                Err(PluginError::InvalidParameters(problems))
            }
            Err(other) => Err(other),
        }
    }
}
