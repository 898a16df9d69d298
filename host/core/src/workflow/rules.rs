//! Every rule that a definition must satisfy. All violations are returned at once, each with the place it stands at.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use serde_json::Value;

use super::map::NAMES_TAKEN;
use super::template::{check_condition, check_templates, is_identifier};
use super::{
    Action, Graph, MAP_AT_ONCE_MAX, MAP_ITEMS_MAX, OnReviewTimeout, Step, WorkflowDefinition,
};
use crate::id::WorkflowId;
use crate::near::did_you_mean;
use crate::plugin::Phase;
use crate::task::{HTTP_METHODS, HttpSpec};

/// How large a definition may be.
#[derive(Debug, Clone, Copy)]
pub struct RuleLimits {
    /// Steps (default 10,000).
    pub steps_max: usize,
    /// Probes of one step (default 64).
    pub probes_max: usize,
    /// Machines named by one step (default 10,000).
    pub machines_max: usize,
    /// Bytes of a name or description (default 64 KiB).
    pub text_bytes_max: usize,
    /// Seconds that one run may take (default 7 days).
    pub timeout_s_max: u64,
    /// Seconds that a step may wait, for a place or for somebody, and take in all (default 366 days).
    pub wait_s_max: u64,
}

impl Default for RuleLimits {
    fn default() -> Self {
        RuleLimits {
            steps_max: 10_000,
            probes_max: 64,
            machines_max: 10_000,
            text_bytes_max: 64 * 1024,
            timeout_s_max: 7 * 24 * 3600,
            wait_s_max: 366 * 24 * 3600,
        }
    }
}

/// A validator that a definition may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownValidator {
    /// Its name.
    pub name: String,
    /// When it can judge.
    pub phases: Vec<Phase>,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Stable code, such as `cycle`.
    pub code: &'static str,
    /// JSON pointer into the definition.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.pointer, self.message)
    }
}

/// Collects violations.
struct Report(Vec<Violation>);

impl Report {
    fn add(&mut self, code: &'static str, pointer: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation { code, pointer: pointer.into(), message: message.into() });
    }
}

/// Checks a definition against every rule and returns what it breaks, in the order of its steps.
pub fn check_definition(
    definition: &WorkflowDefinition,
    validators: &[KnownValidator],
    limits: RuleLimits,
) -> Vec<Violation> {
    let mut report = Report(Vec::new());
    let steps = &definition.steps;
    for (pointer, text) in [
        ("/name", &definition.name),
        ("/description", &definition.description),
        ("/pattern", &definition.pattern),
        ("/created_by", &definition.created_by),
    ] {
        if text.len() > limits.text_bytes_max {
            report.add(
                "too_long",
                pointer,
                format!("has {} bytes; at most {} are allowed", text.len(), limits.text_bytes_max),
            );
        }
    }
    if let Some(schema) = &definition.parameters_schema
        && !schema.is_object()
    {
        report.add("parameters_schema", "/parameters_schema", "a JSON Schema must be an object");
    }
    if steps.len() > limits.steps_max {
        report.add(
            "too_many_steps",
            "/steps",
            format!(
                "has {} steps; at most {} are allowed: split it into several workflows",
                steps.len(),
                limits.steps_max
            ),
        );
    }
    check_ids(steps, &mut report);
    for (index, step) in steps.iter().enumerate() {
        check_step(index, step, validators, limits, &mut report);
    }
    check_graph(steps, &mut report);
    report.0
}

fn check_ids(steps: &[Step], report: &mut Report) {
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (index, step) in steps.iter().enumerate() {
        if let Some(earlier) = first.get(step.id.as_str()) {
            report.add(
                "duplicate_step",
                format!("/steps/{index}/id"),
                format!("`{}` is the id of step {earlier} already; ids are unique", step.id),
            );
        } else {
            first.insert(step.id.as_str(), index);
        }
    }
    for (index, step) in steps.iter().enumerate() {
        let mut named = BTreeSet::new();
        for (place, dependency) in step.dependencies.iter().enumerate() {
            let pointer = format!("/steps/{index}/dependencies/{place}");
            if *dependency == step.id {
                report.add(
                    "self_dependency",
                    pointer,
                    format!("step `{}` depends on itself", step.id),
                );
            } else if !first.contains_key(dependency.as_str()) {
                let known = steps.iter().map(|step| step.id.as_str());
                let hint = did_you_mean(dependency.as_str(), known).unwrap_or_default();
                report.add(
                    "unknown_dependency",
                    pointer,
                    format!(
                        "step `{}` depends on `{dependency}`, which does not exist; {hint}",
                        step.id
                    )
                    .trim_end_matches([';', ' '])
                    .to_owned(),
                );
            } else if !named.insert(dependency) {
                report.add(
                    "duplicate_dependency",
                    pointer,
                    format!("step `{}` names `{dependency}` twice", step.id),
                );
            }
        }
    }
}

fn check_graph(steps: &[Step], report: &mut Report) {
    // A step that names itself is reported already; without that arrow the rest can still be judged.
    let mut plain: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        let mut copy = Step::new(step.id.clone(), step.step_type);
        copy.dependencies =
            step.dependencies.iter().filter(|id| **id != step.id).cloned().collect();
        plain.push(copy);
    }
    if let Err(cycle) = Graph::of(&plain).order() {
        let names: Vec<&str> = cycle.iter().rev().map(|step| steps[*step].id.as_str()).collect();
        let shown = if names.len() > 12 {
            format!("{} → … ({} steps)", names[..12].join(" → "), names.len() - 1)
        } else {
            names.join(" → ")
        };
        report.add("cycle", "/steps", format!("the steps wait for each other in a cycle: {shown}"));
    }
}

fn check_step(
    index: usize,
    step: &Step,
    validators: &[KnownValidator],
    limits: RuleLimits,
    report: &mut Report,
) {
    let at = |field: &str| format!("/steps/{index}/{field}");
    for (field, gate) in [("enforcement", &step.enforcement), ("validation", &step.validation)] {
        let Some(name) = gate else { continue };
        match validators.iter().find(|known| known.name == name.as_str()) {
            None => {
                let known = validators.iter().map(|known| known.name.as_str());
                let hint = did_you_mean(name.as_str(), known)
                    .unwrap_or_else(|| "no validator is installed".to_owned());
                report.add(
                    "unknown_validator",
                    at(field),
                    format!(
                        "step `{}` names the validator `{name}`, which is not installed; {hint}",
                        step.id
                    ),
                );
            }
            Some(known) if field == "validation" && !known.phases.contains(&Phase::After) => {
                report.add(
                    "validator_phase",
                    at(field),
                    format!(
                        "`{name}` judges only before the action; use it as the enforcement of step `{}`",
                        step.id
                    ),
                );
            }
            Some(_) => {}
        }
    }
    for (field, gate, parameters) in [
        ("enforcement_parameters", &step.enforcement, &step.enforcement_parameters),
        ("validation_parameters", &step.validation, &step.validation_parameters),
    ] {
        if gate.is_none() && !parameters.is_empty() {
            let gate_name = field.trim_end_matches("_parameters");
            report.add(
                "parameters_without_gate",
                at(field),
                format!("step `{}` has {field} but no {gate_name}", step.id),
            );
        }
    }
    for (field, text) in [("name", &step.name)] {
        if text.len() > limits.text_bytes_max {
            report.add("too_long", at(field), format!("at most {} bytes", limits.text_bytes_max));
        }
    }
    if step.target_machines.len() > limits.machines_max {
        report.add(
            "too_many_machines",
            at("target_machines"),
            format!(
                "names {} machines; at most {}",
                step.target_machines.len(),
                limits.machines_max
            ),
        );
    }
    if step.target_machines.iter().any(String::is_empty) {
        report.add("empty_machine", at("target_machines"), "a machine name is empty");
    }
    if step.probes.len() > limits.probes_max {
        report.add(
            "too_many_probes",
            at("probes"),
            format!("has {} probes; at most {}", step.probes.len(), limits.probes_max),
        );
    }
    let mut probe_names = BTreeSet::new();
    for (place, probe) in step.probes.iter().enumerate() {
        if !probe_names.insert(probe.name.as_str()) {
            report.add(
                "duplicate_probe",
                at(&format!("probes/{place}/name")),
                format!("`{}` is the name of another probe already", probe.name),
            );
        }
    }
    for (field, seconds, max) in [
        ("timeout_s", step.timeout_s, limits.timeout_s_max),
        ("queue_timeout_s", step.queue_timeout_s, limits.wait_s_max),
        ("total_timeout_s", step.total_timeout_s, limits.wait_s_max),
        ("heartbeat_timeout_s", step.heartbeat_timeout_s, limits.timeout_s_max),
    ] {
        if let Some(seconds) = seconds
            && !(1..=max).contains(&seconds)
        {
            report.add(
                "timeout",
                at(field),
                format!("{seconds} is not between 1 and {max} seconds"),
            );
        }
    }
    check_review(index, step, limits, report);
    check_retry(index, step, report);
    check_action(index, step, report);
    check_map(index, step, report);
    if let Some(when) = &step.when
        && let Err(error) = check_condition(when)
    {
        report.add("when", at("when"), error.to_string());
    }
    for (pointer, error) in check_templates(step) {
        report.add("template", at(&pointer), error.to_string());
    }
}

fn check_retry(index: usize, step: &Step, report: &mut Report) {
    let Some(retry) = &step.retry else { return };
    let at = |field: &str| format!("/steps/{index}/retry/{field}");
    if !(1..=100).contains(&retry.attempts) {
        report.add("retry", at("attempts"), format!("{} is not between 1 and 100", retry.attempts));
    }
    if !(1.0..=10.0).contains(&retry.factor) {
        report.add("retry", at("factor"), format!("{} is not between 1 and 10", retry.factor));
    }
    if retry.initial_ms > retry.max_ms {
        report.add(
            "retry",
            at("initial_ms"),
            format!("{} is longer than max_ms, {}", retry.initial_ms, retry.max_ms),
        );
    }
}

fn check_action(index: usize, step: &Step, report: &mut Report) {
    let at = |field: &str| format!("/steps/{index}/action/{field}");
    match &step.action {
        Action::Command(command) => {
            if command.program.trim().is_empty() {
                report.add(
                    "program",
                    at("program"),
                    format!("step `{}` names no program", step.id),
                );
            }
            let texts = command
                .args
                .iter()
                .chain(std::iter::once(&command.program))
                .chain(command.env.iter().flat_map(|(name, value)| [name, value]));
            if texts.into_iter().any(|text| text.contains('\0')) {
                report.add("nul", at("args"), "an argument or variable holds a NUL byte");
            }
            for name in command.env.keys() {
                if name.is_empty() || name.contains('=') {
                    report.add(
                        "env",
                        at("env"),
                        format!("`{}` is not the name of a variable", name.escape_debug()),
                    );
                }
            }
        }
        Action::Http(request) => check_request(index, step, request, report),
        Action::Tool(call) => {
            for (field, value) in [("server", &call.server), ("tool", &call.tool)] {
                if value.trim().is_empty() {
                    report.add(field, at(field), format!("step `{}` names no {field}", step.id));
                }
            }
        }
        Action::Workflow { workflow_id, revision, .. } => {
            let templated = workflow_id.contains("{{") || workflow_id.contains("{%");
            if !templated && let Err(error) = workflow_id.parse::<WorkflowId>() {
                report.add("workflow_id", at("workflow_id"), error.to_string());
            }
            if *revision == Some(0) {
                report.add("revision", at("revision"), "revisions are counted from 1");
            }
        }
        Action::Pattern { target, .. } => {
            if target.trim().is_empty() {
                report.add(
                    "target",
                    at("target"),
                    format!("step `{}` names no component", step.id),
                );
            }
        }
        Action::Manual { .. } => {}
    }
}

fn check_map(index: usize, step: &Step, report: &mut Report) {
    let Some(map) = &step.map else { return };
    let at = |field: &str| format!("/steps/{index}/map{field}");
    if matches!(step.action, Action::Manual { .. }) {
        report.add(
            "map_manual",
            at(""),
            format!(
                "step `{}` is done by hand, and a map needs an action that runs by itself; let it run a child \
                 workflow with that step for each item",
                step.id
            ),
        );
    }
    match &map.over {
        Value::String(expression) if expression.trim().is_empty() => {
            report.add("map_over", at("/over"), "the list has no name; expected one, or a list");
        }
        Value::String(_) => {}
        Value::Array(items) if items.len() > MAP_ITEMS_MAX => report.add(
            "map_over",
            at("/over"),
            format!("has {} items; at most {MAP_ITEMS_MAX} are allowed", items.len()),
        ),
        Value::Array(_) => {}
        _ => report.add(
            "map_over",
            at("/over"),
            "expected a list, or an expression that gives one, such as `{{ parameters.files }}`",
        ),
    }
    let taken = NAMES_TAKEN.contains(&map.name.as_str());
    if map.name.len() > 64 || !is_identifier(&map.name) {
        report.add(
            "map_as",
            at("/as"),
            format!(
                "`{}` cannot name an item; use letters, digits and `_`, at most 64, not beginning with a digit",
                map.name.chars().take(80).collect::<String>().escape_debug()
            ),
        );
    } else if taken {
        let message = format!("templates know `{}` already; choose another name", map.name);
        report.add("map_as", at("/as"), message);
    }
    if !(1..=MAP_AT_ONCE_MAX).contains(&map.max) {
        report.add(
            "map_max",
            at("/max"),
            format!("{} is not between 1 and {MAP_AT_ONCE_MAX}", map.max),
        );
    }
}

fn check_review(index: usize, step: &Step, limits: RuleLimits, report: &mut Report) {
    let Some(review) = &step.review else { return };
    let at = |field: &str| format!("/steps/{index}/review{field}");
    if step.enforcement.is_none() && step.validation.is_none() {
        report.add(
            "review_without_gate",
            at(""),
            format!("step `{}` has no gate that could ask for a review", step.id),
        );
    }
    if let Some(approvals) = review.approvals {
        let reviewers = review.reviewers.len();
        if !(1..=100).contains(&approvals) {
            report.add(
                "approvals",
                at("/approvals"),
                format!("{approvals} is not between 1 and 100"),
            );
        } else if reviewers > 0 && approvals as usize > reviewers {
            report.add(
                "approvals",
                at("/approvals"),
                format!("{approvals} approvals can never come from {reviewers} reviewers"),
            );
        }
    }
    for (field, names) in [("/reviewers", &review.reviewers), ("/escalate_to", &review.escalate_to)]
    {
        if names.len() > 1_000 || names.iter().any(|name| name.trim().is_empty()) {
            report.add("reviewers", at(field), "expected at most 1000 names, none of them empty");
        }
    }
    if let Some(seconds) = review.deadline_s
        && !(1..=limits.wait_s_max).contains(&seconds)
    {
        report.add(
            "timeout",
            at("/deadline_s"),
            format!("{seconds} is not between 1 and {} seconds", limits.wait_s_max),
        );
    }
    if review.deadline_s.is_none()
        && (review.on_timeout != OnReviewTimeout::default() || !review.escalate_to.is_empty())
    {
        report.add(
            "deadline",
            at("/deadline_s"),
            "`on_timeout` and `escalate_to` mean nothing without a deadline",
        );
    }
}

fn check_request(index: usize, step: &Step, request: &HttpSpec, report: &mut Report) {
    let at = |field: &str| format!("/steps/{index}/action/{field}");
    if !request.method.is_empty() && !HTTP_METHODS.contains(&request.method.as_str()) {
        report.add(
            "method",
            at("method"),
            format!(
                "`{}` is no method; known: {}",
                request.method.escape_debug(),
                HTTP_METHODS.join(", ")
            ),
        );
    }
    let url = request.url.trim();
    let templated = url.contains("{{") || url.contains("{%");
    if url.is_empty() {
        report.add("url", at("url"), format!("step `{}` names no URL", step.id));
    } else if !templated && !["http://", "https://"].iter().any(|scheme| starts_with(url, scheme)) {
        report.add(
            "url",
            at("url"),
            format!("`{}` is no URL for this; expected http:// or https://", url.escape_debug()),
        );
    }
    for code in &request.expect.status {
        if !(100..600).contains(code) {
            report.add(
                "status",
                at("expect/status"),
                format!("{code} is no status code; they lie between 100 and 599"),
            );
        }
    }
    if request.expect.contains.as_ref().is_some_and(String::is_empty) {
        report.add("contains", at("expect/contains"), "an empty text is part of every body");
    }
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
