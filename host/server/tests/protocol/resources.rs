//! Reading what the server keeps, without a tool.

use serde_json::{Value, json};

use crate::{BOTH, Era, World, by_hand};

fn content(result: &Value) -> Value {
    let text = result["contents"][0]["text"].as_str().expect("a text");
    serde_json::from_str(text).expect("the content is JSON")
}

#[tokio::test]
async fn workflows_executions_and_patterns_are_read_under_their_addresses() {
    let world = World::new().await;

    for era in BOTH {
        let mut client = world.client(era, json!({})).await;
        let name = format!("read-{era:?}").to_lowercase();
        let execution = client.start(&name, by_hand()).await;

        let workflow = client
            .ok("resources/read", json!({"uri": format!("workflow://{name}?revision=1")}))
            .await;
        let run =
            client.ok("resources/read", json!({"uri": format!("execution://{execution}")})).await;
        let pattern = client.ok("resources/read", json!({"uri": "pattern://manual-review"})).await;
        let templates = client.ok("resources/templates/list", json!({})).await;

        assert_eq!(content(&workflow)["steps"][0]["id"], "look");
        assert_eq!(workflow["contents"][0]["mimeType"], "application/json");
        assert_eq!(content(&run)["workflow_id"], *name);
        assert_eq!(content(&pattern)["name"], "manual-review");
        let templates: Vec<&str> = templates["resourceTemplates"]
            .as_array()
            .expect("templates")
            .iter()
            .filter_map(|template| template["uriTemplate"].as_str())
            // Those of the conformance suite, where they are built in.
            .filter(|template| !template.starts_with("test://"))
            .collect();
        assert_eq!(
            templates,
            [
                "workflow://{workflow_id}{?revision}",
                "execution://{execution_id}",
                "pattern://{pattern_name}",
                "application://{application_id}"
            ]
        );
    }
    world.core.close().await;
}

#[tokio::test]
async fn what_is_not_there_is_told_in_the_code_of_the_era() {
    let world = World::new().await;

    for (era, code) in [(Era::Older, -32002), (Era::Newer, -32602)] {
        let mut client = world.client(era, json!({})).await;
        for uri in [
            "workflow://nothing",
            "execution://exe_0",
            "pattern://nothing",
            "application://nothing",
            "file:///etc/passwd",
            "workflow://../../etc",
            "",
        ] {
            let (found, message) = client.refused("resources/read", json!({"uri": uri})).await;
            assert_eq!(found, code, "{uri}: {message}");
            assert!(message.contains(&format!("no resource `{uri}`")), "{message}");
        }
        let (code, message) = client.refused("resources/read", json!({})).await;
        assert_eq!((code, message.contains("`uri`")), (-32602, true), "{message}");
    }
    world.core.close().await;
}

#[tokio::test]
async fn the_list_goes_page_by_page_and_misses_nothing() {
    let world = World::new().await;
    let mut client = world.client(Era::Newer, json!({})).await;
    for number in 0..60 {
        let arguments = json!({"workflow_id": format!("flow-{number:02}"), "steps": []});
        client.tool("create_workflow", arguments).await;
    }

    let mut uris = Vec::new();
    let mut cursor = Value::Null;
    let mut pages = 0;
    loop {
        let params = if cursor.is_null() { json!({}) } else { json!({"cursor": cursor}) };
        let page = client.ok("resources/list", params).await;
        let resources = page["resources"].as_array().expect("a list");
        let own = resources.iter().filter_map(|one| one["uri"].as_str());
        // Those of the conformance suite, where they are built in, are not of this list.
        uris.extend(own.filter(|uri| !uri.starts_with("test://")).map(str::to_owned));
        assert!(resources.iter().all(|one| one["name"].is_string() && one["uri"].is_string()));
        assert!(page["ttlMs"].is_u64() && page["cacheScope"] == "private", "{page:#}");
        pages += 1;
        cursor = page["nextCursor"].clone();
        if cursor.is_null() || pages > 20 {
            break;
        }
    }

    assert!((2..20).contains(&pages), "{pages} pages");
    let workflows = uris.iter().filter(|uri| uri.starts_with("workflow://flow-")).count();
    assert_eq!(workflows, 60);
    assert!(uris.contains(&"pattern://manual-review".to_owned()), "{uris:?}");
    let mut once = uris.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), uris.len());
    for cursor in ["x:1", "nonsense", "w:nonsense"] {
        let (code, _) = client.refused("resources/list", json!({"cursor": cursor})).await;
        assert_eq!(code, -32602, "{cursor}");
    }
    world.core.close().await;
}

#[tokio::test]
async fn a_cursor_that_no_list_gave_is_refused_by_every_list() {
    let world = World::new().await;

    for era in BOTH {
        let mut client = world.client(era, json!({})).await;
        for list in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
            let (code, message) = client.refused(list, json!({"cursor": "x"})).await;
            assert_eq!((code, message.contains("cursor")), (-32602, true), "{list}: {message}");
        }
    }
    world.core.close().await;
}
