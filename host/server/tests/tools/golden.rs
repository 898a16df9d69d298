//! The list of tools as clients see it. A change of it is a change of the contract: look at the difference, then write
//! the file anew with `CAELUM_WRITE_GOLDEN=1 cargo test -p caelum-workflow --test tools`.

use std::path::Path;

use caelum_workflow::mcp::groups::Groups;
use caelum_workflow::mcp::schema::objections;
use caelum_workflow::mcp::tools::instructions;
use caelum_workflow::trust::Scope;
use serde_json::{Value, json};

use crate::World;

/// The guide's tools, and ours.
const NAMES: [&str; 27] = [
    "aggregate_task_results",
    "apply_pattern",
    "archive_workflow",
    "cancel_task",
    "complete_step",
    "control_execution",
    "create_backup",
    "create_workflow",
    "distribute_task",
    "execute_workflow",
    "export_workflow_data",
    "get_system_health",
    "get_task_status",
    "get_workflow",
    "get_workflow_metrics",
    "get_workflow_status",
    "import_workflow",
    "list_executions",
    "list_machines",
    "list_pattern_applications",
    "list_patterns",
    "list_validators",
    "list_workflows",
    "revert_pattern_application",
    "review_step",
    "update_workflow",
    "validate_pattern_application",
];

#[tokio::test]
async fn the_list_of_tools_is_the_one_that_was_reviewed() {
    let world = World::new().await;
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tools.json");

    let tools: Vec<Value> = world
        .core
        .toolset
        .tools(Scope::Admin)
        .map(|tool| {
            json!({
                "name": tool.name,
                "title": tool.title,
                "description": tool.description,
                "annotations": {
                    "read_only": tool.annotations.read_only,
                    "destructive": tool.annotations.destructive,
                    "idempotent": tool.annotations.idempotent,
                    "open_world": tool.annotations.open_world,
                },
                "scope": tool.scope.as_str(),
                "toolsets": tool.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>(),
                "input_schema": tool.input_schema,
                "output_schema": tool.output_schema,
            })
        })
        .collect();
    let text = format!("{}\n", serde_json::to_string_pretty(&tools).expect("plain JSON"));

    if std::env::var_os("CAELUM_WRITE_GOLDEN").is_some() {
        std::fs::write(&kept, &text).expect("the file can be written");
    }
    let names: Vec<&str> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert_eq!(names, NAMES);
    let golden = std::fs::read_to_string(&kept).unwrap_or_default();
    let difference = golden.lines().zip(text.lines()).find(|(old, new)| old != new);
    assert!(golden == text, "tests/golden/tools.json differs, first here: {difference:?}");
    world.core.close().await;
}

#[tokio::test]
async fn every_schema_can_be_read_by_every_client() {
    let world = World::new().await;

    let found: Vec<String> = world
        .core
        .toolset
        .tools(Scope::Admin)
        .flat_map(|tool| {
            let of = |which: &str, schema: &Value| -> Vec<String> {
                objections(schema)
                    .into_iter()
                    .map(|objection| format!("{} {which}: {objection}", tool.name))
                    .collect()
            };
            let mut found = of("input", &tool.input_schema);
            found.extend(of("output", &tool.output_schema));
            found
        })
        .collect();

    assert_eq!(found, Vec::<String>::new());
    world.core.close().await;
}

#[tokio::test]
async fn every_tool_says_enough_and_its_annotations_are_the_truth() {
    let world = World::new().await;
    let reads = [
        "aggregate_task_results",
        "export_workflow_data",
        "get_system_health",
        "get_task_status",
        "get_workflow",
        "get_workflow_metrics",
        "get_workflow_status",
        "list_executions",
        "list_machines",
        "list_pattern_applications",
        "list_patterns",
        "list_validators",
        "list_workflows",
        "validate_pattern_application",
    ];
    let acts = ["execute_workflow", "distribute_task"];

    for tool in world.core.toolset.tools(Scope::Admin) {
        let annotations = tool.annotations;
        assert!(tool.description.len() > 80, "{}: {}", tool.name, tool.description);
        assert_eq!(annotations.read_only, reads.contains(&tool.name), "{}", tool.name);
        assert_eq!(tool.scope == Scope::Read, annotations.read_only, "{}", tool.name);
        if acts.contains(&tool.name) {
            assert!(annotations.open_world && !annotations.idempotent, "{}", tool.name);
        }
    }
    for name in ["create_workflow", "execute_workflow", "get_workflow_status", "apply_pattern"] {
        assert!(instructions(&Groups::all()).contains(name), "{name} is not in the instructions");
    }
    world.core.close().await;
}
