//! The set of tools one server offers, and the one road every call takes: find the tool, check the scope, check the
//! arguments, take a place, run, bound the answer. It is generic over its tools and knows no transport. Where there is an
//! engine behind the tools, it is named here too, for what is offered beside them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::task::Strategy;
use caelum_engine::Engine;
use caelum_engine::request::Patience;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arguments::Arguments;
use super::error::{ToolError, did_you_mean};
use super::groups::{Group, Groups};
use super::progress::Progress;
use super::resources;
use super::schema::objections;
use super::session::{Origin, Session, Transport};
use super::subscriptions::{Notices, Sources};
use super::tool::{Call, Client, Reply, Tool};
use crate::audit::{Audit, Denial};
use crate::rates::{self, Rates, TooMany};
use crate::trust::{Caller, Scope};

/// The limits of a tool set.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many calls may run at once, over all sessions; 512. One more is told at once that the server is busy.
    pub calls_max: usize,
    /// How many calls may run at once in one session; 64. A client that pipelines more has lost its place.
    pub calls_per_session_max: usize,
    /// How long a call may take unless its tool says otherwise; 120 s. Clients give up after 60 s as a rule, so only a
    /// tool that broke meets it.
    pub call_deadline: Duration,
    /// How many requests a client may send in a minute.
    pub rates: rates::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 512,
            calls_per_session_max: 64,
            call_deadline: Duration::from_secs(120),
            rates: rates::Limits::default(),
        }
    }
}

/// A tool set that cannot be built; each is a mistake of the program and found by its first test.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolsetError {
    /// Two tools have one name.
    #[error("two tools are called `{name}`")]
    Duplicate {
        /// The name.
        name: &'static str,
    },
    /// A schema that is none.
    #[error("the input schema of tool `{name}` is no JSON schema: {reason}")]
    Schema {
        /// The tool.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// A call to a tool that does not exist or that this server does not offer: a protocol error, not a tool's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown tool `{name}`{near}")]
pub struct UnknownTool {
    /// What was called.
    pub name: String,
    /// "; did you mean `x`?" or where all of them are told.
    pub near: String,
}

/// One tool with its compiled argument schema.
#[derive(Debug)]
struct Entry {
    tool: Tool,
    arguments: Arguments,
}

/// The tools of one server. Share it in an [`Arc`]; every transport uses the same one.
#[derive(Debug)]
pub struct Toolset {
    // A sorted map, because clients cache by the order of the list.
    entries: BTreeMap<&'static str, Entry>,
    instructions: String,
    read_only: bool,
    groups: Groups,
    limits: Limits,
    rates: Rates,
    audit: Audit,
    places: Arc<Semaphore>,
    running: TaskTracker,
    stop: CancellationToken,
    // What the tools work on; without one there are tools and nothing else.
    engine: Option<Engine>,
    notices: Notices,
    closing: CancellationToken,
}

/// Which tools a call may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Those that clients are offered.
    Offered,
    /// Those of every group: what is asked on behalf of a client, for what it *is* offered.
    Behind,
}

/// What a transport knows about a call.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The session the call belongs to.
    pub session: Session,
    /// Ends when the client cancels or is gone.
    pub cancel: CancellationToken,
    /// Where reports of progress go.
    pub progress: Progress,
    /// Who calls.
    pub caller: Caller,
    /// The client's own word on what it is.
    pub client: Option<Client>,
    /// The protocol version of the request.
    pub protocol_version: String,
    /// The method of the request that the call answers, for the audit log; empty where there is none.
    pub method: &'static str,
    /// The id of that request.
    pub request: Option<String>,
}

impl CallContext {
    /// Returns the context of a call that the command line or a test makes: the local user, a session of its own,
    /// nothing to cancel it.
    pub fn local(toolset: &Toolset) -> Self {
        Self {
            session: toolset.session(Origin::own(Transport::Command)),
            cancel: CancellationToken::new(),
            progress: Progress::silent(),
            caller: Caller::local(),
            client: None,
            protocol_version: String::new(),
            method: "",
            request: None,
        }
    }
}

impl Toolset {
    /// Builds the set; `instructions` is what a model reads about the server as a whole.
    ///
    /// # Errors
    ///
    /// [`ToolsetError`] when two tools share a name or a schema does not compile.
    pub fn new(
        tools: impl IntoIterator<Item = Tool>,
        instructions: impl Into<String>,
        limits: Limits,
    ) -> Result<Self, ToolsetError> {
        let mut entries = BTreeMap::new();
        for tool in tools {
            let name = tool.name;
            let arguments = Arguments::new(tool.input_schema.clone())
                .map_err(|reason| ToolsetError::Schema { name, reason })?;
            if entries.insert(name, Entry { tool, arguments }).is_some() {
                return Err(ToolsetError::Duplicate { name });
            }
        }
        Ok(Self {
            entries,
            instructions: instructions.into(),
            read_only: false,
            groups: Groups::all(),
            rates: Rates::new(limits.rates),
            audit: Audit::off(),
            places: Arc::new(Semaphore::new(limits.calls_max)),
            limits,
            running: TaskTracker::new(),
            stop: CancellationToken::new(),
            engine: None,
            notices: Notices::default(),
            closing: CancellationToken::new(),
        })
    }

    /// Names the engine behind the tools: with one the server offers resources, prompts, completions and tasks too, all
    /// of them over these tools.
    #[must_use]
    pub fn over(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self
    }

    /// Says whether there is an engine behind the tools.
    pub fn has_engine(&self) -> bool {
        self.engine.is_some()
    }

    /// Returns the names of components that patterns can be used on, sorted; none without an engine.
    pub(super) fn component_names(&self) -> Vec<String> {
        self.engine.as_ref().map(Engine::component_names).unwrap_or_default()
    }

    /// Returns where news about lists and resources are sent.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Listens to everything that changes, from now on.
    pub(super) fn sources(&self) -> Sources {
        Sources::new(&self.notices, self.engine.as_ref())
    }

    /// Returns the token that is cancelled as soon as the server begins to stop.
    pub(super) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Says whether only tools that change nothing are offered.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Returns the word for a task group's strategy, and how many of its machines work at once.
    pub(super) async fn strategy_of(&self, group: &str, machines: usize) -> (&'static str, usize) {
        let found = match &self.engine {
            Some(engine) => engine.task(group, Patience::default()).await.ok(),
            None => None,
        };
        let strategy = found.and_then(|(snapshot, _)| {
            snapshot.execution.definition().steps.first().map(|step| step.strategy.clone())
        });
        let strategy = strategy.unwrap_or_default();
        let width = match &strategy {
            Strategy::Parallel { max: Some(max) } => usize::try_from(*max).unwrap_or(1),
            Strategy::Parallel { max: None } => machines,
            Strategy::Sequential { .. } => 1,
        };
        (strategy.as_str(), width.max(1))
    }

    /// Keeps only the tools that change nothing; wins over every scope.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Offers only the tools of these groups, and those of none. What is offered beside the tools follows.
    #[must_use]
    pub fn offering(mut self, groups: Groups) -> Self {
        self.groups = groups;
        self
    }

    /// Returns the groups that are offered.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Writes every call to this log.
    #[must_use]
    pub fn audited(mut self, audit: Audit) -> Self {
        self.audit = audit;
        self
    }

    /// Returns the log of calls.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Returns the text about the server as a whole.
    pub fn instructions(&self) -> &str {
        &self.instructions
    }

    /// Returns the tools a caller of this scope may call, in the order of their names.
    pub fn tools(&self, scope: Scope) -> impl Iterator<Item = &Tool> {
        self.entries
            .values()
            .map(|entry| &entry.tool)
            .filter(move |tool| tool.scope <= scope && self.is_offered(tool))
    }

    /// Returns one tool by name, if this server offers it.
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.entries.get(name).map(|entry| &entry.tool).filter(|tool| self.is_offered(tool))
    }

    /// Returns what in the tools would trip a client or leave a model guessing: schemas that are not portable, missing
    /// descriptions, names that are not snake_case. Empty for a good set; a test holds it to that.
    pub fn objections(&self) -> Vec<String> {
        let mut found = Vec::new();
        for Entry { tool, .. } in self.entries.values() {
            let name = tool.name;
            if !name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            {
                found.push(format!("{name}: the name is not snake_case"));
            }
            if tool.description.is_empty() {
                found.push(format!("{name}: no description"));
            }
            for (which, schema) in [("input", &tool.input_schema), ("output", &tool.output_schema)]
            {
                let objections = objections(schema);
                found.extend(
                    objections
                        .into_iter()
                        .map(|objection| format!("{name}: {which} schema: {objection}")),
                );
            }
        }
        found
    }

    /// Returns the share of a new session that comes from there.
    pub fn session(&self, origin: Origin) -> Session {
        Session::new(self.limits.calls_per_session_max, self.rates.share(), origin)
    }

    /// Counts one request of a client.
    pub(super) fn admit(&self, session: &Session, caller: Caller) -> Result<(), TooMany> {
        self.rates.take(&session.share, caller.principal(), Instant::now()).inspect_err(|early| {
            let reason = early.to_string();
            let denial =
                Denial { code: "rate_limited", reason: &reason, path: None, caller: Some(caller) };
            self.audit.denied(session, denial);
        })
    }

    /// Returns how many calls run now.
    pub fn calls_running(&self) -> usize {
        self.running.len()
    }

    /// Runs one call to its answer, its error, or its deadline.
    ///
    /// The tool runs in a task of its own: dropping this future cancels the call's token and lets the tool come to
    /// its own end, which still counts as running.
    ///
    /// # Errors
    ///
    /// [`UnknownTool`] when there is no such tool; everything else is an inner result, which a client shows to its
    /// model.
    pub async fn call(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        context: CallContext,
    ) -> Result<Result<Reply, ToolError>, UnknownTool> {
        self.call_within(Reach::Offered, name, arguments, context).await
    }

    /// Runs a call on behalf of a client, for something that it is offered: whichever groups the tool is of.
    ///
    /// # Errors
    ///
    /// As [`Toolset::call`].
    pub(super) async fn call_behind(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        context: CallContext,
    ) -> Result<Result<Reply, ToolError>, UnknownTool> {
        self.call_within(Reach::Behind, name, arguments, context).await
    }

    async fn call_within(
        &self,
        reach: Reach,
        name: &str,
        arguments: Map<String, Value>,
        context: CallContext,
    ) -> Result<Result<Reply, ToolError>, UnknownTool> {
        let found = self.entries.get(name).filter(|entry| match reach {
            Reach::Offered => self.is_offered(&entry.tool),
            Reach::Behind => self.is_allowed(&entry.tool),
        });
        let changes = found.is_some_and(|entry| !entry.tool.annotations.read_only);
        let record = self.audit.begin(&context, name, changes, &arguments);
        let Some(entry) = found else {
            record.unknown().await;
            return Err(self.unknown(name));
        };
        let outcome = self.run(entry, arguments, context).await;
        record.finish(&outcome).await;
        match &outcome {
            Ok(reply) if !entry.tool.annotations.read_only => {
                for notice in resources::touched(name, reply) {
                    self.notices.send(notice);
                }
            }
            Ok(_) => {}
            Err(error) => error.log(name),
        }
        Ok(outcome)
    }

    /// Refuses new calls and waits for the running ones: as long as `grace` they are left alone, then their tokens are
    /// cancelled and they get a short last moment. Returns how many were still running at the end.
    pub async fn stop(&self, grace: Duration) -> usize {
        // A call that saw its token needs this long to write its last word.
        const LAST_MOMENT: Duration = Duration::from_millis(500);
        self.closing.cancel();
        self.places.close();
        self.running.close();
        if tokio::time::timeout(grace, self.running.wait()).await.is_err() {
            self.stop.cancel();
            if tokio::time::timeout(LAST_MOMENT, self.running.wait()).await.is_err() {
                tracing::warn!(
                    calls = self.running.len(),
                    "calls did not end when the server stopped"
                );
            }
        }
        self.running.len()
    }

    fn is_offered(&self, tool: &Tool) -> bool {
        let is_of = |group: &Group| self.groups.has(*group);
        self.is_allowed(tool) && (tool.groups.is_empty() || tool.groups.iter().any(is_of))
    }

    fn is_allowed(&self, tool: &Tool) -> bool {
        !self.read_only || tool.annotations.read_only
    }

    fn unknown(&self, name: &str) -> UnknownTool {
        let name: String = name.chars().take(100).collect();
        if let Some(entry) = self.entries.get(name.as_str()) {
            let near = if self.is_allowed(&entry.tool) {
                format!(
                    " in this server: it offers only the toolsets {}",
                    self.groups.names().join(", ")
                )
            } else {
                " in this server: it runs read-only".to_owned()
            };
            return UnknownTool { name, near };
        }
        let names = || {
            self.entries
                .values()
                .filter(|entry| self.is_offered(&entry.tool))
                .map(|entry| entry.tool.name)
        };
        let mut near = did_you_mean(&name, names());
        if near.is_empty() {
            near = format!("; tools/list names the {} there are", names().count());
        }
        UnknownTool { name, near }
    }

    async fn run(
        &self,
        entry: &Entry,
        arguments: Map<String, Value>,
        context: CallContext,
    ) -> Result<Reply, ToolError> {
        let tool = &entry.tool;
        if !context.caller.may(tool.scope) {
            return Err(ToolError::new(
                "forbidden",
                format!(
                    "`{}` needs the scope `{}`, and this caller has `{}`",
                    tool.name, tool.scope, context.caller.scope
                ),
            )
            .hint("use a token of that scope"));
        }
        let places = self.take_places(&context.session)?;
        let arguments = entry.arguments.check(tool.name, arguments)?;
        let time = tool.deadline.unwrap_or(self.limits.call_deadline);
        let cancel = context.cancel.child_token();
        // Whoever drops this future no longer waits for the answer, and the tool is told.
        let gone = cancel.clone().drop_guard();
        let call = Call {
            cancel: cancel.clone(),
            progress: context.progress,
            caller: context.caller,
            client: context.client,
            protocol_version: context.protocol_version,
            deadline: Instant::now() + time,
        };
        let running = tool.run(call, arguments);
        let stop = self.stop.clone();
        let mut task = self.running.spawn(async move {
            let _places = places;
            tokio::pin!(running);
            tokio::select! {
                outcome = &mut running => outcome,
                () = stop.cancelled() => {
                    cancel.cancel();
                    running.await
                }
            }
        });
        let outcome = match tokio::time::timeout(time, &mut task).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(broken)) => Err(panicked(tool.name, broken)),
            Err(_) => {
                tracing::error!(
                    tool = tool.name,
                    seconds = time.as_secs_f64(),
                    "tool call passed its deadline"
                );
                Err(late(tool, time))
            }
        };
        drop(gone);
        outcome.and_then(|reply| bounded(tool, reply))
    }

    fn take_places(
        &self,
        session: &Session,
    ) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), ToolError> {
        let busy = |whose: &str, max: usize| {
            ToolError::new(
                "busy",
                format!("{whose} already runs {max} calls, which is the most it may"),
            )
            .hint("wait for one of them to end, then call again; nothing was done")
        };
        let own = Arc::clone(&session.places)
            .try_acquire_owned()
            .map_err(|_| busy("this session", self.limits.calls_per_session_max))?;
        let shared =
            Arc::clone(&self.places).try_acquire_owned().map_err(|refused| match refused {
                tokio::sync::TryAcquireError::Closed => {
                    ToolError::new("stopping", "the server is stopping and takes no new calls")
                        .hint("call again when it is back; nothing was done")
                }
                tokio::sync::TryAcquireError::NoPermits => {
                    busy("the server", self.limits.calls_max)
                }
            })?;
        Ok((own, shared))
    }
}

fn panicked(name: &str, broken: tokio::task::JoinError) -> ToolError {
    let reason = match broken.try_into_panic() {
        Ok(payload) => payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned()),
        Err(cancelled) => cancelled.to_string(),
    };
    ToolError::internal(format!("run `{name}`: it broke off"), format!("panic: {reason}"))
        .hint("this is a defect of the server; look at what was done before calling again")
}

fn late(tool: &Tool, time: Duration) -> ToolError {
    let error = ToolError::new(
        "deadline",
        format!("`{}` did not answer within {} s", tool.name, time.as_secs_f64()),
    );
    if tool.annotations.read_only {
        error.hint("call again, asking for less or with a shorter wait")
    } else {
        error.hint("the work may still go on; look at its state before calling again")
    }
}

/// Refuses an answer that no client would take. For a tool that changes things the call was carried out all the same,
/// and the text says so.
fn bounded(tool: &Tool, reply: Reply) -> Result<Reply, ToolError> {
    let max = tool.answer_max_bytes;
    let size = reply.text.len().max(json_size(&reply.structured));
    if size <= max {
        return Ok(reply);
    }
    let done = if tool.annotations.read_only { "" } else { "; the call was carried out" };
    let hint = tool
        .narrow_hint
        .clone()
        .unwrap_or_else(|| "ask for less: fewer items, a narrower filter, one page".to_owned());
    Err(ToolError::new(
        "answer_too_large",
        format!(
            "the answer of `{}` has {size} bytes, and at most {max} fit a client{done}",
            tool.name
        ),
    )
    .hint(hint))
}

fn json_size(object: &Map<String, Value>) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, object) {
        Ok(()) => count.0,
        Err(_) => usize::MAX,
    }
}
