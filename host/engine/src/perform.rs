//! Performs one effect and tells the owner how it ended. Never fails: what cannot be done is an outcome.

use std::sync::Arc;

use caelum_core::id::MachineId;
use caelum_core::pattern::ApplicationStatus;
use caelum_core::task::{
    CommandSpec, FailureClass, HttpExpect, HttpSpec, IdempotencyKey, OutcomeStatus, Output,
    TaskFailure, TaskOutcome, TaskSpec, ToolSpec, Work,
};
use caelum_core::workflow::command::Report;
use caelum_core::workflow::{
    Action, Effect, Execution, Scope, TemplateError, render_text, render_texts, render_value,
    target_scope,
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::drive::mail::{Lost, Message};
use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use crate::request::{Application, NewApplication};

/// Performs an effect; nothing comes back when it was withdrawn before it began.
pub(crate) async fn perform(
    inner: Arc<Inner>,
    execution: Arc<Execution>,
    effect: Effect,
    cancel: CancellationToken,
) -> Option<Message> {
    match effect {
        Effect::Run { step, attempt, target, epoch } => {
            let delivery = Delivery::of(&execution, (step, target), epoch);
            let (machine, item) = (delivery.machine.clone(), delivery.item);
            // Nothing comes back when the engine stops: a child execution goes on without anybody to wait for it.
            let outcome = run(&inner, &execution, &delivery, cancel).await?;
            let report = Report {
                step: execution.definition().steps[step].id.clone(),
                attempt,
                machine,
                item,
                epoch,
                outcome: Box::new(outcome),
            };
            Some(Message::Reported(effect, report))
        }
        Effect::Judge { step, attempt, gate, .. } => {
            let record = tokio::select! {
                record = crate::gates::judge(&inner, &execution, step, gate) => record,
                () = cancel.cancelled() => return None,
            };
            Some(Message::Judged {
                effect,
                step: execution.definition().steps[step].id.clone(),
                attempt,
                record: Box::new(record),
            })
        }
        // Stopping is a token that the owner cancels.
        Effect::Stop { .. } => None,
    }
}

/// Tells the owner of an effect that broke down in the middle. What its work did is unknown, as if the machine were
/// lost; a judgement was none.
pub(crate) fn broke_down(execution: &Execution, effect: Effect, panic: String) -> Option<Message> {
    match effect {
        Effect::Run { step, attempt, target, epoch } => {
            let target = execution.step(step).targets.get(target)?;
            let lost = Lost {
                step: execution.definition().steps[step].id.clone(),
                attempt,
                machine: target.machine.clone(),
                item: target.item_index(),
                epoch,
                why: format!("panicked: {panic}"),
            };
            Some(Message::Lost(effect, Box::new(lost)))
        }
        Effect::Judge { step, attempt, gate, .. } => Some(Message::Judged {
            effect,
            step: execution.definition().steps[step].id.clone(),
            attempt,
            record: Box::new(crate::gates::not_judged(execution, step, gate, panic)?),
        }),
        Effect::Stop { .. } => None,
    }
}

/// One delivery of one step's work.
pub(crate) struct Delivery {
    pub(crate) step: usize,
    /// Position of the target.
    pub(crate) target: usize,
    /// Which attempt: the item's own where the step is a map.
    pub(crate) attempt: u32,
    epoch: u32,
    machine: MachineId,
    /// The item, where the step is a map.
    pub(crate) item: Option<u32>,
}

impl Delivery {
    fn of(execution: &Execution, (step, target): (usize, usize), epoch: u32) -> Self {
        let state = execution.step(step);
        let row = &state.targets[target];
        Delivery {
            step,
            target,
            attempt: row.attempt(state.attempt),
            epoch,
            machine: row.machine.clone(),
            item: row.item_index(),
        }
    }

    fn key(&self, execution: &Execution) -> IdempotencyKey {
        IdempotencyKey {
            execution: execution.id().clone(),
            step: execution.definition().steps[self.step].id.clone(),
            machine: self.machine.clone(),
            item: self.item,
        }
    }

    /// Returns what templates of the action see.
    pub(crate) fn scope<'a>(&self, execution: &'a Execution) -> Scope<'a> {
        target_scope(execution, self.step, self.target)
    }
}

async fn run(
    inner: &Arc<Inner>,
    execution: &Execution,
    delivery: &Delivery,
    cancel: CancellationToken,
) -> Option<TaskOutcome> {
    let definition = &execution.definition().steps[delivery.step];
    let key = delivery.key(execution);
    Some(match &definition.action {
        Action::Command(command) => {
            let rendered = match render_command(command, &delivery.scope(execution)) {
                Ok(rendered) => rendered,
                Err(error) => return Some(bad_template(inner, &error)),
            };
            hand_out(inner, execution, delivery, Work::Command(rendered), cancel).await
        }
        Action::Http(request) => match render_request(request, &delivery.scope(execution)) {
            Ok(rendered) => {
                hand_out(inner, execution, delivery, Work::Http(rendered), cancel).await
            }
            Err(error) => bad_template(inner, &error),
        },
        Action::Tool(call) => match render_call(call, &delivery.scope(execution)) {
            Ok(rendered) => {
                hand_out(inner, execution, delivery, Work::Tool(rendered), cancel).await
            }
            Err(error) => bad_template(inner, &error),
        },
        Action::Pattern { pattern, target, parameters, dry_run, allow_review_edits } => {
            let scope = delivery.scope(execution);
            let rendered = render_text(target, &scope).and_then(|target| {
                Ok((target, render_value(&Value::Object(parameters.clone()), &scope)?))
            });
            let (target, parameters) = match rendered {
                Ok((target, Value::Object(parameters))) => (target, parameters),
                Ok((target, _)) => (target, Map::new()),
                Err(error) => return Some(bad_template(inner, &error)),
            };
            let started_at = inner.clock.now();
            let request = NewApplication {
                pattern_name: pattern.to_string(),
                target_component: target,
                parameters,
                dry_run: *dry_run,
                plan_id: None,
                allow_review_edits: *allow_review_edits,
                rules: Vec::new(),
                by: format!("execution {}", execution.id()),
                // A delivery that was lost after it applied must find its own application and not make another; an
                // attempt after a failure is a new application.
                idempotency_key: Some(format!("{key}#{}", delivery.attempt)),
                execution: Some((execution.id().clone(), definition.id.clone(), delivery.attempt)),
            };
            let engine = Engine(Arc::clone(inner));
            let pinned = execution
                .head()
                .plugins
                .iter()
                .find(|plugin| plugin.name == *pattern)
                .map(|plugin| plugin.digest.clone());
            let applied = engine.apply_pinned(request, pinned).await;
            let outcome = match applied {
                Ok(application) => application_outcome(&application),
                Err(error) => application_failure(&error),
            };
            TaskOutcome { started_at, ended_at: inner.clock.now(), ..outcome }
        }
        Action::Workflow { .. } => {
            let engine = Engine(Arc::clone(inner));
            return engine.run_child(execution, delivery, cancel).await;
        }
        // The core starts no target for work that somebody does by hand.
        Action::Manual { .. } => TaskOutcome::not_started(
            inner.clock.now(),
            TaskFailure {
                class: FailureClass::Permanent,
                code: "manual".to_owned(),
                message: "a manual step has no target".to_owned(),
                hint: None,
            },
        ),
    })
}

/// Hands work to its machine and waits for the report.
async fn hand_out(
    inner: &Inner,
    execution: &Execution,
    delivery: &Delivery,
    work: Work,
    cancel: CancellationToken,
) -> TaskOutcome {
    let definition = &execution.definition().steps[delivery.step];
    let run_timeout = inner.run_timeout(execution, delivery.step).await;
    let millis = |seconds: Option<u64>| seconds.map(|seconds| seconds.saturating_mul(1_000));
    let spec = TaskSpec {
        version: 1,
        key: delivery.key(execution),
        epoch: delivery.epoch,
        attempt: delivery.attempt,
        work,
        run_timeout_ms: u64::try_from(run_timeout.as_millis()).unwrap_or(u64::MAX),
        queue_timeout_ms: millis(definition.queue_timeout_s),
        heartbeat_timeout_ms: millis(definition.heartbeat_timeout_s),
        grace_ms: u64::try_from(inner.options.grace.as_millis()).unwrap_or(u64::MAX),
    };
    inner.fabric.run(&delivery.machine, &spec, cancel).await
}

fn render_command(command: &CommandSpec, scope: &Scope<'_>) -> Result<CommandSpec, TemplateError> {
    let plain = serde_json::to_value(command).expect("a command is plain JSON");
    let rendered = render_texts(&plain, scope)?;
    Ok(serde_json::from_value(rendered).expect("rendering keeps strings strings"))
}

/// Renders a request: what has to stay text stays text, and values in JSON keep their types.
fn render_request(request: &HttpSpec, scope: &Scope<'_>) -> Result<HttpSpec, TemplateError> {
    let value = |value: &Option<Value>| match value {
        Some(value) => render_value(value, scope).map(Some),
        None => Ok(None),
    };
    let headers = request
        .headers
        .iter()
        .map(|(name, value)| Ok((name.clone(), render_text(value, scope)?)))
        .collect::<Result<_, TemplateError>>()?;
    let contains = match &request.expect.contains {
        Some(text) => Some(render_text(text, scope)?),
        None => None,
    };
    Ok(HttpSpec {
        method: request.method.clone(),
        url: render_text(&request.url, scope)?,
        headers,
        body: value(&request.body)?,
        expect: HttpExpect {
            status: request.expect.status.clone(),
            contains,
            json: value(&request.expect.json)?,
        },
    })
}

fn render_call(call: &ToolSpec, scope: &Scope<'_>) -> Result<ToolSpec, TemplateError> {
    let arguments = render_value(&Value::Object(call.arguments.clone()), scope)?;
    Ok(ToolSpec {
        server: render_text(&call.server, scope)?,
        tool: render_text(&call.tool, scope)?,
        arguments: arguments.as_object().cloned().unwrap_or_default(),
    })
}

pub(crate) fn bad_template(inner: &Inner, error: &TemplateError) -> TaskOutcome {
    TaskOutcome::not_started(
        inner.clock.now(),
        TaskFailure {
            class: FailureClass::Permanent,
            code: "template".to_owned(),
            message: error.to_string(),
            hint: Some(
                "templates see `parameters`, `steps.<id>.outputs` and `step`, and in a map the item"
                    .to_owned(),
            ),
        },
    )
}

fn application_outcome(application: &Application) -> TaskOutcome {
    let good = matches!(
        application.status,
        ApplicationStatus::Applied | ApplicationStatus::Unchanged | ApplicationStatus::Planned
    );
    let outputs = json!({
        "application_id": application.application_id.as_str(),
        "status": application.status.as_str(),
        "changed_files": application.changed_files,
        "findings_before": application.findings_before.len(),
        "findings_after": application.findings_after.len(),
    });
    let failure = (!good).then(|| TaskFailure {
        class: FailureClass::Permanent,
        code: format!("pattern_{}", application.status.as_str()),
        message: if application.problems.is_empty() {
            format!("pattern `{}`: {}", application.pattern.name, application.summary)
        } else {
            format!("pattern `{}`: {}", application.pattern.name, application.problems.join("; "))
        },
        hint: None,
    });
    TaskOutcome {
        status: if good { OutcomeStatus::Succeeded } else { OutcomeStatus::Failed },
        exit_code: None,
        signal: None,
        started_at: application.applied_at,
        ended_at: application.applied_at,
        stdout: Output {
            text: application.diff.clone(),
            total_bytes: application.diff.len() as u64,
            truncated: false,
        },
        stderr: Output::default(),
        outputs: match outputs {
            Value::Object(outputs) => outputs,
            _ => Map::new(),
        },
        collected: Vec::new(),
        failure,
    }
}

fn application_failure(error: &EngineError) -> TaskOutcome {
    let failure = match error {
        EngineError::Mistake(mistake) => TaskFailure {
            class: FailureClass::Permanent,
            code: mistake.code.to_owned(),
            message: mistake.message.clone(),
            hint: mistake.hint.clone(),
        },
        EngineError::Plugin { .. } => TaskFailure {
            class: FailureClass::Permanent,
            code: "plugin_failed".to_owned(),
            message: error.to_string(),
            hint: None,
        },
        other => TaskFailure {
            class: FailureClass::Transient,
            code: "internal".to_owned(),
            message: other.to_string(),
            hint: None,
        },
    };
    TaskOutcome::not_started(caelum_core::clock::Timestamp::EPOCH, failure)
}
