//! What a server offers that was started with `--toolsets`: its tools, and what comes beside them.

use std::sync::Arc;

use caelum_workflow::mcp::groups::{Group, Groups};
use caelum_workflow::mcp::toolset::CallContext;
use caelum_workflow::trust::Scope;
use serde_json::{Map, json};

use crate::World;

fn names(world: &World) -> Vec<&'static str> {
    world.core.toolset.tools(Scope::Admin).map(|tool| tool.name).collect()
}

#[tokio::test]
async fn every_tool_is_of_a_group_and_all_groups_are_all_tools() {
    let world = World::new().await;

    for tool in world.core.toolset.tools(Scope::Admin) {
        assert!(!tool.groups.is_empty(), "`{}` is of no group", tool.name);
    }

    assert_eq!(names(&world).len(), 27);
    assert!(world.core.toolset.groups().is_all());
    world.core.close().await;
}

#[tokio::test]
async fn only_the_tools_of_the_groups_are_offered() {
    let world = World::with(&[("toolsets", "tasks")]).await;

    let tasks = names(&world);
    let refused = Arc::clone(&world.core.toolset)
        .call("create_workflow", Map::new(), CallContext::local(&world.core.toolset))
        .await
        .unwrap_err();
    let listed = world.ok("list_machines", json!({})).await;

    assert_eq!(
        tasks,
        [
            "aggregate_task_results",
            "cancel_task",
            "distribute_task",
            "get_task_status",
            "list_machines"
        ]
    );
    assert_eq!(
        refused.to_string(),
        "unknown tool `create_workflow` in this server: it offers only the toolsets tasks"
    );
    assert!(!listed["machines"].as_array().unwrap().is_empty());
    let text = world.core.toolset.instructions();
    assert!(text.contains("distribute_task") && !text.contains("create_workflow"), "{text}");
    world.core.close().await;
}

#[tokio::test]
async fn groups_and_read_only_narrow_together() {
    let world = World::with(&[("toolsets", "workflows,patterns"), ("read_only", "true")]).await;

    let found = names(&world);

    assert_eq!(
        found,
        [
            "get_workflow",
            "get_workflow_status",
            "list_executions",
            "list_machines",
            "list_pattern_applications",
            "list_patterns",
            "list_validators",
            "list_workflows",
            "validate_pattern_application",
        ]
    );
    world.core.close().await;
}

#[tokio::test]
async fn the_groups_of_the_guide_hold_the_tools_of_the_guide() {
    let world = World::new().await;
    let guide = [
        (
            Group::Workflows,
            "create_workflow get_workflow list_workflows execute_workflow get_workflow_status",
        ),
        (Group::Patterns, "apply_pattern list_patterns validate_pattern_application"),
        (Group::Tasks, "distribute_task get_task_status aggregate_task_results"),
        (Group::Monitoring, "get_system_health get_workflow_metrics export_workflow_data"),
    ];

    for (group, tools) in guide {
        for name in tools.split(' ') {
            let tool = world.core.toolset.tool(name).expect("the tool is there");
            assert!(tool.groups.contains(&group), "`{name}` is not of {group}");
        }
    }

    assert_eq!(Groups::all().names().len(), guide.len());
    world.core.close().await;
}
