//! What callers ask of the engine, and what it answers where the core has no word for it yet. Plain data.
//!
//! What may be asked under an idempotency key is serialised to tell one request from another: a field that is added
//! leaves its default out, so that keys used before still find their answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use caelum_components::{DriftState, FileDrift};
use caelum_core::clock::Timestamp;
use caelum_core::evidence::{ReviewDecision, WorkReport};
use caelum_core::finding::Finding;
use caelum_core::id::{ApplicationId, Digest, ExecutionId, PlanId, StepId};
use caelum_core::pattern::{Applicability, ApplicationStatus, NextStep};
use caelum_core::plugin::{Description, PinnedPlugin, PluginKind};
use caelum_core::task::{CommandSpec, GroupTally, Strategy};
use caelum_core::workflow::{DefinitionStatus, Execution, ExecutionStatus, RetryPolicy, Step};
use serde::Serialize;
use serde_json::{Map, Value};

/// What to do when a workflow of that name exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IfExists {
    /// Refuse.
    #[default]
    Error,
    /// Make the next revision of it.
    NewRevision,
}

/// A workflow to create.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NewWorkflow {
    /// Its name.
    pub workflow_id: String,
    /// A few words; the id when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for.
    pub description: String,
    /// The pattern of the ecosystem that it follows.
    pub pattern: String,
    /// Its steps.
    pub steps: Vec<Step>,
    /// Who makes it.
    pub created_by: String,
    /// Draft or active.
    pub status: DefinitionStatus,
    /// JSON Schema of its parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters_schema: Option<Value>,
    /// Anything else.
    pub metadata: Map<String, Value>,
    /// What to do when it exists.
    pub if_exists: IfExists,
    /// Same key, same answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// A workflow that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedWorkflow {
    /// Its name.
    pub workflow_id: String,
    /// Its revision.
    pub revision: u32,
    /// What is legal and still looks like a mistake.
    pub warnings: Vec<String>,
}

/// A change of a workflow: what is given is changed, everything else stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct WorkflowChange {
    /// Its name.
    pub workflow_id: String,
    /// The revision that the caller knows; another newest one refuses the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u32>,
    /// A few words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The pattern of the ecosystem that it follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Its steps, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Step>>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<DefinitionStatus>,
    /// JSON Schema of its parameters; `Some(None)` takes it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters_schema: Option<Option<Value>>,
    /// Anything else, all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// Who changes it.
    pub by: String,
    /// Same key, same answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// A workflow that was changed, or was so already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedWorkflow {
    /// Its name.
    pub workflow_id: String,
    /// Its newest revision.
    pub revision: u32,
    /// Where it stands.
    pub status: DefinitionStatus,
    /// The fields that are different now; none when everything was so already, and then no revision was made.
    pub changed: Vec<String>,
    /// What is legal and still looks like a mistake.
    pub warnings: Vec<String>,
}

/// A workflow that was put into the archive, or taken out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedWorkflow {
    /// Its name.
    pub workflow_id: String,
    /// Its newest revision.
    pub revision: u32,
    /// Where it stands now.
    pub status: DefinitionStatus,
    /// Whether it stood elsewhere before.
    pub changed: bool,
    /// Whether executions of it have not ended: they go on.
    pub open_executions: bool,
}

/// Which workflows a list shows. Everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkflowFilter {
    /// Where the newest revision stands.
    pub status: Option<DefinitionStatus>,
    /// Where the last execution stands.
    pub last_execution: Option<ExecutionStatus>,
    /// The pattern that it follows.
    pub pattern: Option<String>,
}

/// A part of a list: how many, and from where on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// How many at most; the caller has checked the range.
    pub limit: usize,
    /// The cursor of the page before, as it was given.
    pub cursor: Option<String>,
}

/// A run to start.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NewExecution {
    /// The workflow.
    pub workflow_id: String,
    /// The revision; the newest when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    /// Parameters for its templates.
    pub parameters: Map<String, Value>,
    /// Machines for steps that name none.
    pub target_machines: Vec<String>,
    /// Who starts it.
    pub by: String,
    /// Same key, same answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq)]
pub struct DryRun {
    /// The workflow.
    pub workflow_id: String,
    /// The revision.
    pub revision: u32,
    /// The steps in the order in which they could begin.
    pub steps: Vec<DryStep>,
    /// What would go wrong.
    pub problems: Vec<String>,
}

/// What one step would do.
#[derive(Debug, Clone, PartialEq)]
pub struct DryStep {
    /// The step.
    pub id: String,
    /// What kind of action.
    pub action: &'static str,
    /// Which wave it belongs to: 0 begins at once.
    pub wave: usize,
    /// The machines.
    pub machines: Vec<String>,
    /// Its gates as `enforcement:name (before)`.
    pub gates: Vec<String>,
}

/// An execution at one moment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The execution.
    pub execution: Arc<Execution>,
    /// When the snapshot was taken.
    pub at: Timestamp,
}

/// A step's work, reported by whoever did it.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// The execution.
    pub execution_id: String,
    /// The step.
    pub step_id: String,
    /// The report.
    pub report: WorkReport,
    /// For a step whose outcome is unknown: what became of it (`Some(None)`: run it again).
    pub decision: Option<Option<bool>>,
}

/// A review of a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepReview {
    /// The execution.
    pub execution_id: String,
    /// The step.
    pub step_id: String,
    /// Who.
    pub reviewer: String,
    /// What they decided.
    pub decision: ReviewDecision,
    /// Why.
    pub reason: String,
}

/// A plugin as it is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginInfo {
    /// Name, kind, version, digest.
    pub pinned: PinnedPlugin,
    /// What it says about itself.
    pub description: Arc<Description>,
    /// `bundled`, or the file.
    pub source: String,
}

/// A plugin file that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedPlugin {
    /// The file.
    pub source: String,
    /// At which stage of loading.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// What would help.
    pub hint: Option<String>,
    /// SHA-256 of the file, where it could be read.
    pub digest: Option<Digest>,
}

/// All plugins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PluginList {
    /// Those that serve.
    pub plugins: Vec<PluginInfo>,
    /// Those that were refused.
    pub refused: Vec<RefusedPlugin>,
}

impl PluginList {
    /// Returns the plugins of a kind.
    pub fn of(&self, kind: PluginKind) -> impl Iterator<Item = &PluginInfo> {
        self.plugins.iter().filter(move |plugin| plugin.pinned.kind == kind)
    }
}

/// A pattern to apply.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NewApplication {
    /// The pattern.
    pub pattern_name: String,
    /// A registered component or a path.
    pub target_component: String,
    /// The pattern's parameters.
    pub parameters: Map<String, Value>,
    /// Only plan, and keep the plan.
    pub dry_run: bool,
    /// Apply exactly this plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<String>,
    /// Apply edits that somebody should look at too.
    pub allow_review_edits: bool,
    /// Only these rules.
    pub rules: Vec<String>,
    /// Who applies it.
    pub by: String,
    /// Same key, same answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The execution, step and attempt that apply it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<(ExecutionId, StepId, u32)>,
}

/// A recorded use of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Application {
    /// Its name.
    pub application_id: ApplicationId,
    /// After a dry run the plan that may be applied by its id; for an application by plan the one that it applied.
    pub plan_id: Option<PlanId>,
    /// The pattern, as it was.
    pub pattern: PinnedPlugin,
    /// What the caller called the component.
    pub target_component: String,
    /// Its directory.
    pub directory: PathBuf,
    /// How it ended.
    pub status: ApplicationStatus,
    /// When.
    pub applied_at: Timestamp,
    /// Who.
    pub by: String,
    /// The parameters.
    pub parameters: Map<String, Value>,
    /// One line.
    pub summary: String,
    /// Unified diff of everything that was, or would be, changed.
    pub diff: String,
    /// Paths that were, or would be, changed.
    pub changed_files: Vec<String>,
    /// Edits that were left out because somebody should look at them: rationale by path.
    pub withheld: Vec<(String, String)>,
    /// What was found before.
    pub findings_before: Vec<Finding>,
    /// What is found after.
    pub findings_after: Vec<Finding>,
    /// What else to do.
    pub next_steps: Vec<NextStep>,
    /// Why it was blocked or in conflict.
    pub problems: Vec<String>,
    /// The execution, step and attempt that applied it.
    pub execution: Option<(ExecutionId, StepId, u32)>,
}

/// Which applications a list shows. Everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplicationQuery {
    /// Uses of this pattern.
    pub pattern: Option<String>,
    /// Uses on this component, as it was called.
    pub component: Option<String>,
    /// How they ended.
    pub status: Option<ApplicationStatus>,
    /// How the component stands to them now, in the words of [`DriftState::as_str`].
    pub drift: Option<&'static str>,
}

/// An application as it is listed, with how its component stands to it now.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedApplication {
    /// The application.
    pub application: Application,
    /// How the component stands to it; nothing when it is not what the component shows (it was not applied, was taken
    /// back, or a later one took its place), or when that cannot be told.
    pub drift: Option<ApplicationDrift>,
    /// Whether a later application of the same pattern took its place.
    pub superseded: bool,
    /// Why the drift cannot be told.
    pub problem: Option<String>,
}

/// How a component stands to an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationDrift {
    /// The worst that holds.
    pub state: DriftState,
    /// The version that is installed now, where it is another one.
    pub installed: Option<String>,
    /// Files that are not as they were applied.
    pub files: Vec<FileDrift>,
}

/// What a pattern thinks of a component, and what applying it would change.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternValidation {
    /// The pattern.
    pub pattern: PinnedPlugin,
    /// What the caller called the component.
    pub target_component: String,
    /// Whether it can be applied.
    pub can_apply: bool,
    /// Whether there is anything to do.
    pub applicability: Applicability,
    /// What keeps it from being applied.
    pub blocking_issues: Vec<String>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Rules that hold.
    pub passed_rules: Vec<String>,
    /// Rules that do not concern it.
    pub not_applicable_rules: Vec<String>,
    /// Weighted share of rules that hold, 0 to 100; nothing when no rule concerns it. Blocking rules weigh 3,
    /// warnings 1, advice 0 (PATTERNS B3).
    pub score: Option<f64>,
    /// How many edits a plan has, and how many of them somebody should look at.
    pub edits: (usize, usize),
    /// Files that would change.
    pub changed_files: Vec<String>,
}

/// What came of taking an application back.
#[derive(Debug, Clone, PartialEq)]
pub struct Reverted {
    /// The application.
    pub application: Application,
    /// Files that were restored.
    pub restored: Vec<String>,
}

/// A task for many machines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewTask {
    /// A few words.
    pub name: String,
    /// What to run.
    pub command: CommandSpec,
    /// Where.
    pub target_machines: Vec<String>,
    /// In which order and how wide.
    pub strategy: Strategy,
    /// How long one run may take, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// When a failure is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Whether it may run again when a crash left its outcome unknown.
    pub idempotent: bool,
    /// Who asks.
    pub by: String,
    /// Same key, same answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// The results of a task group.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// The group as it stands.
    pub snapshot: Snapshot,
    /// Its results, folded.
    pub tally: GroupTally,
}

/// How long a call may wait for something to change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patience {
    /// How long at most; zero answers at once.
    pub wait: Duration,
    /// Answer as soon as there are more events than this; nothing means: than there are now.
    pub after_event: Option<u64>,
}

/// The name that workflows of task groups begin with; no definition may.
pub const TASK_GROUP_PREFIX: &str = "task-group.";

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; nothing at the end.
    pub next_cursor: Option<String>,
}

/// A definition as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowSummary {
    /// Its name.
    pub workflow_id: String,
    /// Its newest revision.
    pub revision: u32,
    /// A few words.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The pattern of the ecosystem that it follows.
    pub pattern: String,
    /// Whether it can be executed.
    pub status: DefinitionStatus,
    /// How many steps it has.
    pub steps: usize,
    /// When its first revision was made.
    pub created_at: Timestamp,
    /// When this revision was made.
    pub updated_at: Timestamp,
    /// Who made this revision.
    pub created_by: String,
    /// Its last execution that is still kept: name, where it stands, when it was started.
    pub last_execution: Option<(String, ExecutionStatus, Timestamp)>,
}

/// An execution as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionSummary {
    /// Its name.
    pub execution_id: String,
    /// The workflow.
    pub workflow_id: String,
    /// The revision.
    pub revision: u32,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Steps that have ended.
    pub done: usize,
    /// Steps in all.
    pub total: usize,
}
