//! Callers: they start executions, look at them, do what steps wait for, pause, cancel and retry; they take down every
//! answer, and go on when the server is gone in the middle of a call.

use std::sync::Arc;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde_json::{Value, json};

use crate::wire::{Answer, Wire, is_silence};
use crate::witness::{Asked, Heard, Mark};
use crate::workflows::{APPLIES, ENDLESS, Workflow};
use crate::world::{World, count};

/// Executions that are open at once before callers only tend those that there are.
const OPEN_MAX: usize = 60;

/// What stands for an execution or a step where there is none.
const NONE: &str = "-";

/// One caller.
#[derive(Debug)]
pub(crate) struct Caller {
    world: Arc<World>,
    workflows: Arc<Vec<Workflow>>,
    task: Value,
    rng: ChaCha8Rng,
    name: String,
    turn: u64,
    wire: Option<Wire>,
    /// Keyed requests that were answered: the same again is answered the same.
    answered: Vec<(String, &'static str, Value, String)>,
}

/// One thing that is asked of an execution.
struct Ask<'a> {
    asked: Asked,
    tool: &'a str,
    execution: &'a str,
    step: &'a str,
    arguments: Value,
}

impl Caller {
    pub(crate) fn new(
        world: Arc<World>,
        workflows: Arc<Vec<Workflow>>,
        task: Value,
        rng: ChaCha8Rng,
        name: String,
    ) -> Self {
        Self { world, workflows, task, rng, name, turn: 0, wire: None, answered: Vec::new() }
    }

    /// Asks one thing after the other until the run is over.
    pub(crate) fn work(mut self) {
        while !self.world.is_over() {
            let open = self.world.open();
            let choice = self.rng.random_range(0..100);
            if open.is_empty() || (choice < 30 && open.len() < OPEN_MAX) {
                self.begin();
                continue;
            }
            let (id, workflow) = &open[self.rng.random_range(0..open.len())];
            match choice {
                30..80 => {
                    let wait_s = u64::from(self.rng.random_bool(0.1));
                    self.tend(id, wait_s);
                }
                80..90 => self.steer(id, workflow),
                90..94 => self.ask_again(),
                94..97 => self.look_around(id),
                _ => {
                    let ended = self.world.ended();
                    if !ended.is_empty() {
                        let id = &ended[self.rng.random_range(0..ended.len())];
                        self.control(id, Asked::Retry);
                    }
                }
            }
        }
    }

    /// Returns a name that nobody else has.
    fn next(&mut self) -> String {
        self.turn += 1;
        format!("{}-{}", self.name, self.turn)
    }

    /// Calls a tool on whatever life there is; nothing when it is gone before it answers.
    fn call(&mut self, tool: &str, arguments: &Value) -> Option<Answer> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::connect(self.world.server.address()).ok()?,
        };
        match wire.call(tool, arguments) {
            Ok(answer) => {
                self.wire = Some(wire);
                if let Answer::Refused(text) = &answer
                    && (text.starts_with("internal") || text.starts_with("protocol"))
                {
                    self.world.faults.add(format!("`{tool}` {arguments}: {text}"));
                }
                Some(answer)
            }
            Err(error) => {
                count(&self.world.figures.unanswered);
                if is_silence(&error) {
                    self.world.faults.add(format!("`{tool}` {arguments}: nobody answered"));
                }
                None
            }
        }
    }

    fn mark(&self, asked: Asked, heard: Heard, by: &str, execution: &str, step: &str) {
        let counter = match heard {
            Heard::Asks => None,
            Heard::Accepted => Some(&self.world.figures.accepted),
            Heard::Refused => Some(&self.world.figures.refused),
        };
        if let Some(counter) = counter {
            count(counter);
        }
        self.world.mark(&Mark::Call {
            asked,
            heard,
            by: by.to_owned(),
            execution: execution.to_owned(),
            step: step.to_owned(),
        });
    }

    /// Starts an execution or a group of tasks under a key, and asks until somebody answers.
    fn begin(&mut self) {
        let run = self.next();
        if self.rng.random_bool(0.15) {
            let arguments = json!({
                "task_definition": self.task, "target_machines": ["local"],
                "execution_strategy": "parallel", "idempotency_key": run,
            });
            self.keyed(&run, "task", "distribute_task", arguments);
            return;
        }
        let total: u32 = self.workflows.iter().map(|workflow| workflow.weight).sum();
        let mut left = self.rng.random_range(0..total);
        let chosen = self.workflows.iter().find(|workflow| {
            let here = left < workflow.weight;
            left = left.saturating_sub(workflow.weight);
            here
        });
        let workflow = chosen.expect("weights add up").name;
        if workflow == APPLIES {
            self.world.server.home().make_component(&run).expect("a component can be made");
        }
        let arguments = json!({
            "workflow_id": workflow, "parameters": {"run": run}, "idempotency_key": run,
        });
        self.keyed(&run, workflow, "execute_workflow", arguments);
    }

    fn keyed(&mut self, run: &str, workflow: &str, tool: &'static str, arguments: Value) {
        self.mark(Asked::Start, Heard::Asks, run, NONE, NONE);
        let id = self.insist(tool, &arguments);
        self.mark(Asked::Start, Heard::Accepted, run, &id, NONE);
        self.world.know(&id, workflow);
        self.answered.push((run.to_owned(), tool, arguments, id));
    }

    /// Asks under a key until somebody answers, and returns the execution.
    fn insist(&mut self, tool: &str, arguments: &Value) -> String {
        loop {
            match self.call(tool, arguments) {
                Some(Answer::Good(answer)) => {
                    let id = answer.get("execution_id").or_else(|| answer.get("task_group_id"));
                    return id.and_then(Value::as_str).unwrap_or_default().to_owned();
                }
                // It is stopping or has too much to do.
                Some(Answer::Refused(text)) if is_passing(&text) => self.wire = None,
                Some(Answer::Refused(text)) => panic!("`{tool}` {arguments}: {text}"),
                None => {}
            }
        }
    }

    /// Asks once more what was answered before.
    fn ask_again(&mut self) {
        if self.answered.is_empty() {
            return;
        }
        let place = self.rng.random_range(0..self.answered.len());
        let (run, tool, arguments, before) = self.answered[place].clone();
        let now = self.insist(tool, &arguments);
        self.world.faults.unless(now == before, || {
            format!("key `{run}` was answered with {before} and later with {now}")
        });
    }

    /// Looks at an execution and does what one of its steps waits for.
    pub(crate) fn tend(&mut self, id: &str, wait_s: u64) {
        let arguments = json!({"execution_id": id, "wait_s": wait_s});
        let status = match self.call("get_workflow_status", &arguments) {
            Some(Answer::Good(status)) => status,
            Some(Answer::Refused(text)) if is_passing(&text) => return self.wire = None,
            Some(Answer::Refused(text)) => {
                return self.world.faults.add(format!("{id} was started and now: {text}"));
            }
            None => return,
        };
        self.world.shown(&status);
        let waiting = status["waiting_for"].as_array().cloned().unwrap_or_default();
        if waiting.is_empty() {
            return;
        }
        let waits = &waiting[self.rng.random_range(0..waiting.len())];
        let step = waits["step_id"].as_str().unwrap_or_default();
        match waits["kind"].as_str().unwrap_or_default() {
            "work" => self.complete(id, step, Asked::Complete, None),
            "decision" => {
                let (asked, word) = match self.rng.random_range(0..3) {
                    0 => (Asked::RunAgain, "run_again"),
                    1 => (Asked::Decide, "succeeded"),
                    _ => (Asked::Decide, "failed"),
                };
                self.complete(id, step, asked, Some(word));
            }
            "review" => self.review(id, step),
            other => self.world.faults.add(format!("{id}: `{step}` waits for `{other}`")),
        }
    }

    fn complete(&mut self, id: &str, step: &str, asked: Asked, decision: Option<&str>) {
        let mut arguments = json!({
            "execution_id": id, "step_id": step, "summary": "done", "wait_s": 0,
            "succeeded": self.rng.random_bool(0.9),
        });
        if let Some(word) = decision {
            arguments["decision"] = json!(word);
        }
        self.ask(Ask { asked, tool: "complete_step", execution: id, step, arguments });
    }

    fn review(&mut self, id: &str, step: &str) {
        let decision = if self.rng.random_bool(0.85) { "approved" } else { "rejected" };
        let arguments = json!({
            "execution_id": id, "step_id": step, "decision": decision, "reason": "read it",
            "wait_s": 0,
        });
        self.ask(Ask { asked: Asked::Review, tool: "review_step", execution: id, step, arguments });
    }

    fn steer(&mut self, id: &str, workflow: &str) {
        let asked = match self.rng.random_range(0..10) {
            _ if workflow == ENDLESS && self.rng.random_bool(0.5) => Asked::Cancel,
            0..3 => Asked::Pause,
            3..7 => Asked::Resume,
            7 => Asked::Cancel,
            _ => Asked::Retry,
        };
        self.control(id, asked);
    }

    /// Pauses, resumes, cancels or retries.
    pub(crate) fn control(&mut self, id: &str, asked: Asked) {
        let action = match asked {
            Asked::Pause => "pause",
            Asked::Resume => "resume",
            Asked::Retry => "retry_failed",
            _ => "cancel",
        };
        let arguments = json!({"execution_id": id, "action": action, "reason": "because"});
        let tool = "control_execution";
        self.ask(Ask { asked, tool, execution: id, step: NONE, arguments });
    }

    /// Asks for a change under a name that nobody else has, and takes down what is answered.
    fn ask(&mut self, ask: Ask<'_>) {
        let by = self.next();
        let Ask { asked, tool, execution, step, mut arguments } = ask;
        let who = match tool {
            "complete_step" => "performer",
            "review_step" => "reviewer",
            _ => "by",
        };
        arguments[who] = json!(by);
        self.mark(asked, Heard::Asks, &by, execution, step);
        match self.call(tool, &arguments) {
            Some(Answer::Good(_)) => self.mark(asked, Heard::Accepted, &by, execution, step),
            Some(Answer::Refused(text)) => {
                self.mark(asked, Heard::Refused, &by, execution, step);
                if is_passing(&text) {
                    self.wire = None;
                }
            }
            None => {}
        }
    }

    /// Reads this and that: whatever is asked, an answer comes.
    fn look_around(&mut self, id: &str) {
        let (tool, arguments) = match self.rng.random_range(0..4) {
            0 => ("list_executions", json!({"limit": 20})),
            1 => ("get_workflow_metrics", json!({"time_range": "15m"})),
            2 => ("get_system_health", json!({})),
            _ => ("get_task_status", json!({"task_id": id})),
        };
        if let Some(Answer::Good(answer)) = self.call(tool, &arguments)
            && tool == "get_system_health"
        {
            let stuck = answer["stuck"].as_object().is_none_or(serde_json::Map::is_empty);
            self.world.faults.unless(stuck, || format!("stuck: {}", answer["stuck"]));
        }
    }

    /// Calls a tool until somebody answers well.
    pub(crate) fn surely(&mut self, tool: &str, arguments: &Value) -> Value {
        loop {
            match self.call(tool, arguments) {
                Some(Answer::Good(answer)) => return answer,
                Some(Answer::Refused(text)) if is_passing(&text) => self.wire = None,
                Some(Answer::Refused(text)) => panic!("`{tool}` {arguments}: {text}"),
                None => {}
            }
        }
    }
}

/// Whether the server says that it would have done it at another time.
fn is_passing(text: &str) -> bool {
    ["stopping", "busy", "too_many"].iter().any(|code| text.starts_with(code))
}
