//! Applications of patterns, and plans that are applied once.

use caelum_core::finding::{Finding, Location, Severity};
use caelum_core::id::Digest;
use caelum_core::pattern::{ApplicationStatus, NextStep, Ownership, Risk};
use caelum_core::plugin::PluginKind;
use caelum_store::{
    ApplicationFilter, ApplicationRecord, ExecutionLink, FileChange, FileRecord, IdempotencyEntry,
    KeyUse, PageRequest,
};
use serde_json::{Map, json};

use crate::harness::{at, id, plugin, store};

fn record(name: &str, pattern: &str, component: &str) -> ApplicationRecord {
    let finding = Finding {
        rule: "HC02".into(),
        severity: Severity::Warning,
        message: "no health check".into(),
        location: Some(Location {
            path: "compose.yaml".into(),
            line: Some(3),
            column: None,
            end_line: None,
            end_column: None,
        }),
        remediation: None,
        fingerprint: "f1".into(),
        extensions: vec![],
    };
    ApplicationRecord {
        id: id(name),
        pattern: plugin(pattern, PluginKind::Pattern, &[]),
        component: component.into(),
        directory: format!("/srv/{component}"),
        status: ApplicationStatus::Applied,
        applied_at: at(10),
        changed_at: at(10),
        parameters: Map::from_iter([("port".to_owned(), 8080.into())]),
        summary: "adds a health check".into(),
        diff: "--- a\n+++ b\n".into(),
        findings_before: vec![finding],
        findings_after: vec![],
        next_steps: vec![NextStep {
            id: "restart".into(),
            title: "Restart".into(),
            instructions: "restart it".into(),
            blocking: false,
            validator: None,
            validator_parameters: None,
        }],
        validation_results: vec!["1 finding before, 0 after".into()],
        files: vec![FileRecord {
            path: "compose.yaml".into(),
            change: FileChange::Replaced,
            renamed_from: None,
            before: Some(Digest::from_bytes(&[1; 32])),
            after: Some(Digest::from_bytes(&[2; 32])),
            ownership: Ownership::Block,
            risk: Risk::Safe,
        }],
        plan_id: None,
        execution: Some(ExecutionLink { execution: id("ex_1"), step: id("s0"), attempt: 1 }),
        performed_by: "ann".into(),
    }
}

#[tokio::test]
async fn an_application_comes_back_as_it_was_and_remembers_what_became_of_it() {
    let (store, _directory) = store();
    let mut applied = record("ap_1", "health-check", "shop");
    store.save_application(&applied, None).await.expect("saved");
    assert_eq!(store.application(&id("ap_1")).await.expect("readable"), Some(applied.clone()));

    let reverted = ApplicationStatus::Reverted;
    store.update_application_status(&id("ap_1"), reverted, at(20)).await.expect("updated");

    (applied.status, applied.changed_at) = (reverted, at(20));
    assert_eq!(store.application(&id("ap_1")).await.expect("readable"), Some(applied.clone()));
    let twice = store.save_application(&applied, None).await.expect_err("exists");
    assert_eq!(twice.to_string(), "application `ap_1` exists already");
    let error =
        store.update_application_status(&id("ap_2"), reverted, at(20)).await.expect_err("unknown");
    assert_eq!(error.to_string(), "application `ap_2` does not exist");
    assert_eq!(store.application(&id("ap_2")).await.expect("readable"), None);
}

#[tokio::test]
async fn applications_are_listed_by_pattern_component_and_status() {
    let (store, _directory) = store();
    for index in 0..6 {
        let pattern = ["health-check", "logging"][index % 2];
        let component = ["shop", "mail", "shop"][index % 3];
        let one = record(&format!("ap_{index}"), pattern, component);
        store.save_application(&one, None).await.expect("saved");
    }
    let reverted = ApplicationStatus::Reverted;
    store.update_application_status(&id("ap_5"), reverted, at(20)).await.expect("updated");
    let names = |filter: ApplicationFilter| {
        let store = store.clone();
        async move {
            let page = store.list_applications(&filter, &PageRequest::first(10)).await;
            let items = page.expect("readable").items;
            items.into_iter().map(|one| one.id.to_string()).collect::<Vec<_>>()
        }
    };
    let pattern = Some("logging".to_owned());
    let component = Some("shop".to_owned());
    let status = Some(reverted);

    let all = ApplicationFilter::default();
    assert_eq!(names(all).await, ["ap_5", "ap_4", "ap_3", "ap_2", "ap_1", "ap_0"]);
    let filter = ApplicationFilter { pattern: pattern.clone(), ..Default::default() };
    assert_eq!(names(filter).await, ["ap_5", "ap_3", "ap_1"]);
    let filter = ApplicationFilter { component: component.clone(), ..Default::default() };
    assert_eq!(names(filter).await, ["ap_5", "ap_3", "ap_2", "ap_0"]);
    let filter = ApplicationFilter { status, ..Default::default() };
    assert_eq!(names(filter).await, ["ap_5"]);
    let filter = ApplicationFilter { pattern, component, status };
    assert_eq!(names(filter).await, ["ap_5"]);
    let last = store.last_application("logging", "shop").await.expect("readable");
    assert_eq!(last.expect("not the reverted one").id, id("ap_3"));
}

#[tokio::test]
async fn a_key_whose_answer_is_forgotten_is_fresh_again() {
    let (store, _directory) = store();
    let answer = |name: &str| json!({"application_id": name});
    for name in ["ap_1", "ap_2"] {
        let key = IdempotencyEntry {
            scope: "apply_pattern".into(),
            key: format!("key of {name}"),
            request_digest: "r".into(),
            answer: answer(name),
            at: at(10),
        };
        let record = record(name, "health-check", "api");
        store.save_application(&record, Some(key)).await.expect("saved");
    }

    store.forget_answer("apply_pattern", &answer("ap_1")).await.expect("forgotten");
    store.forget_answer("create_workflow", &answer("ap_2")).await.expect("nothing to forget");

    let used = async |key: &str| store.begin_idempotent("apply_pattern", key, "r").await;
    assert_eq!(used("key of ap_1").await.expect("readable"), None);
    let kept = used("key of ap_2").await.expect("readable");
    assert_eq!(kept, Some(KeyUse::Same { answer: answer("ap_2") }));
}

#[tokio::test]
async fn an_application_takes_its_plan_once_and_gives_it_back_when_nothing_came_of_it() {
    let (store, _directory) = store();
    let body = json!({ "edits": ["x".repeat(100_000)] });
    store.save_plan(&id("pl_1"), &body, at(5)).await.expect("saved");
    let applying = |name: &str, plan: &str| ApplicationRecord {
        status: ApplicationStatus::Applying,
        plan_id: Some(id(plan)),
        ..record(name, "health-check", "shop")
    };
    let shown = async || store.plan(&id("pl_1")).await.expect("readable").expect("exists");
    assert_eq!((shown().await.used_at, shown().await.body), (None, body));
    let planned =
        ApplicationRecord { status: ApplicationStatus::Planned, ..applying("ap_0", "pl_1") };
    store.save_application(&planned, None).await.expect("saved");
    assert_eq!(shown().await.used_at, None, "planning uses nothing up");

    store.save_application(&applying("ap_1", "pl_1"), None).await.expect("the first");
    let second = store.save_application(&applying("ap_2", "pl_1"), None).await;

    assert_eq!(shown().await.used_at, Some(at(10)));
    assert_eq!(
        second.expect_err("the second").to_string(),
        "plan `pl_1` was used at 1970-01-01T00:00:10.000000Z; hint: make a new plan with dry_run"
    );
    assert_eq!(store.application(&id("ap_2")).await.expect("readable"), None, "both or neither");
    store.release_plan(&id("pl_1")).await.expect("given back");
    store.release_plan(&id("pl_9")).await.expect("nothing to give back");
    store.save_application(&applying("ap_3", "pl_1"), None).await.expect("taken again");
    let unknown = store.save_application(&applying("ap_4", "pl_2"), None).await;
    assert_eq!(unknown.expect_err("unknown").to_string(), "plan `pl_2` does not exist");
}
