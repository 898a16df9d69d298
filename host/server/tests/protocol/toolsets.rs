//! What a server with `--toolsets` offers beside its tools follows them, and what is offered works whole.

use serde_json::json;

use crate::{BOTH, Era, World, by_hand};

#[tokio::test]
async fn prompts_and_resources_of_other_toolsets_are_not_offered() {
    let world = World::with(&[("toolsets", "tasks")]).await;

    for era in BOTH {
        let mut client = world.client(era, json!({})).await;
        let prompts = client.ok("prompts/list", json!({})).await;
        let templates = client.ok("resources/templates/list", json!({})).await;
        let resources = client.ok("resources/list", json!({})).await;
        let prompt = json!({"name": "design_workflow", "arguments": {"goal": "x"}});
        let (_, prompt) = client.refused("prompts/get", prompt).await;
        let (_, read) = client.refused("resources/read", json!({"uri": "workflow://any"})).await;
        let called = json!({"name": "create_workflow", "arguments": {}});
        let (code, called) = client.refused("tools/call", called).await;

        let named = |list: &serde_json::Value, key: &str| -> Vec<String> {
            let rows = list.as_array().expect("a list").iter();
            let names = rows.filter_map(|row| row[key].as_str()).map(str::to_owned);
            // Those of the conformance suite, where they are built in.
            names.filter(|name| !name.starts_with("test")).collect()
        };
        assert_eq!(named(&prompts["prompts"], "name"), Vec::<String>::new());
        let templates = named(&templates["resourceTemplates"], "uriTemplate");
        assert_eq!(templates, ["execution://{execution_id}"]);
        assert_eq!(named(&resources["resources"], "uri"), Vec::<String>::new());
        assert!(prompt.contains("the toolsets that this server offers have none"), "{prompt}");
        assert!(read.contains("this server offers only the toolsets tasks"), "{read}");
        assert_eq!(code, -32602);
        assert!(called.contains("it offers only the toolsets tasks"), "{called}");
    }
    world.core.close().await;
}

#[tokio::test]
async fn a_task_is_followed_although_the_tool_behind_it_is_of_another_toolset() {
    let world = World::with(&[("toolsets", "tasks")]).await;
    let extension = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    let mut client = world.client(Era::Newer, extension).await;
    let work = json!({"task_definition": {"program": "sleep 600", "shell": true},
        "target_machines": ["local"]});

    let begun = client.call("distribute_task", work).await;
    let task = json!({"taskId": begun["taskId"]});
    let found = client.ok("tasks/get", task.clone()).await;
    client.ok("tasks/cancel", task).await;

    assert_eq!(found["status"], "working", "{found:#}");
    world.core.close().await;
}

#[tokio::test]
async fn prompts_and_resources_of_the_offered_toolset_work_whole() {
    let world = World::with(&[("toolsets", "workflows")]).await;
    let mut client = world.client(Era::Newer, json!({})).await;
    let execution = client.start("offered", by_hand()).await;

    let prompts = client.ok("prompts/list", json!({})).await;
    let design = json!({"name": "design_workflow", "arguments": {"goal": "Ship it"}});
    let design = client.ok("prompts/get", design).await;
    let read =
        client.ok("resources/read", json!({"uri": format!("execution://{execution}")})).await;

    let names = prompts["prompts"].to_string();
    assert!(names.contains("diagnose_execution") && !names.contains("apply_pattern_safely"));
    assert!(design.to_string().contains("- manual-review: "), "{design:#}");
    assert!(read.to_string().contains("offered"), "{read:#}");
    world.core.close().await;
}
