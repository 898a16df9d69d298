//! Documents read, refused, and written back.

use std::sync::Arc;

use caelum_core::clock::Timestamp;
use caelum_core::workflow::{Action, DefinitionStatus, WorkflowDefinition};

use super::*;
use crate::mcp::schema::objections;

const ECOSYSTEM: &str = r#"{"workflow_id":"active-port-management-v1","pattern":"infrastructure-enforcement","steps":[
  {"id":"build-guardian","type":"development","enforcement":"code-review","validation":"unit-tests"},
  {"id":"integrate-startup","type":"integration","enforcement":"startup-validation","validation":"integration-tests"}]}"#;

const EVERYTHING: &str = r#"
workflow_id: everything
name: Every field
description: One of each
pattern: infrastructure-enforcement
created_by: tests
status: draft
metadata: {team: core, tags: [a, b]}
parameters_schema:
  type: object
  properties: {tag: {type: string, default: v1}}
steps:
  - id: build
    name: Build it
    type: development
    enforcement: code-review
    enforcement_parameters: {approvals: 2}
    validation: unit-tests
    validation_parameters: {format: junit}
    target_machines: [local, "label:os=linux"]
    estimated_duration: 5
    parameters: {level: 3}
    action:
      kind: command
      program: make
      args: [build, "{{ parameters.tag }}"]
      cwd: notes
      env: {CI: "1"}
      stdin: "yes\n"
      shell: true
      collect: ["reports/*.xml"]
      outputs: out.json
    probes:
      - {name: health, kind: http, url: "http://127.0.0.1:1/health", headers: {accept: text/plain}, timeout_ms: 100}
      - {kind: tcp, address: "127.0.0.1:1"}
      - {kind: command, command: {program: "true"}}
      - {kind: file, path: a.txt}
      - {kind: env, names: [HOME]}
      - {kind: port, port: 8113, service: caelum-workflow-orchestration}
      - {kind: systemd, unit: cron.service}
    retry: {attempts: 5, initial_ms: 10, factor: 1.5, max_ms: 50, jitter: false, on: [exit, gate]}
    timeout_s: 60
    queue_timeout_s: 10
    total_timeout_s: 600
    heartbeat_timeout_s: 5
    review: {approvals: 2, reviewers: [ann, bob], deadline_s: 60, on_timeout: escalate, escalate_to: [zoe]}
    strategy: {kind: parallel, max: 2}
    on_failure: skip_dependents
    on_validator_error: warn
    idempotent: false
  - id: harden
    type: integration
    dependencies: [build]
    when: parameters.tag == "v1"
    strategy: sequential
    on_failure: continue
    action: {kind: pattern, pattern: health-check, target: ./notes, parameters: {port: 8080}, dry_run: true, allow_review_edits: true}
  - id: look
    type: validation
    dependencies: [harden]
    action: {kind: manual, instructions: Look at it.}
  - id: announce
    type: deployment
    action:
      kind: http
      method: POST
      url: "http://127.0.0.1:1/{{ parameters.tag }}"
      headers: {authorization: "Bearer {{ parameters.tag }}"}
      body: {tag: "{{ parameters.tag }}", parts: [1, 2.5, true]}
      expect: {status: [200, 201], contains: ok, json: {done: true}}
  - id: each
    type: integration
    map: {over: "{{ parameters.files }}", as: file, max: 4}
    action: {kind: command, program: wc, args: ["{{ file }}", "{{ file_index }}"]}
  - id: some
    type: integration
    map: {over: [a, 1, {b: "{{ parameters.tag }}"}]}
    action: {kind: command, program: wc, args: ["{{ item }}"]}
  - id: call
    type: integration
    action: {kind: tool, server: tracker, tool: create_issue, arguments: {title: "{{ parameters.tag }}"}}
  - id: sub
    type: deployment
    action: {kind: workflow, workflow_id: other, revision: 2, parameters: {tag: v2}}
"#;

fn definition(document: &WorkflowDocument) -> WorkflowDefinition {
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    WorkflowDefinition {
        workflow_id: document.workflow_id.parse().unwrap(),
        revision: document.revision.unwrap_or(1),
        name: document.name.clone().unwrap_or_else(|| document.workflow_id.clone()),
        description: or_empty(&document.description),
        pattern: or_empty(&document.pattern),
        steps: checked_steps(&document.workflow_id, &document.steps).unwrap(),
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
        created_by: or_empty(&document.created_by),
        status: document.status.map_or(DefinitionStatus::Active, Into::into),
        parameters_schema: document.parameters_schema.clone().map(Value::Object),
        metadata: document.metadata.clone(),
    }
}

fn problems(text: &str) -> Vec<String> {
    match read(text).expect_err("the document is wrong") {
        DocumentError::Invalid { problems } => problems,
        other => panic!("{other}"),
    }
}

#[test]
fn the_schema_of_a_document_is_portable() {
    assert_eq!(objections(&schema::input::<WorkflowDocument>()), Vec::<String>::new());
    assert_eq!(objections(&schema::output::<StepDocument>()), Vec::<String>::new());
}

#[test]
fn the_ecosystems_own_document_is_read() {
    let document = read(ECOSYSTEM).unwrap();

    let definition = definition(&document);
    assert_eq!(definition.name, "active-port-management-v1");
    assert_eq!(definition.steps.len(), 2);
    assert_eq!(definition.steps[1].name, "integrate-startup");
    assert!(matches!(definition.steps[0].action, Action::Manual { .. }));
}

#[test]
fn a_document_with_every_field_comes_back_the_same_through_json_and_yaml() {
    let first = definition(&read(EVERYTHING).unwrap());

    let document = WorkflowDocument::of(&first);
    let through_json = definition(&read(&document.to_json()).unwrap());
    let through_yaml = definition(&read(&document.to_yaml().unwrap()).unwrap());

    assert_eq!(through_json, first);
    assert_eq!(through_yaml, first);
    assert_eq!(first.steps[0].probes.len(), 7);
    assert_eq!(first.steps[0].probes[1].name, "tcp");
    assert_eq!(first.steps[2].action, Action::Manual { instructions: "Look at it.".to_owned() });
    drop(Arc::new(first));
}

#[test]
fn what_has_its_default_is_not_written() {
    let definition = definition(&read(ECOSYSTEM).unwrap());

    let json = serde_json::to_value(StepDocument::of(&definition.steps[0])).unwrap();

    assert_eq!(
        json,
        serde_json::json!({"id": "build-guardian", "type": "development", "enforcement": "code-review", "validation": "unit-tests"})
    );
}

#[test]
fn every_fault_of_the_shape_is_named_at_once_with_its_place() {
    let found = problems(
        r#"{"workflow_id": "x", "stepz": [], "steps": [
            {"id": "a", "type": "developement", "validations": "unit-tests", "timeout_s": 0},
            {"id": "b", "type": "validation", "action": {"kind": "comand"}, "strategy": "paralel"}]}"#,
    );

    for expected in [
        "/stepz: unknown field; did you mean `steps`?",
        "/steps/0/type: found \"developement\", allowed: \"development\", \"integration\", \"validation\", \"deployment\"; did you mean `development`?",
        "/steps/0/validations: unknown field; did you mean `validation`?",
        "/steps/0/timeout_s: found 0, at least 1 is allowed",
        "/steps/1/action/kind: found \"comand\", allowed: \"command\", \"http\", \"tool\", \"pattern\", \"workflow\", \"manual\"; did you mean `command`?",
    ] {
        assert!(found.iter().any(|line| line == expected), "{expected} is not in {found:#?}");
    }
    assert!(
        found.iter().any(|line| line.starts_with("/steps/1/strategy: found \"paralel\"")),
        "{found:#?}"
    );
}

#[test]
fn malformed_names_and_fields_of_another_kind_are_named_at_once() {
    let found = problems(
        r#"{"workflow_id": "no spaces", "steps": [
            {"id": "../a", "type": "development", "dependencies": ["ok", "not ok"], "enforcement": "x/y",
             "action": {"kind": "command", "instructions": "do it"}},
            {"id": "b", "type": "development", "action": {"kind": "pattern", "program": "ls"}},
            {"id": "c", "type": "development", "strategy": {"kind": "sequential", "max": 2},
             "probes": [{"kind": "http", "unit": "x"}]}]}"#,
    );

    for expected in [
        "/workflow_id: workflow_id `no spaces` is not a legal name",
        "/steps/0/id: step id `../a` is not a legal name",
        "/steps/0/enforcement: plugin name `x/y` is not a legal name",
        "/steps/0/dependencies/1: step id `not ok` is not a legal name",
        "/steps/0/action/instructions: `instructions` belongs to actions of kind `manual`, and this one is a `command`, which takes `program`, `args`",
        "/steps/0/action/program: required for an action of kind `command`, and missing",
        "/steps/1/action/program: `program` belongs to actions of kind `command`, and this one is a `pattern`",
        "/steps/1/action/pattern: required for an action of kind `pattern`, and missing",
        "/steps/1/action/target: required for an action of kind `pattern`, and missing",
        "/steps/2/strategy/max: `max` is for `parallel`",
        "/steps/2/probes/0/unit: `unit` does not belong to probes of kind `http`, which take `url`, `headers`",
        "/steps/2/probes/0/url: required for a probe of kind `http`, and missing",
    ] {
        assert!(
            found.iter().any(|line| line.starts_with(expected)),
            "{expected} is not in {found:#?}"
        );
    }
    assert_eq!(found.len(), 12, "{found:#?}");
}

#[test]
fn broken_text_is_refused_with_its_place() {
    let json = read("{\"workflow_id\": \"a\",\n \"steps\": [}").unwrap_err().to_string();
    let yaml = read("workflow_id: a\nsteps:\n  - id: [x\n").unwrap_err().to_string();
    let twice = read("workflow_id: a\nworkflow_id: b\nsteps: []\n").unwrap_err().to_string();
    let empty = read("").unwrap_err().to_string();

    assert!(
        json.starts_with("the document is not JSON:") && json.contains("line 2 column 12"),
        "{json}"
    );
    assert!(yaml.starts_with("the document is not YAML:") && yaml.contains("line"), "{yaml}");
    assert!(twice.contains("duplicate") && twice.contains("line 2"), "{twice}");
    assert!(empty.starts_with("the document is no"), "{empty}");
}

#[test]
fn hostile_text_is_refused_quickly() {
    let deep = format!("workflow_id: {}", "[".repeat(100_000));
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (name, of) in
        [("b", "a"), ("c", "b"), ("d", "c"), ("e", "d"), ("f", "e"), ("g", "f"), ("h", "g")]
    {
        bomb.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 10].join(", ")));
    }
    let deep_json = "[".repeat(200_000);
    let large = " ".repeat(DOCUMENT_BYTES_MAX + 1);

    assert!(matches!(read(&deep), Err(DocumentError::Syntax { format: Format::Yaml, .. })));
    assert!(matches!(read(&bomb), Err(DocumentError::Syntax { format: Format::Yaml, .. })));
    assert!(matches!(read(&deep_json), Err(DocumentError::Syntax { format: Format::Json, .. })));
    assert_eq!(read(&large), Err(DocumentError::TooLarge { bytes: DOCUMENT_BYTES_MAX + 1 }));
}

#[test]
fn empty_texts_and_null_count_as_absent() {
    let document = read(
        r#"{"workflow_id": "a", "name": "", "description": null, "steps": [{"id": "s", "type": "validation",
            "name": "", "enforcement": "", "validation": null, "when": "", "action": null}]}"#,
    )
    .unwrap();

    let step = &checked_steps("a", &document.steps).unwrap()[0];
    assert_eq!(
        (step.name.as_str(), step.enforcement.as_ref(), step.when.as_ref()),
        ("s", None, None)
    );
}

#[test]
fn an_export_is_read_without_its_history() {
    let mut document = WorkflowDocument::of(&definition(&read(EVERYTHING).unwrap()));
    document.executions.push(Map::from_iter([("execution_id".to_owned(), Value::from("x"))]));

    let arguments = read(&document.to_json()).unwrap().into_arguments();

    for gone in ["executions", "revision", "created_at", "updated_at"] {
        assert!(!arguments.contains_key(gone), "{gone}");
    }
    assert_eq!(arguments["workflow_id"], "everything");
    assert_eq!(arguments["status"], "draft");
}
