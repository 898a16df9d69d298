//! Says what the server owes to a message, by the protocol and by the schemas that it has listed. It knows nothing of how
//! the message came about, and little enough to be right: where the protocol leaves a choice, so does it.

use std::collections::BTreeMap;

use caelum_tests::Era;
use jsonschema::Validator;
use serde_json::{Map, Value};

/// The methods of each era, beside those of both.
const BOTH: [&str; 8] = [
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "completion/complete",
];
const OLDER: [&str; 3] = ["ping", "resources/subscribe", "resources/unsubscribe"];
const NEWER: [&str; 1] = ["server/discover"];

/// What the server owes.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// One answer under this id, whichever.
    Anything { id: Value },
    /// One answer under this id, and it is an error of the protocol or of the tool.
    Refusal { id: Value },
    /// An error, for bytes that name no request.
    Objection,
    /// Nothing; an error does no harm.
    Nothing,
}

impl Wanted {
    /// Returns the id that must be answered.
    pub(crate) fn id(&self) -> Option<&Value> {
        match self {
            Self::Anything { id } | Self::Refusal { id } => Some(id),
            Self::Objection | Self::Nothing => None,
        }
    }

    /// Returns the id to wait for.
    pub(crate) fn answered(&self) -> Option<Value> {
        self.id().cloned()
    }
}

/// What is known of one tool.
struct Known {
    arguments: Validator,
    reads: bool,
}

/// Knows the tools that were listed.
pub(crate) struct Judge {
    tools: BTreeMap<String, Known>,
    era: Era,
}

impl Judge {
    pub(crate) fn new(tools: &[Value], era: Era) -> Self {
        let known = tools.iter().map(|tool| {
            let name = tool["name"].as_str().expect("a tool has a name").to_owned();
            let arguments = jsonschema::validator_for(&tool["inputSchema"]).expect("a schema");
            (name, Known { arguments, reads: tool["annotations"]["readOnlyHint"] == true })
        });
        Self { tools: known.collect(), era }
    }

    /// Says whether a call of a tool does nothing that lasts, by its own word or because it must be refused.
    pub(crate) fn is_harmless(&self, tool: &str, arguments: &Value) -> bool {
        self.tools.get(tool).is_none_or(|known| known.reads || !known.fits(arguments))
    }

    /// Says what the server owes to these bytes.
    pub(crate) fn wants(&self, bytes: &[u8]) -> Wanted {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Wanted::Nothing;
        }
        let Ok(Value::Object(message)) = serde_json::from_slice::<Value>(bytes) else {
            return Wanted::Objection;
        };
        let id = message.get("id");
        let usable = id.filter(|id| id.is_string() || id.is_i64());
        let is_sound = message.get("jsonrpc").is_some_and(|version| version == "2.0")
            && (id.is_none() || usable.is_some());
        let is_answer = message.contains_key("result") || message.contains_key("error");
        match (message.get("method"), usable) {
            (Some(Value::String(method)), Some(id)) if is_sound && !is_answer => {
                let id = id.clone();
                match self.may_take(method, message.get("params")) {
                    true => Wanted::Anything { id },
                    false => Wanted::Refusal { id },
                }
            }
            // A notification, or an answer to something that nobody asked.
            (Some(Value::String(_)), None) if is_sound && !is_answer => Wanted::Nothing,
            (None, _) if is_sound && is_answer => Wanted::Nothing,
            (_, Some(id)) => Wanted::Refusal { id: id.clone() },
            (_, None) => Wanted::Objection,
        }
    }

    /// Says whether the server may take a request for good.
    fn may_take(&self, method: &str, params: Option<&Value>) -> bool {
        let of_era: &[&str] = match self.era {
            Era::Initialize => &OLDER,
            Era::Stateless => &NEWER,
        };
        if !BOTH.contains(&method) && !of_era.contains(&method) {
            return false;
        }
        let none = Map::new();
        let params = match params.filter(|params| !params.is_null()) {
            None => &none,
            Some(Value::Object(params)) => params,
            Some(_) => return false,
        };
        if self.era == Era::Stateless && !self.names_version(params) {
            return false;
        }
        let text = |name: &str| params.get(name).and_then(Value::as_str);
        match method {
            "tools/call" => match (text("name"), params.get("arguments")) {
                (Some(tool), arguments) => {
                    // None at all, and `null`, stand for no arguments.
                    let nothing = Value::Object(Map::new());
                    let arguments = arguments.filter(|given| !given.is_null()).unwrap_or(&nothing);
                    self.tools.get(tool).is_some_and(|known| known.fits(arguments))
                }
                (None, _) => false,
            },
            "prompts/get" => text("name").is_some(),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                text("uri").is_some_and(|uri| uri.contains("://"))
            }
            "tools/list" | "prompts/list" | "resources/templates/list" => {
                params.get("cursor").is_none_or(Value::is_null)
            }
            _ => true,
        }
    }

    /// Says whether a request of the newer era names a version that there is.
    fn names_version(&self, params: &Map<String, Value>) -> bool {
        let version = params
            .get("_meta")
            .and_then(|meta| meta.get("io.modelcontextprotocol/protocolVersion"))
            .and_then(Value::as_str);
        version.is_some_and(|version| version == "2026-07-28")
    }
}

impl Known {
    fn fits(&self, arguments: &Value) -> bool {
        let mut arguments = arguments.clone();
        without_null(&mut arguments);
        arguments.is_object() && self.arguments.is_valid(&arguments)
    }
}

/// Leaving out and `null` mean the same to the server.
fn without_null(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}
