//! Views in a client's own window (MCP Apps): told to those that show them, and to nobody else.

use serde_json::{Value, json};

use crate::{BOTH, Era, World};

const VIEW: &str = "ui://caelum-workflow/execution";
const MIME: &str = "text/html;profile=mcp-app";

fn shows(mime_types: &Value) -> Value {
    json!({"extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": mime_types}}})
}

/// Returns the names of the tools that refer to the view.
fn referring(tools: &Value) -> Vec<&str> {
    let tools = tools["tools"].as_array().expect("tools");
    let refers = |tool: &&Value| tool["_meta"]["ui"]["resourceUri"] == VIEW;
    tools.iter().filter(refers).filter_map(|tool| tool["name"].as_str()).collect()
}

fn listed(resources: &Value) -> Vec<&Value> {
    let resources = resources["resources"].as_array().expect("resources");
    resources.iter().filter(|resource| resource["uri"] == VIEW).collect()
}

#[tokio::test]
async fn a_client_that_shows_views_is_referred_to_one_that_it_can_read() {
    let world = World::new().await;

    for era in BOTH {
        let mut client = world.client(era, shows(&json!(["text/plain", MIME]))).await;
        let tools = client.ok("tools/list", json!({})).await;
        let resources = client.ok("resources/list", json!({})).await;
        let read = client.ok("resources/read", json!({"uri": VIEW})).await;

        assert_eq!(
            referring(&tools),
            ["control_execution", "execute_workflow", "get_workflow_status"],
            "{era:?}"
        );
        let [view] = listed(&resources)[..] else { panic!("listed once: {resources:#}") };
        let page = &read["contents"][0];
        for described in [view, page] {
            assert_eq!(described["uri"], VIEW);
            assert_eq!(described["mimeType"], MIME);
            // Nothing is allowed, because nothing is needed.
            assert_eq!(described["_meta"]["ui"], json!({"csp": {}, "prefersBorder": true}));
        }
        let page = page["text"].as_str().expect("a text");
        assert!(page.starts_with("<!doctype html>"), "{}", &page[..60]);
        for elsewhere in [" src=", "<link", "@import", "url(\"", "url(h", "import("] {
            assert!(!page.contains(elsewhere), "the page is whole: `{elsewhere}`");
        }
    }
    world.core.close().await;
}

#[tokio::test]
async fn a_client_that_shows_no_views_or_other_ones_hears_nothing_of_them() {
    let world = World::new().await;
    let others = [json!({}), shows(&json!(["text/html+other"])), shows(&json!("text/html"))];

    for era in BOTH {
        for capabilities in &others {
            let mut client = world.client(era, capabilities.clone()).await;
            let tools = client.ok("tools/list", json!({})).await;
            let resources = client.ok("resources/list", json!({})).await;

            assert!(referring(&tools).is_empty(), "{era:?} {capabilities}");
            assert!(listed(&resources).is_empty(), "{era:?} {capabilities}");
        }
    }
    world.core.close().await;
}

#[tokio::test]
async fn the_extension_is_told_to_the_older_era_when_the_client_has_it_and_to_the_newer_always() {
    let world = World::new().await;
    let mut newer = world.client(Era::Newer, json!({})).await;
    let older = world.client(Era::Older, json!({})).await;
    let showing = world.client(Era::Older, shows(&json!([MIME]))).await;

    let discovered = newer.ok("server/discover", json!({})).await;

    let extensions = |answer: &Value| -> Vec<String> {
        let extensions = answer["capabilities"]["extensions"].as_object();
        extensions.map(|all| all.keys().cloned().collect()).unwrap_or_default()
    };
    let ui = "io.modelcontextprotocol/ui";
    assert_eq!(extensions(&discovered), ["io.modelcontextprotocol/tasks", ui]);
    assert_eq!(extensions(&older.hello), Vec::<String>::new());
    assert_eq!(extensions(&showing.hello), [ui]);
    world.core.close().await;
}

#[tokio::test]
async fn a_view_that_is_not_there_is_no_resource() {
    let world = World::new().await;
    let mut client = world.client(Era::Newer, shows(&json!([MIME]))).await;

    let (code, message) =
        client.refused("resources/read", json!({"uri": "ui://caelum-workflow/other"})).await;

    assert_eq!(code, -32602, "{message}");
    world.core.close().await;
}
