//! Prompts with facts in them, and completions.

use serde_json::{Value, json};

use crate::{BOTH, Era, World, by_hand};

fn text(result: &Value) -> String {
    let messages = result["messages"].as_array().expect("messages");
    messages.iter().filter_map(|message| message["content"]["text"].as_str()).collect()
}

#[tokio::test]
async fn prompts_are_listed_and_filled_with_what_is_known() {
    let world = World::new().await;

    for era in BOTH {
        let mut client = world.client(era, json!({})).await;
        let execution = client.start(&format!("prompted-{era:?}"), by_hand()).await;
        let report = json!({"execution_id": execution, "step_id": "look", "performer": "ann", "summary": "looked"});

        let listed = client.ok("prompts/list", json!({})).await;
        let design = json!({"name": "design_workflow", "arguments": {"goal": "Ship it", "target_component": "shop"}});
        let design = client.ok("prompts/get", design).await;
        client.tool("complete_step", report).await;
        let diagnose =
            json!({"name": "diagnose_execution", "arguments": {"execution_id": execution}});
        let diagnose = client.ok("prompts/get", diagnose).await;
        let review = json!({"name": "review_step", "arguments": {"execution_id": execution}});
        let review = client.ok("prompts/get", review).await;

        let names: Vec<&str> = listed["prompts"]
            .as_array()
            .expect("prompts")
            .iter()
            .filter_map(|prompt| prompt["name"].as_str())
            // Those of the conformance suite, where they are built in.
            .filter(|name| !name.starts_with("test_"))
            .collect();
        assert_eq!(
            names,
            ["apply_pattern_safely", "design_workflow", "diagnose_execution", "review_step"]
        );
        let design = text(&design);
        for part in ["Ship it", "`shop`", "- manual-review: ", "dry_run"] {
            assert!(design.contains(part), "{part}: {design}");
        }
        assert!(text(&diagnose).contains(&execution));
        let known = &diagnose["messages"][1]["content"]["resource"];
        assert_eq!(known["uri"], *format!("execution://{execution}"));
        let review = text(&review);
        assert!(review.contains("`look`") && review.contains("anybody but ann"), "{review}");
    }
    world.core.close().await;
}

#[tokio::test]
async fn every_fault_of_a_prompts_arguments_is_named_at_once() {
    let world = World::new().await;
    let mut client = world.client(Era::Newer, json!({})).await;

    let (code, message) = client
        .refused(
            "prompts/get",
            json!({"name": "apply_pattern_safely",
            "arguments": {"pattern_name": 7, "component": "x", "target_component": "  "}}),
        )
        .await;
    let (unknown, near) = client.refused("prompts/get", json!({"name": "design_workflw"})).await;
    let (missing, what) = client
        .refused(
            "prompts/get",
            json!({"name": "diagnose_execution", "arguments": {"execution_id": "exe_0"}}),
        )
        .await;

    assert_eq!((code, unknown, missing), (-32602, -32602, -32602));
    for part in [
        "`pattern_name` must be a string",
        "`component` is no argument",
        "`target_component` is missing",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(near.contains("did you mean `design_workflow`?"), "{near}");
    assert!(what.contains("exe_0"), "{what}");
    world.core.close().await;
}

#[tokio::test]
async fn names_and_ids_are_completed() {
    let world = World::new().await;
    let mut client = world.client(Era::Older, json!({})).await;
    let execution = client.start("deploy-shop", by_hand()).await;
    client.tool("create_workflow", json!({"workflow_id": "shop-deploy", "steps": []})).await;
    let mut complete = async |reference: Value, name: &str, value: &str, context: Value| {
        let argument = json!({"name": name, "value": value});
        let params =
            json!({"ref": reference, "argument": argument, "context": {"arguments": context}});
        client.ok("completion/complete", params).await["completion"]["values"].clone()
    };
    let template = json!({"type": "ref/resource", "uri": "workflow://{workflow_id}{?revision}"});
    let review = json!({"type": "ref/prompt", "name": "review_step"});

    let workflows = complete(template.clone(), "workflow_id", "dep", json!({})).await;
    let executions = complete(review.clone(), "execution_id", &execution[..8], json!({})).await;
    let steps = complete(review.clone(), "step_id", "l", json!({"execution_id": execution})).await;
    let nothing = complete(review, "goal", "x", json!({})).await;
    let unknown = complete(template, "other", "x", json!({})).await;

    assert_eq!(workflows, json!(["deploy-shop", "shop-deploy"]));
    assert_eq!(executions, json!([execution]));
    assert_eq!(steps, json!(["look"]));
    assert_eq!((nothing, unknown), (json!([]), json!([])));
    world.core.close().await;
}

#[tokio::test]
async fn components_are_completed_by_their_registered_names() {
    let world = World::new().await;
    let named = "[components.payments]\ndirectory = \"../root\"\n[components.shop]\ndirectory = \"../root\"\n";
    std::fs::write(world.dir.path().join("data/components.toml"), named).expect("writes");
    let world = world.again().await;
    let mut client = world.client(Era::Newer, json!({})).await;

    let reference = json!({"type": "ref/prompt", "name": "apply_pattern_safely"});
    let argument = json!({"name": "target_component", "value": "p"});
    let params = json!({"ref": reference, "argument": argument});
    let found = client.ok("completion/complete", params).await;

    assert_eq!(found["completion"]["values"], json!(["payments", "shop"]));
    world.core.close().await;
}

#[tokio::test]
async fn what_is_no_prompt_and_no_template_is_not_completed() {
    let world = World::new().await;
    let mut client = world.client(Era::Newer, json!({})).await;

    for reference in [
        json!({"type": "ref/prompt", "name": "design_workflw"}),
        json!({"type": "ref/resource", "uri": "file:///{workflow_id}"}),
    ] {
        let params = json!({"ref": reference, "argument": {"name": "workflow_id", "value": "d"}});
        let (code, message) = client.refused("completion/complete", params).await;
        assert_eq!((code, message.starts_with("unknown ")), (-32602, true), "{message}");
    }
    world.core.close().await;
}
