//! The workflow: every kind of action, gates, reviews by two, a retry, work that must not run twice, a child, a list.

use std::collections::BTreeMap;
use std::path::Path;

use caelum_core::workflow::Step;
use caelum_engine::request::NewWorkflow;
use serde_json::{Value, json};

use crate::outside::Outside;

/// The tool server: a shell that writes down each call.
pub(crate) const TOOL_SERVER: &str = r#"
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
  case "$line" in
    *'"method":"initialize"'*)
      answer '{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}' ;;
    *'"method":"tools/call"'*)
      mark=$(printf '%s' "$line" | sed -n 's/.*"mark":"\([^"]*\)".*/\1/p')
      echo "$mark" >> "$0"
      answer '{"content":[{"type":"text","text":"done"}],"structuredContent":{"called":true}}' ;;
  esac
done
"#;

/// A shell line that leaves a mark, and then does more.
fn shell(outside: &Outside, more: &str) -> Value {
    let mark = "echo \"$CAELUM_IDEMPOTENCY_KEY $CAELUM_ATTEMPT $CAELUM_EPOCH\" >> \"$WITNESS\"";
    json!({
        "kind": "command", "shell": true, "program": format!("{mark}; {more}"),
        "env": {"WITNESS": outside.witness.display().to_string()},
    })
}

fn step(id: &str, after: &[&str], action: Value) -> Value {
    json!({"id": id, "name": id, "type": "development", "dependencies": after, "action": action})
}

fn steps(outside: &Outside) -> Vec<Value> {
    let mut build = step("build", &[], shell(outside, "echo '{\"tag\": \"v7\"}'"));
    build["validation"] = json!("command-succeeded");
    let mut flaky = step("flaky", &["build"], shell(outside, "test $CAELUM_ATTEMPT -gt 1"));
    flaky["retry"] = json!({"attempts": 2, "initial_ms": 1, "factor": 1.0, "max_ms": 1,
                            "jitter": false, "on": ["exit", "transient"]});
    let ask = step(
        "ask",
        &["flaky"],
        json!({
            "kind": "http", "method": "POST", "url": format!("http://{}/", outside.web),
            "headers": {"x-attempt": "{{ step.attempt }}"}, "expect": {},
        }),
    );
    let call = step(
        "call",
        &["ask"],
        json!({
            "kind": "tool", "server": "sh", "tool": "work",
            "arguments": {"mark": "{{ execution.id }}/call/local {{ step.attempt }} -"},
        }),
    );
    let improve = step(
        "improve",
        &["call"],
        json!({
            "kind": "pattern", "pattern": "infrastructure-enforcement", "target": "service",
            "parameters": {"component_name": "notes"},
        }),
    );
    let sub = step(
        "sub",
        &["improve"],
        json!({
            "kind": "workflow", "workflow_id": "inner",
            "parameters": {"tag": "{{ steps.build.outputs.tag }}"},
        }),
    );
    let mut hand = step("hand", &["sub"], json!({"kind": "manual", "instructions": "sign"}));
    hand["validation"] = json!("manual-review");
    hand["review"] = json!({"approvals": 2});
    let mut once = step("once", &["hand"], shell(outside, "true"));
    once["idempotent"] = json!(false);
    let mut each = step("each", &["once"], shell(outside, "true"));
    each["map"] = json!({"over": ["x", "y", "z"], "max": 2});
    let mut never = step("never", &["once"], shell(outside, "false"));
    never["when"] = json!("steps.build.outputs.tag == 'v8'");
    vec![
        build,
        flaky,
        ask,
        call,
        improve,
        sub,
        hand,
        once,
        never,
        each,
        step("last", &["never", "each"], shell(outside, "true")),
    ]
}

fn workflow(id: &str, steps: Vec<Value>) -> NewWorkflow {
    let steps: Vec<Step> = serde_json::from_value(Value::Array(steps)).expect("legal");
    NewWorkflow {
        workflow_id: id.to_owned(),
        steps,
        created_by: "tester".to_owned(),
        // Every life asks for the same.
        idempotency_key: Some(id.to_owned()),
        ..NewWorkflow::default()
    }
}

/// Returns the workflows; the one that is executed is the last.
pub(crate) fn workflows(outside: &Outside) -> Vec<NewWorkflow> {
    let inner = vec![
        step("one", &[], shell(outside, "true")),
        step("two", &["one"], shell(outside, "echo '{\"seen\": \"{{ parameters.tag }}\"}'")),
    ];
    vec![workflow("inner", inner), workflow("outer", steps(outside))]
}

/// Makes the component that the pattern is applied to, unless an earlier life has.
pub(crate) fn make_component(root: &Path) {
    let files = BTreeMap::from([
        (
            "docker-compose.yml",
            "services:\n  api:\n    build: .\n    ports:\n      - \"8115:8115\"\n",
        ),
        (
            "Dockerfile",
            "FROM python:3.12-slim\nWORKDIR /srv\nCOPY . .\nEXPOSE 8115\nCMD [\"python\", \"app.py\"]\n",
        ),
    ]);
    let service = root.join("service");
    if service.exists() {
        return;
    }
    std::fs::create_dir_all(&service).expect("made");
    for (name, text) in files {
        std::fs::write(service.join(name), text).expect("written");
    }
}
