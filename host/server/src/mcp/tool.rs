//! What a tool is: its name and schemas, its annotations, and the function behind it. A tool knows nothing of the
//! protocol; the tool set checks the call before the function sees it, and the handler writes the answer to the wire.
//!
//! A tool's author writes a struct of arguments whose doc comment is the tool's description, a struct of the answer, and
//! a function:
//!
//! ```
//! use caelum_workflow::mcp::error::ToolError;
//! use caelum_workflow::mcp::tool::{Annotations, Answer, Call, tool};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! /// Adds two numbers and returns their sum.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Add {
//!     /// The first number.
//!     a: i64,
//!     /// The second number, 0 when left out.
//!     #[serde(default)]
//!     b: Option<i64>,
//! }
//!
//! #[derive(Serialize, JsonSchema)]
//! struct Sum {
//!     /// The sum of the two.
//!     sum: i64,
//! }
//!
//! impl Answer for Sum {
//!     fn text(&self) -> String {
//!         format!("sum: {}", self.sum)
//!     }
//! }
//!
//! let add = tool("add", "Add two numbers", Annotations::READS, |_call: Call, add: Add| async move {
//!     add.a
//!         .checked_add(add.b.unwrap_or(0))
//!         .map(|sum| Sum { sum })
//!         .ok_or_else(|| ToolError::new("overflow", "the sum is larger than 64 bits hold"))
//! });
//! assert_eq!(add.description, "Adds two numbers and returns their sum.");
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::error::ToolError;
use super::groups::Group;
use super::progress::Progress;
use super::schema;
use crate::trust::{Caller, Scope};

/// How large an answer may be by default, in bytes of JSON and of text alike: clients refuse more than 25,000 tokens.
/// Rows of ids and times, the densest that there is, take a token for 2.25 bytes (measured with the vocabulary o200k);
/// JSON with words in it one for more than 3.
pub const ANSWER_MAX_BYTES: usize = 48 * 1024;

/// What a tool does to the world, told to clients truthfully.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotations {
    /// It changes nothing.
    pub read_only: bool,
    /// It may overwrite or remove something; meaningless for one that only reads.
    pub destructive: bool,
    /// Calling it again with the same arguments changes nothing further.
    pub idempotent: bool,
    /// It reaches beyond this server: programs, networks, other machines.
    pub open_world: bool,
}

impl Annotations {
    /// Reads and changes nothing.
    pub const READS: Self =
        Self { read_only: true, destructive: false, idempotent: true, open_world: false };
    /// Adds something and overwrites nothing; a second call adds again.
    pub const ADDS: Self =
        Self { read_only: false, destructive: false, idempotent: false, open_world: false };
    /// Changes something that exists; a second call changes nothing further.
    pub const CHANGES: Self =
        Self { read_only: false, destructive: true, idempotent: true, open_world: false };
    /// Starts work that reaches the world: programs, files, other machines.
    pub const ACTS: Self =
        Self { read_only: false, destructive: true, idempotent: false, open_world: true };

    /// Returns the same with another word on whether it may overwrite or remove.
    #[must_use]
    pub const fn destructive(self, destructive: bool) -> Self {
        Self { destructive, ..self }
    }

    /// Returns the same with another word on whether repeating it changes nothing further.
    #[must_use]
    pub const fn idempotent(self, idempotent: bool) -> Self {
        Self { idempotent, ..self }
    }

    /// Returns the same with another word on whether it reaches beyond this server.
    #[must_use]
    pub const fn open_world(self, open_world: bool) -> Self {
        Self { open_world, ..self }
    }
}

/// The name and version a client gave of itself; its own word, good for logs and `created_by` and for nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The client's name.
    pub name: String,
    /// The client's version.
    pub version: String,
}

/// Everything about a call except its arguments. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Call {
    /// Ends when the client cancels, its connection is gone, the deadline has passed or the server stops. A tool that
    /// waits must wait on this too.
    pub cancel: CancellationToken,
    /// Reports progress to the client, when it asked for that.
    pub progress: Progress,
    /// Who calls and what they may do.
    pub caller: Caller,
    /// The client's own word on what it is.
    pub client: Option<Client>,
    /// The protocol version of this request, such as `2026-07-28`; empty before one was agreed on.
    pub protocol_version: String,
    /// When the server stops waiting for the tool and answers in its place.
    pub deadline: Instant,
}

impl Call {
    /// Returns a call as the command line makes it: the local user, no progress, nothing to cancel it.
    pub fn local(deadline: Duration) -> Self {
        Self {
            cancel: CancellationToken::new(),
            progress: Progress::silent(),
            caller: Caller::local(),
            client: None,
            protocol_version: String::new(),
            deadline: Instant::now() + deadline,
        }
    }

    /// Returns how long the tool may still take; a long poll waits for less than this.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What a tool answers: an object for programs and a short text for readers.
pub trait Answer: Serialize + JsonSchema + Send + 'static {
    /// Returns the text that clients without structured content show to the model: every id and every fact that the
    /// next call needs, in few lines. The default is the object itself as JSON.
    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A tool's answer, ready for the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The structured content, always an object.
    pub structured: Map<String, Value>,
    /// The text rendering.
    pub text: String,
}

type Run =
    dyn Fn(Call, Map<String, Value>) -> BoxFuture<'static, Result<Reply, ToolError>> + Send + Sync;

/// A tool: what clients are told about it, its limits, and the function behind it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Tool {
    /// The name clients call it by.
    pub name: &'static str,
    /// The name people read.
    pub title: &'static str,
    /// What it does, when to use it, what to call next; written for a model that has never seen it.
    pub description: String,
    /// The portable schema of its arguments.
    pub input_schema: Value,
    /// The portable schema of its structured answer.
    pub output_schema: Value,
    /// What it does to the world.
    pub annotations: Annotations,
    /// The scope a caller needs: by default `read` for what only reads and `write` for the rest.
    pub scope: Scope,
    /// The groups it is offered with; without any it is always offered.
    pub groups: Vec<Group>,
    /// How long one call may take; `None` takes the tool set's default.
    pub deadline: Option<Duration>,
    /// How large an answer may be, in bytes of JSON and of text alike.
    pub answer_max_bytes: usize,
    /// What the caller is told to do when an answer is too large.
    pub narrow_hint: Option<String>,
    run: Arc<Run>,
}

impl Tool {
    /// Replaces the description that came from the doc comment of the arguments.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Demands another scope of the caller than the annotations imply.
    #[must_use]
    pub fn requires(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Adds a group that it is offered with.
    #[must_use]
    pub fn of(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }

    /// Sets how long one call may take, for tools that wait; it must exceed the longest wait they accept.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets how large an answer may be, and what to say to a caller who asked for more ("ask for fewer with `limit`").
    #[must_use]
    pub fn answer_max(mut self, bytes: usize, narrow_hint: impl Into<String>) -> Self {
        self.answer_max_bytes = bytes;
        self.narrow_hint = Some(narrow_hint.into());
        self
    }

    /// Runs the function behind the tool; the tool set has checked the arguments.
    pub(super) fn run(
        &self,
        call: Call,
        arguments: Map<String, Value>,
    ) -> BoxFuture<'static, Result<Reply, ToolError>> {
        (self.run)(call, arguments)
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool")
            .field("name", &self.name)
            .field("annotations", &self.annotations)
            .finish_non_exhaustive()
    }
}

/// Makes a tool from a function over typed arguments and a typed answer; both schemas come from the types, the
/// description from the doc comment of `A`.
pub fn tool<A, R, F, Fut>(
    name: &'static str,
    title: &'static str,
    annotations: Annotations,
    run: F,
) -> Tool
where
    A: DeserializeOwned + JsonSchema + Send + 'static,
    R: Answer,
    F: Fn(Call, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, ToolError>> + Send + 'static,
{
    let mut input_schema = schema::input::<A>();
    let output_schema = schema::output::<R>();
    let description = match input_schema.as_object_mut().and_then(|root| root.remove("description"))
    {
        Some(Value::String(description)) => description,
        _ => String::new(),
    };
    let answer_schema = output_schema.clone();
    let run = Arc::new(run);
    let erased = move |call: Call,
                       arguments: Map<String, Value>|
          -> BoxFuture<'static, Result<Reply, ToolError>> {
        let arguments = serde_json::from_value::<A>(Value::Object(arguments)).map_err(|error| {
            ToolError::new(
                "invalid_arguments",
                format!("the arguments of `{name}` do not fit: {error}"),
            )
        });
        let run = Arc::clone(&run);
        let answer_schema = answer_schema.clone();
        Box::pin(async move {
            let answer = run(call, arguments?).await?;
            reply(name, &answer_schema, &answer)
        })
    };
    Tool {
        name,
        title,
        description,
        input_schema,
        output_schema,
        annotations,
        scope: if annotations.read_only { Scope::Read } else { Scope::Write },
        groups: Vec::new(),
        deadline: None,
        answer_max_bytes: ANSWER_MAX_BYTES,
        narrow_hint: None,
        run: Arc::new(erased),
    }
}

fn reply<R: Answer>(name: &str, schema: &Value, answer: &R) -> Result<Reply, ToolError> {
    let mut value = serde_json::to_value(answer)
        .map_err(|error| ToolError::internal(format!("write the answer of `{name}`"), error))?;
    schema::drop_absent(schema, &mut value);
    match value {
        Value::Object(structured) => Ok(Reply { structured, text: answer.text() }),
        other => Err(ToolError::internal(
            format!("write the answer of `{name}`"),
            format!("an answer must be an object, found {other}"),
        )),
    }
}
