//! What can be set.

use std::collections::BTreeMap;

use caelum_plugin_component::{Scope, Suppression};
use caelum_sdk::{PluginError, Rule, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of file to look at and change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// Compose files.
    Compose,
    /// Kubernetes manifests.
    K8s,
    /// Dockerfiles, in components that have neither of the others.
    Dockerfile,
}

/// With what a check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// With whatever the image has.
    Auto,
    /// `curl`.
    Curl,
    /// `wget`.
    Wget,
    /// `python3`.
    Python,
    /// `node`.
    Node,
}

/// What can be set.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Address that tells the health of services built here. It is used where a source speaks of it; otherwise other
    /// usual addresses are looked for, and without one the check is whether the port accepts connections.
    #[schemars(regex(pattern = r"^/[A-Za-z0-9/_.~-]*$"))]
    pub path: String,
    /// Port inside the container, for services that declare none.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// With what checks over HTTP are made.
    pub tool: Tool,
    /// Seconds between two checks. Services that others wait for are asked every 10 seconds at least.
    #[schemars(range(min = 1, max = 3600))]
    pub interval_s: u32,
    /// Seconds that one check may take.
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_s: u32,
    /// How many checks in a row must fail.
    #[schemars(range(min = 1, max = 100))]
    pub retries: u32,
    /// Seconds after the start in which failures do not count.
    #[schemars(range(max = 3600))]
    pub start_period_s: u32,
    /// What kind of files to look at.
    pub targets: Vec<TargetKind>,
    /// Globs of files to leave out.
    pub exclude: Vec<String>,
    /// Weights of single rules: `{"HC03": "advice"}`.
    pub severity_overrides: BTreeMap<String, Severity>,
    /// Findings that are accepted, with the reason. They stay visible, as advice, and nothing is changed for them.
    pub suppress: Vec<Suppression>,
}

impl Default for Parameters {
    fn default() -> Self {
        Parameters {
            path: "/health".to_owned(),
            port: None,
            tool: Tool::Auto,
            interval_s: 30,
            timeout_s: 5,
            retries: 3,
            start_period_s: 30,
            targets: vec![TargetKind::Compose, TargetKind::K8s, TargetKind::Dockerfile],
            exclude: Vec::new(),
            severity_overrides: BTreeMap::new(),
            suppress: Vec::new(),
        }
    }
}

impl Parameters {
    /// Answers whether a kind of file is looked at.
    pub(crate) fn covers(&self, kind: TargetKind) -> bool {
        self.targets.contains(&kind)
    }

    /// Checks what the schema cannot say, and makes the shared parameters ready.
    pub(crate) fn scope(&self, rules: &[Rule]) -> Result<Scope, PluginError> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "/_.~-".contains(letter);
        if !self.path.starts_with('/') || !self.path.chars().all(plain) {
            let message = format!("expected an address such as `/health`, found `{}`", self.path);
            return Err(PluginError::invalid_parameter("/path", message));
        }
        if self.timeout_s >= self.interval_s {
            let (timeout, interval) = (self.timeout_s, self.interval_s);
            let message = format!("expected less than `interval_s` ({interval}), found {timeout}");
            return Err(PluginError::invalid_parameter("/timeout_s", message));
        }
        Scope::new(rules, &self.exclude, &self.severity_overrides, &self.suppress)
    }
}
