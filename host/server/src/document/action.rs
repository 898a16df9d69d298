//! What a step does, as documents say it: one flat object whose `kind` says which of its fields are meant. Clients that
//! cannot read alternatives in schemas can read this one; which fields fit which kind is checked here.

use std::collections::BTreeMap;

use caelum_core::task::{CommandSpec, HttpExpect, HttpSpec, ToolSpec};
use caelum_core::workflow::Action;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Faults, filled};

/// The kinds of action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Runs a program on each target machine: `program`, `args`, `cwd`, `env`, `stdin`, `shell`, `collect`, `outputs`.
    Command,
    /// Sends one HTTP request from each target machine: `url`, `method`, `headers`, `body`, `expect`.
    Http,
    /// Calls a tool of another MCP server: `server`, `tool`, `arguments`.
    Tool,
    /// Applies an improvement pattern to a component: `pattern`, `target`, `parameters`, `dry_run`,
    /// `allow_review_edits`.
    Pattern,
    /// Runs another workflow to its end: `workflow_id`, `revision`, `parameters`.
    Workflow,
    /// Somebody does the work and reports it with `complete_step`: `instructions`.
    Manual,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"kind": "command", "program": "python3", "args": ["-m", "unittest"], "collect": ["reports/*.xml"]}))]
pub struct ActionDocument {
    /// Which kind of action; it decides which other fields are meant.
    pub kind: ActionKind,
    /// `command`: the program, a name found in PATH or a path; with `shell` a line for /bin/sh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// `command`: its arguments, passed as they are. Strings may hold templates such as `{{ parameters.tag }}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// `command`: the directory to run in, relative to the server's first root or absolute beneath a root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// `command`: environment variables to set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// `command`: text for its standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// `command`: whether `program` is a line for /bin/sh; false when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<bool>,
    /// `command`: globs, relative to `cwd`, of files that gates may read, such as test reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collect: Option<Vec<String>>,
    /// `command`: a JSON file, relative to `cwd`, that holds the step's outputs. When left out, the last line of
    /// standard output that is a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<String>,
    /// `http`: the method; GET when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<MethodWord>,
    /// `http`: where, an absolute http or https URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `http`: header lines to send; their values are never logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
    /// `http`: the body; a string is sent as it is, any other value as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_json")]
    pub body: Option<Value>,
    /// `http`: what the answer has to be; any status from 200 to 299 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<ExpectDocument>,
    /// `tool`: the MCP server, by the name that this server's configuration gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// `tool`: the tool of that server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// `tool`: its arguments; strings may hold templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Map<String, Value>>,
    /// `pattern`: the pattern's name, see `list_patterns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// `pattern`: a registered component or the path of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `pattern`: the pattern's parameters. `workflow`: the parameters of the child execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// `pattern`: whether only to plan; false when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// `pattern`: whether edits that somebody should look at are applied too; false when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_review_edits: Option<bool>,
    /// `workflow`: the workflow to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// `workflow`: its revision; the newest when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub revision: Option<u32>,
    /// `manual`: what to do, for whoever does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
}

/// Any JSON value but `null`, spelled out: some clients take a schema that says nothing for a mistake.
pub(super) fn any_json(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [
        {"type": "string"},
        {"type": "object", "additionalProperties": true},
        {"type": "array"},
        {"type": "number"},
        {"type": "boolean"},
    ]})
}

/// The fields of each kind.
const COMMAND: &[&str] = &["program", "args", "cwd", "env", "stdin", "shell", "collect", "outputs"];
const HTTP: &[&str] = &["method", "url", "headers", "body", "expect"];
const TOOL: &[&str] = &["server", "tool", "arguments"];
const PATTERN: &[&str] = &["pattern", "target", "parameters", "dry_run", "allow_review_edits"];
const WORKFLOW: &[&str] = &["workflow_id", "revision", "parameters"];
const MANUAL: &[&str] = &["instructions"];

impl ActionDocument {
    fn empty(kind: ActionKind) -> Self {
        Self {
            kind,
            program: None,
            args: None,
            cwd: None,
            env: None,
            stdin: None,
            shell: None,
            collect: None,
            outputs: None,
            method: None,
            url: None,
            headers: None,
            body: None,
            expect: None,
            server: None,
            tool: None,
            arguments: None,
            pattern: None,
            target: None,
            parameters: None,
            dry_run: None,
            allow_review_edits: None,
            workflow_id: None,
            revision: None,
            instructions: None,
        }
    }

    pub(super) fn of(action: &Action) -> Self {
        match action {
            Action::Command(spec) => {
                let CommandDocument { program, args, cwd, env, stdin, shell, collect, outputs } =
                    CommandDocument::of(spec);
                Self {
                    program: Some(program),
                    args,
                    cwd,
                    env,
                    stdin,
                    shell,
                    collect,
                    outputs,
                    ..Self::empty(ActionKind::Command)
                }
            }
            Action::Http(request) => Self {
                method: MethodWord::of(&request.method),
                url: Some(request.url.clone()),
                headers: (!request.headers.is_empty()).then(|| request.headers.clone()),
                body: request.body.clone(),
                expect: ExpectDocument::of(&request.expect),
                ..Self::empty(ActionKind::Http)
            },
            Action::Tool(call) => Self {
                server: Some(call.server.clone()),
                tool: Some(call.tool.clone()),
                arguments: (!call.arguments.is_empty()).then(|| call.arguments.clone()),
                ..Self::empty(ActionKind::Tool)
            },
            Action::Pattern { pattern, target, parameters, dry_run, allow_review_edits } => Self {
                pattern: Some(pattern.to_string()),
                target: Some(target.clone()),
                parameters: (!parameters.is_empty()).then(|| parameters.clone()),
                dry_run: dry_run.then_some(true),
                allow_review_edits: allow_review_edits.then_some(true),
                ..Self::empty(ActionKind::Pattern)
            },
            Action::Workflow { workflow_id, revision, parameters } => Self {
                workflow_id: Some(workflow_id.clone()),
                revision: *revision,
                parameters: (!parameters.is_empty()).then(|| parameters.clone()),
                ..Self::empty(ActionKind::Workflow)
            },
            Action::Manual { instructions } => Self {
                instructions: (!instructions.is_empty()).then(|| instructions.clone()),
                ..Self::empty(ActionKind::Manual)
            },
        }
    }

    pub(super) fn to_action(&self, at: &str, faults: &mut Faults) -> Option<Action> {
        let (word, fitting) = match self.kind {
            ActionKind::Command => ("command", COMMAND),
            ActionKind::Http => ("http", HTTP),
            ActionKind::Tool => ("tool", TOOL),
            ActionKind::Pattern => ("pattern", PATTERN),
            ActionKind::Workflow => ("workflow", WORKFLOW),
            ActionKind::Manual => ("manual", MANUAL),
        };
        for (field, owner) in self.given() {
            if !fitting.contains(&field) {
                faults.add(
                    format_args!("{at}/{field}"),
                    format_args!(
                        "`{field}` belongs to actions of kind `{owner}`, and this one is a `{word}`, which takes {}",
                        listed(fitting)
                    ),
                );
            }
        }
        let mut needed = |field: &str, value: Option<&String>| -> Option<String> {
            let value = filled(value).map(str::to_owned);
            if value.is_none() {
                faults.add(
                    format_args!("{at}/{field}"),
                    format_args!("required for an action of kind `{word}`, and missing"),
                );
            }
            value
        };
        match self.kind {
            ActionKind::Command => {
                let program = needed("program", self.program.as_ref())?;
                Some(Action::Command(CommandSpec {
                    program,
                    args: self.args.clone().unwrap_or_default(),
                    cwd: filled(self.cwd.as_ref()).map(str::to_owned),
                    env: self.env.clone().unwrap_or_default(),
                    stdin: self.stdin.clone(),
                    shell: self.shell.unwrap_or(false),
                    collect: self.collect.clone().unwrap_or_default(),
                    outputs: filled(self.outputs.as_ref()).map(str::to_owned),
                }))
            }
            ActionKind::Http => Some(Action::Http(HttpSpec {
                method: self.method.map(MethodWord::to_text).unwrap_or_default(),
                url: needed("url", self.url.as_ref())?,
                headers: self.headers.clone().unwrap_or_default(),
                body: self.body.clone(),
                expect: self.expect.as_ref().map(ExpectDocument::to_expect).unwrap_or_default(),
            })),
            ActionKind::Tool => {
                let server = needed("server", self.server.as_ref());
                let tool = needed("tool", self.tool.as_ref());
                Some(Action::Tool(ToolSpec {
                    server: server?,
                    tool: tool?,
                    arguments: self.arguments.clone().unwrap_or_default(),
                }))
            }
            ActionKind::Pattern => {
                let pattern = needed("pattern", self.pattern.as_ref());
                let target = needed("target", self.target.as_ref());
                let pattern = faults.id(format_args!("{at}/pattern"), &pattern?)?;
                Some(Action::Pattern {
                    pattern,
                    target: target?,
                    parameters: self.parameters.clone().unwrap_or_default(),
                    dry_run: self.dry_run.unwrap_or(false),
                    allow_review_edits: self.allow_review_edits.unwrap_or(false),
                })
            }
            ActionKind::Workflow => Some(Action::Workflow {
                workflow_id: needed("workflow_id", self.workflow_id.as_ref())?,
                revision: self.revision,
                parameters: self.parameters.clone().unwrap_or_default(),
            }),
            ActionKind::Manual => {
                Some(Action::Manual { instructions: self.instructions.clone().unwrap_or_default() })
            }
        }
    }

    /// Returns the fields that are given, each with the kind that it belongs to.
    fn given(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        [
            ("program", "command", self.program.is_some()),
            ("args", "command", self.args.is_some()),
            ("cwd", "command", self.cwd.is_some()),
            ("env", "command", self.env.is_some()),
            ("stdin", "command", self.stdin.is_some()),
            ("shell", "command", self.shell.is_some()),
            ("collect", "command", self.collect.is_some()),
            ("outputs", "command", self.outputs.is_some()),
            ("method", "http", self.method.is_some()),
            ("url", "http", self.url.is_some()),
            ("headers", "http", self.headers.is_some()),
            ("body", "http", self.body.is_some()),
            ("expect", "http", self.expect.is_some()),
            ("server", "tool", self.server.is_some()),
            ("tool", "tool", self.tool.is_some()),
            ("arguments", "tool", self.arguments.is_some()),
            ("pattern", "pattern", self.pattern.is_some()),
            ("target", "pattern", self.target.is_some()),
            ("parameters", "pattern` or `workflow", self.parameters.is_some()),
            ("dry_run", "pattern", self.dry_run.is_some()),
            ("allow_review_edits", "pattern", self.allow_review_edits.is_some()),
            ("workflow_id", "workflow", self.workflow_id.is_some()),
            ("revision", "workflow", self.revision.is_some()),
            ("instructions", "manual", self.instructions.is_some()),
        ]
        .into_iter()
        .filter_map(|(field, owner, given)| given.then_some((field, owner)))
    }
}

/// The methods of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum MethodWord {
    /// Asks for something.
    Get,
    /// Asks for the head of it.
    Head,
    /// Hands something over.
    Post,
    /// Puts something in its place.
    Put,
    /// Changes a part.
    Patch,
    /// Takes something away.
    Delete,
    /// Asks what is possible.
    Options,
}

impl MethodWord {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Get, "GET"),
        (Self::Head, "HEAD"),
        (Self::Post, "POST"),
        (Self::Put, "PUT"),
        (Self::Patch, "PATCH"),
        (Self::Delete, "DELETE"),
        (Self::Options, "OPTIONS"),
    ];

    fn of(method: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, text)| *text == method).map(|(word, _)| *word)
    }

    fn to_text(self) -> String {
        Self::ALL
            .iter()
            .find(|(word, _)| *word == self)
            .map(|(_, text)| (*text).to_owned())
            .unwrap_or_default()
    }
}

/// What the answer to a request has to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"status": [200], "json": {"status": "healthy"}}))]
pub struct ExpectDocument {
    /// Status codes that are good; 200 to 299 when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
    /// Text that the body holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// Members that the body, a JSON object, holds at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Map<String, Value>>,
}

impl ExpectDocument {
    fn of(expect: &HttpExpect) -> Option<Self> {
        (*expect != HttpExpect::default()).then(|| Self {
            status: expect.status.clone(),
            contains: expect.contains.clone(),
            json: expect.json.as_ref().and_then(Value::as_object).cloned(),
        })
    }

    fn to_expect(&self) -> HttpExpect {
        HttpExpect {
            status: self.status.clone(),
            contains: self.contains.clone(),
            json: self.json.clone().map(Value::Object),
        }
    }
}

/// A program to run, by itself: what `distribute_task` and probes take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandDocument {
    /// The program: a name found in PATH or a path; with `shell` a line for /bin/sh.
    pub program: String,
    /// Its arguments, passed as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// The directory to run in, relative to the server's first root or absolute beneath a root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Environment variables to set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// Text for its standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Whether `program` is a line for /bin/sh; false when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<bool>,
    /// Globs, relative to `cwd`, of files to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collect: Option<Vec<String>>,
    /// A JSON file, relative to `cwd`, that holds the outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<String>,
}

impl CommandDocument {
    pub(super) fn of(spec: &CommandSpec) -> Self {
        Self {
            program: spec.program.clone(),
            args: (!spec.args.is_empty()).then(|| spec.args.clone()),
            cwd: spec.cwd.clone(),
            env: (!spec.env.is_empty()).then(|| spec.env.clone()),
            stdin: spec.stdin.clone(),
            shell: spec.shell.then_some(true),
            collect: (!spec.collect.is_empty()).then(|| spec.collect.clone()),
            outputs: spec.outputs.clone(),
        }
    }

    /// Turns it into the model's form.
    pub fn to_spec(&self) -> CommandSpec {
        CommandSpec {
            program: self.program.clone(),
            args: self.args.clone().unwrap_or_default(),
            cwd: filled(self.cwd.as_ref()).map(str::to_owned),
            env: self.env.clone().unwrap_or_default(),
            stdin: self.stdin.clone(),
            shell: self.shell.unwrap_or(false),
            collect: self.collect.clone().unwrap_or_default(),
            outputs: filled(self.outputs.as_ref()).map(str::to_owned),
        }
    }
}

/// Writes field names for a message.
pub(super) fn listed(fields: &[&str]) -> String {
    let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
    fields.join(", ")
}
