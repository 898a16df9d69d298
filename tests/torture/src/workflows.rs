//! The workflows under torture: every kind of action, gates and reviews, retries and limits of time, children.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::processes::VARIABLE;

/// The tool server, by the name that the configuration gives it.
pub(crate) const TOOL_SERVER: &str = "torture";

/// A workflow, and how often it is chosen.
#[derive(Debug)]
pub(crate) struct Workflow {
    pub(crate) name: &'static str,
    pub(crate) weight: u32,
    pub(crate) steps: Value,
}

/// The workflow that applies a pattern: each of its executions has a component of its own.
pub(crate) const APPLIES: &str = "applies";

/// The workflow whose step does not end by itself before its time is up.
pub(crate) const ENDLESS: &str = "endless";

/// What effects need to know.
#[derive(Debug)]
pub(crate) struct Effects<'a> {
    /// This program.
    pub(crate) program: &'a Path,
    pub(crate) witness: &'a Path,
    pub(crate) web: SocketAddr,
    /// This run's name, which every effect carries.
    pub(crate) run: &'a str,
}

impl Effects<'_> {
    /// Returns the command that works for a while; `more` are further arguments of the effect.
    pub(crate) fn command(&self, ms: u32, more: &[&str]) -> Map<String, Value> {
        let mut args = vec!["effect".to_owned(), "--witness".to_owned()];
        args.push(self.witness.display().to_string());
        args.extend(["--ms".to_owned(), ms.to_string()]);
        args.extend(more.iter().map(|word| (*word).to_owned()));
        let command = json!({
            "program": self.program.display().to_string(),
            "args": args,
            "env": {VARIABLE: self.run},
        });
        command.as_object().cloned().unwrap_or_default()
    }

    fn step(&self, id: &str, after: &[&str], ms: u32, more: &[&str]) -> Value {
        let mut action = self.command(ms, more);
        action.insert("kind".to_owned(), json!("command"));
        json!({"id": id, "type": "development", "dependencies": after, "action": action})
    }

    /// Returns every workflow; those that others run as children come first.
    pub(crate) fn workflows(&self) -> Vec<Workflow> {
        let workflow =
            |name, weight, steps: Vec<Value>| Workflow { name, weight, steps: json!(steps) };
        vec![
            workflow("chain", 8, self.chain()),
            workflow("hand", 6, self.hand()),
            workflow("wide", 4, self.wide()),
            workflow("flaky", 4, self.flaky()),
            workflow("once", 4, self.once()),
            workflow("mapped", 4, self.mapped()),
            workflow("outside", 6, self.outside()),
            workflow("parent", 4, Self::parent()),
            workflow(APPLIES, 2, self.applies()),
            workflow("doomed", 3, self.doomed()),
            workflow("deadline", 3, self.deadline()),
            workflow(ENDLESS, 2, self.endless()),
        ]
    }

    fn chain(&self) -> Vec<Value> {
        vec![
            self.step("a", &[], 5, &[]),
            self.step("b", &["a"], 40, &[]),
            self.step("c", &["b"], 0, &[]),
            self.step("d", &["c"], 90, &[]),
            self.step("e", &["d"], 10, &[]),
        ]
    }

    fn wide(&self) -> Vec<Value> {
        let names: Vec<String> = (0..8).map(|place| format!("w{place}")).collect();
        let mut steps: Vec<Value> =
            names.iter().zip(0..).map(|(name, ms)| self.step(name, &[], ms * 15, &[])).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        steps.push(self.step("join", &names, 10, &[]));
        steps
    }

    fn flaky(&self) -> Vec<Value> {
        let mut fails = self.step("fails", &[], 10, &["--fails", "1"]);
        fails["retry"] = json!({"attempts": 3, "initial_ms": 30, "on": ["exit", "transient"]});
        let mut hangs = self.step("hangs", &[], 10, &["--hangs", "1"]);
        hangs["timeout_s"] = json!(1);
        hangs["retry"] = json!({"attempts": 4, "initial_ms": 10});
        vec![fails, hangs, self.step("last", &["fails", "hangs"], 10, &[])]
    }

    fn once(&self) -> Vec<Value> {
        let mut once = self.step("once", &[], 120, &[]);
        once["idempotent"] = json!(false);
        vec![once, self.step("after", &["once"], 10, &[])]
    }

    fn mapped(&self) -> Vec<Value> {
        let mut each = self.step("each", &[], 15, &["--fails", "1"]);
        each["map"] = json!({"over": ["a", "b", "c", "d", "e", "f"], "max": 3});
        each["retry"] = json!({"attempts": 3, "initial_ms": 10, "on": ["exit", "transient"]});
        vec![each, self.step("last", &["each"], 10, &[])]
    }

    fn outside(&self) -> Vec<Value> {
        let http = json!({
            "kind": "http", "method": "POST", "url": format!("http://{}/work", self.web),
            "headers": {"x-attempt": "{{ step.attempt }}"}, "body": {"run": "{{ parameters.run }}"},
            "expect": {"json": {"ok": true}},
        });
        let tool = json!({
            "kind": "tool", "server": TOOL_SERVER, "tool": "work",
            "arguments": {"execution": "{{ execution.id }}", "step": "tool",
                          "attempt": "a{{ step.attempt }}"},
        });
        let retry = json!({"attempts": 20, "initial_ms": 50, "max_ms": 500});
        vec![
            json!({"id": "http", "type": "integration", "action": http, "retry": retry}),
            json!({"id": "tool", "type": "integration", "dependencies": ["http"], "action": tool,
                   "retry": retry}),
            self.step("last", &["tool"], 10, &[]),
        ]
    }

    fn hand(&self) -> Vec<Value> {
        let mut reviewed = self.step("reviewed", &["work"], 10, &[]);
        reviewed["validation"] = json!("manual-review");
        reviewed["review"] = json!({"approvals": 2});
        vec![
            json!({"id": "work", "type": "development"}),
            reviewed,
            self.step("last", &["reviewed"], 10, &[]),
        ]
    }

    fn parent() -> Vec<Value> {
        let child = |id: &str, after: &[&str], workflow: &str| {
            json!({"id": id, "type": "development", "dependencies": after, "action": {
                "kind": "workflow", "workflow_id": workflow,
                "parameters": {"run": "{{ parameters.run }}"},
            }})
        };
        vec![child("first", &[], "chain"), child("second", &["first"], "hand")]
    }

    fn applies(&self) -> Vec<Value> {
        let action = json!({
            "kind": "pattern", "pattern": "infrastructure-enforcement",
            "target": "{{ parameters.run }}", "parameters": {"component_name": "notes"},
        });
        vec![
            self.step("before", &[], 10, &[]),
            json!({"id": "apply", "type": "development", "dependencies": ["before"],
                   "action": action, "retry": {"attempts": 5, "initial_ms": 100}}),
            self.step("after", &["apply"], 10, &[]),
        ]
    }

    fn doomed(&self) -> Vec<Value> {
        let mut tolerated = self.step("tolerated", &[], 10, &["--fails", "100"]);
        tolerated["on_failure"] = json!("continue");
        tolerated["retry"] = json!({"attempts": 1});
        let mut broken = self.step("broken", &["tolerated"], 10, &["--fails", "1"]);
        broken["on_failure"] = json!("skip_dependents");
        broken["retry"] = json!({"attempts": 1});
        vec![
            tolerated,
            broken,
            self.step("skipped", &["broken"], 10, &[]),
            self.step("beside", &[], 30, &[]),
        ]
    }

    fn deadline(&self) -> Vec<Value> {
        let gated = |id: &str, after: &[&str], on_timeout: &str| {
            let mut step = self.step(id, after, 10, &[]);
            step["validation"] = json!("manual-review");
            step["review"] = json!({"deadline_s": 1, "on_timeout": on_timeout});
            step
        };
        vec![gated("opens", &[], "approve"), gated("fails", &["opens"], "reject")]
    }

    /// A shell with a child of its own: the whole group has to end.
    fn endless(&self) -> Vec<Value> {
        let line = format!(
            "sleep 600 & {} effect --witness {} --hangs 100; wait",
            self.program.display(),
            self.witness.display()
        );
        let action = json!({"kind": "command", "shell": true, "program": line,
                            "env": {VARIABLE: self.run}});
        vec![json!({"id": "endless", "type": "development", "action": action,
                    "total_timeout_s": 20})]
    }
}
