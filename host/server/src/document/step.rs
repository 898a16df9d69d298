//! One step of a workflow document.

use caelum_core::task::{FailureClass, Strategy};
use caelum_core::workflow::{Action, OnFailure, OnValidatorError, RetryPolicy, Step, StepType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    ActionDocument, Faults, MapDocument, ProbeDocument, ReviewDocument, StrategyDocument, filled,
};

/// What a step is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepTypeWord {
    /// Something is built or changed.
    Development,
    /// Something is put together with something else.
    Integration,
    /// Something is tried.
    Validation,
    /// Something is brought to where it runs.
    Deployment,
}

/// What a failed step means for the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailureWord {
    /// Nothing new begins; the execution fails.
    Stop,
    /// Dependents run as if it had completed.
    Continue,
    /// Dependents are skipped, everything else goes on; the execution fails at its end.
    SkipDependents,
}

/// What a validator's own breakdown means for its gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnValidatorErrorWord {
    /// The gate stays closed.
    Block,
    /// The gate opens, with a warning on record.
    Warn,
}

/// The classes of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureWord {
    /// May go away by itself: a timeout, a machine that could not be reached.
    Transient,
    /// The program ended with a failing exit code or signal.
    Exit,
    /// A gate said no.
    Gate,
    /// Will be the same the next time.
    Permanent,
}

/// When and how often a failed attempt is repeated.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"attempts": 2, "initial_ms": 1000, "on": ["exit", "gate"]}))]
pub struct RetryDocument {
    /// Attempts in all, the first included; 3 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub attempts: Option<u32>,
    /// The pause before the second attempt, in milliseconds; 1,000 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_ms: Option<u64>,
    /// By how much each pause is longer than the one before it; 2 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0, max = 10.0))]
    pub factor: Option<f64>,
    /// The longest pause, in milliseconds; 60,000 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<u64>,
    /// Whether each pause is drawn between zero and its length; true when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<bool>,
    /// Which failures are repeated; only transient ones when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Vec<FailureWord>>,
}

/// One step of a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"id": "test", "type": "validation", "dependencies": ["build"], "validation": "unit-tests", "action": {"kind": "command", "program": "make", "args": ["test"]}}))]
pub struct StepDocument {
    /// Its id, unique in the workflow: letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// A few words for people; the id when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the step is for.
    #[serde(rename = "type")]
    pub step_type: StepTypeWord,
    /// The validator that enforces how the work is done, such as `code-review` or `startup-validation`; no gate when
    /// left out. `list_patterns` with `kind: validator` lists them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<String>,
    /// Parameters for that validator.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub enforcement_parameters: Map<String, Value>,
    /// The validator that judges what the work left, such as `unit-tests`, `integration-tests` or `manual-review`; no
    /// gate when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<String>,
    /// Parameters for that validator.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub validation_parameters: Map<String, Value>,
    /// Ids of the steps that must have completed before this one begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<String>,
    /// Machines it runs on: names, `local`, `any`, `all` or `label:key=value`. The execution's machines when left out,
    /// or this machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_machines: Vec<String>,
    /// How long it should take, in minutes; only for forecasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 525_600))]
    pub estimated_duration: Option<u32>,
    /// Values that templates of this step see as `step.parameters`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// What the step does. When left out somebody does the work and calls `complete_step`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionDocument>,
    /// A list: the action is performed once for each of its items, and `{{ item }}` is the item in its templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<MapDocument>,
    /// Facts that are fetched for the gates just before they judge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<ProbeDocument>,
    /// A condition such as `parameters.deploy`; when it is false the step is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// When a failed attempt is repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryDocument>,
    /// How long one run on one machine may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub timeout_s: Option<u64>,
    /// How long its work may wait for a place on a machine, in seconds; for ever when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_622_400))]
    pub queue_timeout_s: Option<u64>,
    /// How long the whole step may take, in seconds: all attempts, pauses, gates and waits for somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_622_400))]
    pub total_timeout_s: Option<u64>,
    /// How long its work may be silent on machines whose work heartbeats, in seconds; this machine's does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub heartbeat_timeout_s: Option<u64>,
    /// Who reviews its gates, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewDocument>,
    /// How it spreads over its machines: `parallel` when left out, or `sequential`, or an object with details.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<StrategyDocument>,
    /// What its failure means for the rest; `stop` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailureWord>,
    /// What a validator's own breakdown (timeout, trap) means; `block` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_validator_error: Option<OnValidatorErrorWord>,
    /// Whether it may simply run again when a crash left its outcome unknown; true when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
}

impl StepDocument {
    /// Returns the document of a stored step; what has its default is left out.
    pub fn of(step: &Step) -> Self {
        let is_default_action = step.action == Action::default();
        Self {
            id: step.id.to_string(),
            name: (step.name != step.id.as_str()).then(|| step.name.clone()),
            step_type: match step.step_type {
                StepType::Development => StepTypeWord::Development,
                StepType::Integration => StepTypeWord::Integration,
                StepType::Validation => StepTypeWord::Validation,
                StepType::Deployment => StepTypeWord::Deployment,
            },
            enforcement: step.enforcement.as_ref().map(ToString::to_string),
            enforcement_parameters: step.enforcement_parameters.clone(),
            validation: step.validation.as_ref().map(ToString::to_string),
            validation_parameters: step.validation_parameters.clone(),
            dependencies: step.dependencies.iter().map(ToString::to_string).collect(),
            target_machines: step.target_machines.clone(),
            estimated_duration: step.estimated_duration,
            parameters: step.parameters.clone(),
            action: (!is_default_action).then(|| ActionDocument::of(&step.action)),
            map: step.map.as_ref().map(MapDocument::of),
            probes: step.probes.iter().map(ProbeDocument::of).collect(),
            when: step.when.clone(),
            retry: step.retry.as_ref().map(RetryDocument::of),
            timeout_s: step.timeout_s,
            queue_timeout_s: step.queue_timeout_s,
            total_timeout_s: step.total_timeout_s,
            heartbeat_timeout_s: step.heartbeat_timeout_s,
            review: step.review.as_ref().map(ReviewDocument::of),
            strategy: (step.strategy != Strategy::default())
                .then(|| StrategyDocument::of(&step.strategy)),
            on_failure: match step.on_failure {
                OnFailure::Stop => None,
                OnFailure::Continue => Some(OnFailureWord::Continue),
                OnFailure::SkipDependents => Some(OnFailureWord::SkipDependents),
            },
            on_validator_error: match step.on_validator_error {
                OnValidatorError::Block => None,
                OnValidatorError::Warn => Some(OnValidatorErrorWord::Warn),
            },
            idempotent: (!step.idempotent).then_some(false),
        }
    }

    pub(super) fn to_step(&self, at: &str, faults: &mut Faults) -> Option<Step> {
        let id = faults.id(format_args!("{at}/id"), &self.id);
        let enforcement = self.gate(at, "enforcement", self.enforcement.as_ref(), faults);
        let validation = self.gate(at, "validation", self.validation.as_ref(), faults);
        let mut dependencies = Vec::with_capacity(self.dependencies.len());
        for (index, dependency) in self.dependencies.iter().enumerate() {
            dependencies.extend(faults.id(format_args!("{at}/dependencies/{index}"), dependency));
        }
        let action = match &self.action {
            None => Some(Action::default()),
            Some(action) => action.to_action(&format!("{at}/action"), faults),
        };
        let probes: Vec<_> = self
            .probes
            .iter()
            .enumerate()
            .filter_map(|(index, probe)| probe.to_probe(&format!("{at}/probes/{index}"), faults))
            .collect();
        let strategy = match &self.strategy {
            None => Strategy::default(),
            Some(strategy) => strategy.to_strategy(&format!("{at}/strategy"), faults),
        };
        let id: caelum_core::id::StepId = id?;
        Some(Step {
            name: filled(self.name.as_ref()).unwrap_or(id.as_str()).to_owned(),
            id,
            step_type: match self.step_type {
                StepTypeWord::Development => StepType::Development,
                StepTypeWord::Integration => StepType::Integration,
                StepTypeWord::Validation => StepType::Validation,
                StepTypeWord::Deployment => StepType::Deployment,
            },
            enforcement,
            enforcement_parameters: self.enforcement_parameters.clone(),
            validation,
            validation_parameters: self.validation_parameters.clone(),
            dependencies,
            target_machines: self.target_machines.clone(),
            estimated_duration: self.estimated_duration,
            parameters: self.parameters.clone(),
            action: action?,
            map: self.map.as_ref().map(MapDocument::to_map),
            probes,
            when: filled(self.when.as_ref()).map(str::to_owned),
            retry: self.retry.as_ref().map(RetryDocument::to_policy),
            timeout_s: self.timeout_s,
            queue_timeout_s: self.queue_timeout_s,
            total_timeout_s: self.total_timeout_s,
            heartbeat_timeout_s: self.heartbeat_timeout_s,
            review: self.review.as_ref().map(ReviewDocument::to_rules),
            strategy,
            on_failure: match self.on_failure {
                None | Some(OnFailureWord::Stop) => OnFailure::Stop,
                Some(OnFailureWord::Continue) => OnFailure::Continue,
                Some(OnFailureWord::SkipDependents) => OnFailure::SkipDependents,
            },
            on_validator_error: match self.on_validator_error {
                None | Some(OnValidatorErrorWord::Block) => OnValidatorError::Block,
                Some(OnValidatorErrorWord::Warn) => OnValidatorError::Warn,
            },
            idempotent: self.idempotent.unwrap_or(true),
        })
    }

    fn gate<T>(
        &self,
        at: &str,
        field: &str,
        name: Option<&String>,
        faults: &mut Faults,
    ) -> Option<T>
    where
        T: std::str::FromStr<Err = caelum_core::id::IdError>,
    {
        faults.id(format_args!("{at}/{field}"), filled(name)?)
    }
}

impl RetryDocument {
    fn of(policy: &RetryPolicy) -> Self {
        Self {
            attempts: Some(policy.attempts),
            initial_ms: Some(policy.initial_ms),
            factor: Some(policy.factor),
            max_ms: Some(policy.max_ms),
            jitter: Some(policy.jitter),
            on: Some(policy.on.iter().map(|class| FailureWord::of(*class)).collect()),
        }
    }

    /// Turns it into the model's policy; what is left out has its default.
    pub fn to_policy(&self) -> RetryPolicy {
        let default = RetryPolicy::default();
        RetryPolicy {
            attempts: self.attempts.unwrap_or(default.attempts),
            initial_ms: self.initial_ms.unwrap_or(default.initial_ms),
            factor: self.factor.unwrap_or(default.factor),
            max_ms: self
                .max_ms
                // A long first pause alone means that none is longer.
                .unwrap_or_else(|| default.max_ms.max(self.initial_ms.unwrap_or(0))),
            jitter: self.jitter.unwrap_or(default.jitter),
            on: match &self.on {
                None => default.on,
                Some(words) => words.iter().map(|word| word.class()).collect(),
            },
        }
    }
}

impl FailureWord {
    fn of(class: FailureClass) -> Self {
        match class {
            FailureClass::Transient => Self::Transient,
            FailureClass::Exit => Self::Exit,
            FailureClass::Gate => Self::Gate,
            FailureClass::Permanent => Self::Permanent,
        }
    }

    fn class(self) -> FailureClass {
        match self {
            Self::Transient => FailureClass::Transient,
            Self::Exit => FailureClass::Exit,
            Self::Gate => FailureClass::Gate,
            Self::Permanent => FailureClass::Permanent,
        }
    }
}
