//! Every rule of a definition, by its exact message; all faults of one definition at once.

use caelum_core::clock::Timestamp;
use caelum_core::plugin::Phase;
use caelum_core::task::{CommandSpec, HttpExpect, HttpSpec, Probe, ProbeKind, ToolSpec};
use caelum_core::workflow::{
    Action, DefinitionStatus, Graph, KnownValidator, OnReviewTimeout, RetryPolicy, ReviewRules,
    RuleLimits, Step, StepMap, StepType, WorkflowDefinition, check_definition,
};
use serde_json::{Map, json};

fn step(id: &str, dependencies: &[&str]) -> Step {
    let mut step = Step::new(id.parse().expect("legal"), StepType::Development);
    step.dependencies = dependencies.iter().map(|name| name.parse().expect("legal")).collect();
    step
}

fn definition(steps: Vec<Step>) -> WorkflowDefinition {
    WorkflowDefinition {
        workflow_id: "w".parse().expect("legal"),
        revision: 1,
        name: "w".into(),
        description: String::new(),
        pattern: String::new(),
        steps,
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
        created_by: String::new(),
        status: DefinitionStatus::Active,
        parameters_schema: None,
        metadata: Map::new(),
    }
}

fn violations(steps: Vec<Step>) -> Vec<String> {
    let validators = [
        KnownValidator { name: "unit-tests".into(), phases: vec![Phase::After] },
        KnownValidator { name: "startup-validation".into(), phases: vec![Phase::Before] },
    ];
    check_definition(&definition(steps), &validators, RuleLimits::default())
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_workflow_without_steps_is_legal() {
    assert_eq!(violations(vec![]), [""; 0]);
}

#[test]
fn every_fault_is_listed_at_once() {
    let mut first = step("build", &["test"]);
    first.enforcement = Some("unit-tsets".parse().expect("legal"));
    let second = step("test", &["build", "biuld", "test"]);
    let mut third = step("build", &[]);
    third.validation = Some("startup-validation".parse().expect("legal"));
    third.action = Action::Command(CommandSpec {
        args: vec!["{{ parameters.".into()],
        ..CommandSpec::default()
    });
    third.when = Some("1 +".into());
    third.timeout_s = Some(0);
    third.retry = Some(RetryPolicy { attempts: 0, ..RetryPolicy::default() });
    third.probes = ["p", "p"]
        .map(|name| Probe {
            name: name.into(),
            kind: ProbeKind::Tcp { address: "localhost:1".into() },
            timeout_ms: 1_000,
        })
        .to_vec();

    let found = violations(vec![first, second, third]);

    let expected = [
        "/steps/2/id: `build` is the id of step 0 already; ids are unique",
        "/steps/1/dependencies/1: step `test` depends on `biuld`, which does not exist; did you mean `build`?",
        "/steps/1/dependencies/2: step `test` depends on itself",
        "/steps/0/enforcement: step `build` names the validator `unit-tsets`, which is not installed; did you mean `unit-tests`?",
        "/steps/2/validation: `startup-validation` judges only before the action; use it as the enforcement of step `build`",
        "/steps/2/probes/1/name: `p` is the name of another probe already",
        "/steps/2/timeout_s: 0 is not between 1 and 604800 seconds",
        "/steps/2/retry/attempts: 0 is not between 1 and 100",
        "/steps/2/action/program: step `build` names no program",
    ];
    assert_eq!(&found[..expected.len()], expected);
    assert!(found[9].starts_with("/steps/2/when: template `1 +`: syntax error"), "{}", found[9]);
    assert!(
        found[10].starts_with("/steps/2/action/args/0: template `{{ parameters.`: syntax error"),
        "{}",
        found[10]
    );
    assert_eq!(found[11], "/steps: the steps wait for each other in a cycle: build → test → build");
    assert_eq!(found.len(), 12);
}

#[test]
fn ten_thousand_steps_are_legal_and_one_more_is_not() {
    let chain = |count: usize| -> Vec<Step> {
        (0..count)
            .map(|index| {
                let before = format!("s{}", index.saturating_sub(1));
                let dependencies: &[&str] = if index == 0 { &[] } else { &[&before] };
                step(&format!("s{index}"), dependencies)
            })
            .collect()
    };
    assert_eq!(violations(chain(10_000)), [""; 0]);
    assert_eq!(
        violations(chain(10_001)),
        ["/steps: has 10001 steps; at most 10000 are allowed: split it into several workflows"]
    );
}

#[test]
fn the_order_keeps_dependencies_first_and_otherwise_the_order_written() {
    let steps = [step("c", &["a"]), step("a", &[]), step("b", &[])];
    assert_eq!(Graph::of(&steps).order(), Ok(vec![1, 0, 2]));
}

#[test]
fn a_definition_survives_its_stored_form() {
    let mut one = step("a", &[]);
    one.action = Action::Command(CommandSpec { program: "true".into(), ..CommandSpec::default() });
    one.retry = Some(RetryPolicy::default());
    let before = definition(vec![one, step("b", &["a"])]);
    let text = serde_json::to_string(&before).expect("plain JSON");
    let after: WorkflowDefinition = serde_json::from_str(&text).expect("its own JSON");
    assert_eq!(after, before);
}

#[test]
fn a_request_names_a_known_method_a_url_and_possible_statuses() {
    let request = |method: &str, url: &str| HttpSpec {
        method: method.to_owned(),
        url: url.to_owned(),
        ..HttpSpec::default()
    };
    let with = |request: HttpSpec| {
        let mut step = step("a", &[]);
        step.action = Action::Http(request);
        violations(vec![step])
    };

    assert_eq!(with(request("", "{{ parameters.url }}")), [""; 0]);
    assert_eq!(with(request("PATCH", "HTTPS://example.org/")), [""; 0]);
    let mut wrong = request("FETCH", "ftp://x/");
    wrong.expect = HttpExpect { status: vec![99], contains: Some(String::new()), json: None };
    assert_eq!(
        with(wrong),
        [
            "/steps/0/action/method: `FETCH` is no method; known: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
            "/steps/0/action/url: `ftp://x/` is no URL for this; expected http:// or https://",
            "/steps/0/action/expect/status: 99 is no status code; they lie between 100 and 599",
            "/steps/0/action/expect/contains: an empty text is part of every body",
        ]
    );
}

#[test]
fn limits_of_time_and_rules_for_reviews_have_ranges() {
    let mut limits = step("a", &[]);
    limits.queue_timeout_s = Some(0);
    limits.total_timeout_s = Some(366 * 24 * 3600 + 1);
    limits.heartbeat_timeout_s = Some(0);
    limits.review = Some(ReviewRules {
        approvals: Some(3),
        reviewers: vec!["ann".into(), "bob".into()],
        on_timeout: OnReviewTimeout::Escalate,
        ..ReviewRules::default()
    });
    let mut legal = step("b", &[]);
    legal.validation = Some("unit-tests".parse().expect("legal"));
    legal.total_timeout_s = Some(366 * 24 * 3600);
    legal.review = Some(ReviewRules {
        approvals: Some(1),
        deadline_s: Some(1),
        on_timeout: OnReviewTimeout::Escalate,
        escalate_to: vec!["zoe".into()],
        ..ReviewRules::default()
    });
    let mut nobody = legal.clone();
    nobody.id = "c".parse().expect("legal");
    nobody.review = Some(ReviewRules {
        approvals: Some(0),
        reviewers: vec![" ".into()],
        deadline_s: Some(0),
        ..ReviewRules::default()
    });

    assert_eq!(
        violations(vec![limits, legal, nobody]),
        [
            "/steps/0/queue_timeout_s: 0 is not between 1 and 31622400 seconds",
            "/steps/0/total_timeout_s: 31622401 is not between 1 and 31622400 seconds",
            "/steps/0/heartbeat_timeout_s: 0 is not between 1 and 604800 seconds",
            "/steps/0/review: step `a` has no gate that could ask for a review",
            "/steps/0/review/approvals: 3 approvals can never come from 2 reviewers",
            "/steps/0/review/deadline_s: `on_timeout` and `escalate_to` mean nothing without a deadline",
            "/steps/2/review/approvals: 0 is not between 1 and 100",
            "/steps/2/review/reviewers: expected at most 1000 names, none of them empty",
            "/steps/2/review/deadline_s: 0 is not between 1 and 31622400 seconds",
        ]
    );
}

#[test]
fn children_and_tools_are_named() {
    let with = |action: Action| {
        let mut step = step("a", &[]);
        step.action = action;
        violations(vec![step])
    };
    let child = |workflow_id: &str, revision: Option<u32>| Action::Workflow {
        workflow_id: workflow_id.into(),
        revision,
        parameters: Map::new(),
    };

    assert_eq!(with(child("{{ parameters.next }}", None)), [""; 0]);
    assert_eq!(with(child("other", Some(1))), [""; 0]);
    let wrong = with(child("no spaces", Some(0)));
    assert!(wrong[0].starts_with("/steps/0/action/workflow_id: "), "{wrong:?}");
    assert_eq!(wrong[1], "/steps/0/action/revision: revisions are counted from 1");
    assert_eq!(
        with(Action::Tool(ToolSpec { tool: " ".into(), ..ToolSpec::default() })),
        [
            "/steps/0/action/server: step `a` names no server",
            "/steps/0/action/tool: step `a` names no tool",
        ]
    );
}

#[test]
fn a_step_of_the_first_version_is_still_read() {
    let stored = r#"{"id": "a", "name": "a", "type": "development",
        "action": {"kind": "command", "program": "true"}, "timeout_s": 60,
        "strategy": {"kind": "parallel", "max": null}, "on_failure": "stop", "on_validator_error": "block"}"#;

    let step: Step = serde_json::from_str(stored).expect("what was stored is read for ever");

    assert_eq!((step.timeout_s, step.total_timeout_s, step.review), (Some(60), None, None));
}

#[test]
fn the_rules_of_maps_are_named_all_at_once() {
    let map = |over: serde_json::Value, name: &str, max: u32| {
        let mut step = step("a", &[]);
        step.action =
            Action::Command(CommandSpec { program: "true".into(), ..CommandSpec::default() });
        step.map = Some(StepMap { over, name: name.to_owned(), max });
        step
    };
    let mut by_hand = map(json!(["{{ parameters."]), "2nd", 0);
    by_hand.action = Action::Manual { instructions: String::new() };
    assert_eq!(
        violations(vec![by_hand]),
        [
            "/steps/0/map: step `a` is done by hand, and a map needs an action that runs by itself; let it run a child \
             workflow with that step for each item",
            "/steps/0/map/as: `2nd` cannot name an item; use letters, digits and `_`, at most 64, not beginning with a \
             digit",
            "/steps/0/map/max: 0 is not between 1 and 1000",
            "/steps/0/map/over/0: template `{{ parameters.`: syntax error: unexpected end of input, expected identifier or \
             integer",
        ]
    );
    for (step, message) in [
        (
            map(json!("{{ a b }}"), "item", 1),
            "/steps/0/map/over: template `{{ a b }}`: syntax error",
        ),
        (map(json!(" "), "item", 1), "/steps/0/map/over: the list has no name"),
        (map(json!({"a": 1}), "item", 1), "/steps/0/map/over: expected a list, or an expression"),
        (
            map(json!(vec![0; 10_001]), "item", 1),
            "/steps/0/map/over: has 10001 items; at most 10000",
        ),
        (map(json!([]), "steps", 1), "/steps/0/map/as: templates know `steps` already"),
        (map(json!([]), "", 1), "/steps/0/map/as: `` cannot name an item"),
        (map(json!([]), "a-b", 1), "/steps/0/map/as: `a-b` cannot name an item"),
        (map(json!([]), "item", 1_001), "/steps/0/map/max: 1001 is not between 1 and 1000"),
    ] {
        let found = violations(vec![step]);
        assert!(found.first().is_some_and(|first| first.starts_with(message)), "{found:?}");
    }
    assert_eq!(violations(vec![map(json!("parameters.list"), "file", 1_000)]), [""; 0]);
}
