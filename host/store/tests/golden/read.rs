//! Reads everything that a file holds, as JSON that people can compare.

use caelum_core::workflow::Execution;
use caelum_store::{
    ApplicationFilter, DefinitionFilter, ExecutionFilter, KeyUse, MetricsFilter, Page, PageRequest,
    Store,
};
use serde_json::{Value, json};

use crate::harness::{all_events, id};

/// Asks for page after page until there is none.
async fn pages<T>(ask: impl AsyncFn(PageRequest) -> Page<T>) -> Vec<T> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = ask(PageRequest { limit: 7, cursor }).await;
        all.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return all;
        }
    }
}

/// Reads everything.
pub(crate) async fn everything(store: &Store) -> Value {
    json!({
        "workflows": workflows(store).await,
        "executions": executions(store).await,
        "applications": applications(store).await,
        "plans": plans(store).await,
        "keys": keys(store).await,
        "settings": store.setting("greeting").await.expect("readable"),
        "counts": counts(store).await,
    })
}

async fn workflows(store: &Store) -> Vec<Value> {
    let listed = pages(async |page| {
        store.list_definitions(&DefinitionFilter::default(), &page).await.expect("readable")
    })
    .await;
    let mut workflows = Vec::new();
    for row in listed {
        for revision in store.revisions(&row.workflow_id).await.expect("readable") {
            let stored = store.definition(&row.workflow_id, Some(revision.revision)).await;
            let stored = stored.expect("readable").expect("it is listed");
            workflows.push(json!({
                "definition": *stored.definition,
                "digest": stored.digest.to_string(),
            }));
        }
    }
    workflows
}

async fn executions(store: &Store) -> Vec<Value> {
    let listed = pages(async |page| {
        store.list_executions(&ExecutionFilter::default(), &page).await.expect("readable")
    })
    .await;
    let mut executions = Vec::new();
    for row in listed {
        let execution = store.load_execution(&row.id).await.expect("readable").expect("listed");
        let events = all_events(store, &row.id).await;
        executions.push(json!({
            "id": row.id.as_str(),
            "kind": row.kind.as_str(),
            "status": row.status.as_str(),
            "progress": [row.done, row.total],
            "head": head(&execution),
            "steps": execution.steps().iter().map(|step| json!({
                "state": **step,
                "targets": step.targets.iter().map(|target| json!(**target)).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "events": events,
        }));
    }
    executions
}

fn head(execution: &Execution) -> Value {
    let head = execution.head();
    json!({
        "workflow": head.workflow_id.as_str(),
        "revision": head.revision,
        "parameters": head.parameters,
        "plugins": head.plugins,
        "by": head.started_by,
        "parent": head.parent,
        "started_at": head.started_at,
        "ended_at": head.ended_at,
        "end": head.end.map(|end| end.as_str()),
        "paused": head.paused,
        "cancel": head.cancel,
        "stopping": head.stopping,
        "events": head.events,
    })
}

async fn applications(store: &Store) -> Vec<Value> {
    let listed = pages(async |page| {
        store.list_applications(&ApplicationFilter::default(), &page).await.expect("readable")
    })
    .await;
    listed.into_iter().map(|record| json!(record)).collect()
}

async fn plans(store: &Store) -> Vec<Value> {
    let mut plans = Vec::new();
    for name in ["pl_1", "pl_2"] {
        let plan = store.plan(&id(name)).await.expect("readable").expect("it is there");
        plans.push(json!({
            "id": plan.id.as_str(), "created_at": plan.created_at, "used_at": plan.used_at,
            "body": plan.body,
        }));
    }
    plans
}

async fn keys(store: &Store) -> Vec<Value> {
    let mut keys = Vec::new();
    for (scope, key) in [("create_workflow", "k1"), ("distribute_task", "k2")] {
        let used = store.begin_idempotent(scope, key, &format!("request {key}")).await;
        let Some(KeyUse::Same { answer }) = used.expect("readable") else {
            panic!("{scope} {key} is forgotten")
        };
        let other = store.begin_idempotent(scope, key, "another request").await;
        assert!(matches!(other.expect("readable"), Some(KeyUse::Different { .. })));
        keys.push(json!({"scope": scope, "key": key, "answer": answer}));
    }
    keys
}

async fn counts(store: &Store) -> Value {
    let metrics =
        store.metrics(&MetricsFilter { since: None, workflow_id: None }).await.expect("readable");
    let mut counts: Vec<String> = store
        .count_executions()
        .await
        .expect("readable")
        .into_iter()
        .map(|count| {
            format!("{} {}: {}", count.kind.as_str(), count.status.as_str(), count.executions)
        })
        .collect();
    counts.sort();
    json!({"executions": counts, "workflows_measured": metrics.workflows.len()})
}
