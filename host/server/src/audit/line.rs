//! The form of one line of the audit log. Its members are a contract: they are added to and not changed.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::address;
use crate::mcp::session::Session;
use crate::mcp::toolset::CallContext;
use crate::trust::{Caller, Proof};

/// How many characters of a text are kept: ids and names are shorter, and everything else was sent to fill the log.
const CHARS_MAX: usize = 200;

/// The arguments that say what a call is about, and nothing else of it.
const IDS: &[&str] = &[
    "workflow_id",
    "execution_id",
    "step_id",
    "pattern_name",
    "target_component",
    "application_id",
    "plan_id",
    "task_id",
    "task_group_id",
    "revision",
    "action",
    "decision",
    "reviewer",
    "performer",
    "dry_run",
    "format",
];

/// What an answer names that the call did not know.
const IDS_OF_ANSWER: &[&str] =
    &["workflow_id", "execution_id", "application_id", "task_group_id", "plan_id", "revision"];

/// One line.
#[derive(Debug, Default, Serialize)]
pub(super) struct Line {
    pub(super) time: String,
    pub(super) event: &'static str,
    /// What made the caller trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<&'static str>,
    /// The user, by the kernel's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    /// The token, by its name in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The client's own word on what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'static str>,
    /// The id of the request, as the client gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ids: BTreeMap<&'static str, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ms: Option<u64>,
    /// How many lines like this one were not written before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) suppressed: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) about: BTreeMap<&'static str, Value>,
}

impl Line {
    pub(super) fn new(event: &'static str, time: String) -> Self {
        Self { time, event, ..Self::default() }
    }

    pub(super) fn take_origin(&mut self, session: &Session) {
        let origin = session.origin();
        self.transport = Some(origin.transport.as_str());
        self.from = origin.remote.map(address);
        self.uid = origin.uid;
    }

    pub(super) fn by(&mut self, caller: Caller) {
        self.scope = Some(caller.scope.as_str());
        self.proof = Some(match caller.proof {
            Proof::Stdio => "stdio",
            Proof::OwnUser => "own_user",
            Proof::Token => "token",
            Proof::Unauthenticated => "unauthenticated",
        });
        self.token = (caller.proof == Proof::Token).then(|| caller.scope.token_name());
    }

    pub(super) fn of_client(&mut self, context: &CallContext) {
        let client = context.client.as_ref();
        self.client = client.map(|client| short(&format!("{} {}", client.name, client.version)));
        self.method = Some(context.method).filter(|method| !method.is_empty());
        self.request = context.request.as_deref().map(short);
    }

    pub(super) fn take_ids(&mut self, arguments: &Map<String, Value>) {
        self.take(IDS, arguments);
    }

    pub(super) fn take_ids_of_answer(&mut self, answer: &Map<String, Value>) {
        self.take(IDS_OF_ANSWER, answer);
    }

    fn take(&mut self, names: &[&'static str], from: &Map<String, Value>) {
        for &name in names {
            let id = match from.get(name) {
                Some(Value::String(text)) if !text.is_empty() => Value::String(short(text)),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => value.clone(),
                _ => continue,
            };
            self.ids.entry(name).or_insert(id);
        }
    }

    /// Returns the line with its break.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// Cuts a text that others chose, and takes out what makes a terminal or a reader believe what is not there.
pub(super) fn short(text: &str) -> String {
    let mut kept = String::new();
    for (count, char) in text.chars().enumerate() {
        if count == CHARS_MAX {
            kept.push('…');
            break;
        }
        let turns = matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if turns || char.is_control() {
            kept.extend(char.escape_default());
        } else {
            kept.push(char);
        }
    }
    kept
}
