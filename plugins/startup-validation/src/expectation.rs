//! What a single probe must show, beyond the usual for its kind.

use std::collections::BTreeMap;

use caelum_sdk::{ParameterProblem, PluginError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Parameters;

/// What a single probe must show. Fields that do not belong to the probe's kind are passed over.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expectation {
    /// `http`: the status codes that are good. Empty means 200 to 299.
    pub status: Vec<u16>,
    /// `http`, `file`, `command`: texts that the body, the file or standard output must contain.
    pub contains: Vec<String>,
    /// `http`, `file`, `command`: texts that it must not contain.
    pub lacks: Vec<String>,
    /// `http`, `file`, `command`: values that it must hold as JSON, by JSON Pointer, for example
    /// `{"/version": "1.4.0"}`: this shows that the answer comes from the right build.
    pub json: BTreeMap<String, Value>,
    /// `http`, `tcp`, `command`: how many milliseconds it may have taken.
    pub max_duration_ms: Option<u64>,
    /// `command`: the exit codes that are good. Empty means 0.
    pub exit_codes: Vec<i32>,
    /// `tcp`, `file`, `env`, `port`: that nothing is there: no connection, no file, no variable, nobody listening.
    pub absent: bool,
    /// `port`: that somebody listens on it (`true`) or nobody does (`false`). Without it: nobody before the action,
    /// somebody after it.
    pub listening: Option<bool>,
    /// `port`: the name of the process that must be the one listening.
    pub process: Option<String>,
    /// `systemd`: how often the unit may have been restarted by itself.
    pub max_restarts: Option<u64>,
    /// `systemd`: that the unit was started after the attempt began, and not before it.
    pub started_in_attempt: bool,
}

/// Checks what the schema cannot say.
pub(crate) fn check(parameters: &Parameters) -> Result<(), PluginError> {
    let mut problems = Vec::new();
    for (name, expectation) in &parameters.expect {
        let name = name.replace('~', "~0").replace('/', "~1");
        for pointer in expectation.json.keys() {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                let at = pointer.replace('~', "~0").replace('/', "~1");
                let message =
                    format!("expected a JSON Pointer such as `/status`, found `{pointer}`");
                problems.push(ParameterProblem::new(format!("/expect/{name}/json/{at}"), message));
            }
        }
        if expectation.absent && expectation.listening == Some(true) {
            let message = "`absent` and `listening: true` exclude each other".to_owned();
            problems.push(ParameterProblem::new(format!("/expect/{name}"), message));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(PluginError::InvalidParameters(problems)) }
}
