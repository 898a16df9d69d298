//! MCP over streamable HTTP, the health answer, and what else the port says over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::routing::get;
use caelum_workflow::http::health::{Health, HealthCheck, HealthStatus};
use caelum_workflow::trust::Caller;
use rmcp::ServiceExt;
use rmcp::model::{CallToolRequestParams, ClientConfig};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt};
use rmcp::transport::StreamableHttpClientTransport;
use serde_json::{Map, Value, json};

use crate::door::{call, client, meta, modern, modern_call, open, open_with, soon, text};

fn accept(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request
        .header("Accept", "application/json, text/event-stream")
        .header("Content-Type", "application/json")
}

/// The data of the events of a stream that are messages.
fn events(body: &str) -> Vec<Value> {
    body.lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .filter_map(|data| serde_json::from_str(data.trim()).ok())
        .collect()
}

fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}})
}

#[tokio::test]
async fn an_sdk_client_lists_and_calls_over_http_in_both_eras() {
    let door = open().await;
    // Building the client sets up what it needs from the process.
    drop(client());
    let modes = [
        ClientLifecycleMode::Initialize,
        ClientLifecycleMode::Discover {
            preferred_versions: vec![rmcp::model::ProtocolVersion::V_2026_07_28],
        },
    ];
    for mode in modes {
        let transport = StreamableHttpClientTransport::from_uri(door.url("/mcp"));

        let client = ClientConfig::default().serve_with_lifecycle(transport, mode).await.unwrap();
        let tools = client.list_all_tools().await.unwrap();
        let arguments = json!({"a": 2, "b": 3}).as_object().cloned().unwrap();
        let answer = client
            .call_tool(CallToolRequestParams::new("add").with_arguments(arguments))
            .await
            .unwrap();

        assert_eq!(tools.len(), 8);
        assert_eq!(answer.structured_content, Some(json!({"sum": 5})));
        client.cancel().await.unwrap();
    }
    door.close().await;
}

#[tokio::test]
async fn a_simple_call_is_one_json_document() {
    let door = open().await;

    let response = door.post(modern_call(1, "add", json!({"a": 1}))).await;

    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(response.headers().contains_key("x-response-time"));
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["result"]["structuredContent"], json!({"sum": 1}));
    door.close().await;
}

#[tokio::test]
async fn a_call_with_progress_is_a_stream_of_events() {
    let door = open().await;
    door.probe.may_end.add_permits(1);
    let mut message = modern_call(1, "slow", json!({}));
    message["params"]["_meta"]["progressToken"] = json!("p");

    let response = door.post(message).await;
    let kind = response.headers()["content-type"].clone();
    let events = events(&response.text().await.unwrap());

    assert_eq!(kind, "text/event-stream");
    let methods: Vec<&str> = events.iter().filter_map(|event| event["method"].as_str()).collect();
    assert_eq!(methods, ["notifications/progress", "notifications/progress"]);
    assert_eq!(text(events.last().unwrap()), "slow is done");
    door.close().await;
}

#[tokio::test]
async fn a_session_of_the_older_protocol_lives_from_initialize_to_delete() {
    let door = open().await;
    let http = client();

    let opened =
        accept(http.post(door.url("/mcp"))).body(initialize().to_string()).send().await.unwrap();
    let session = opened.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let initialized = events(&opened.text().await.unwrap());
    let with_session =
        |request: reqwest::RequestBuilder| accept(request).header("Mcp-Session-Id", &session);
    let answer =
        with_session(http.post(door.url("/mcp"))).body(call(2, "whoami", json!({})).to_string());
    let answer = events(&answer.send().await.unwrap().text().await.unwrap());
    let deleted = with_session(http.delete(door.url("/mcp"))).send().await.unwrap();
    let after =
        with_session(http.post(door.url("/mcp"))).body(call(3, "add", json!({"a": 1})).to_string());
    let after = after.send().await.unwrap();

    assert_eq!(initialized[0]["result"]["protocolVersion"], "2025-06-18");
    let who = &answer[0]["result"]["structuredContent"];
    assert_eq!(
        (&who["proof"], &who["protocol"], &who["client"]),
        (&json!("OwnUser"), &json!("2025-06-18"), &json!("raw"))
    );
    assert!(deleted.status().is_success());
    assert_eq!(after.status(), 404);
    door.close().await;
}

#[tokio::test]
async fn a_client_that_takes_anything_need_not_name_both_forms() {
    let door = open().await;

    for accept in [Some("*/*"), None] {
        let mut request =
            modern(client().post(door.url("/mcp")), &modern_call(1, "add", json!({"a": 1})))
                .build()
                .unwrap();
        request.headers_mut().remove("accept");
        if let Some(accept) = accept {
            request.headers_mut().insert("accept", accept.parse().unwrap());
        }
        let response = client().execute(request).await.unwrap();
        assert_eq!(response.status(), 200, "{accept:?}");
    }
    door.close().await;
}

#[tokio::test]
async fn a_body_that_is_no_message_is_answered_in_json_rpc() {
    let door = open().await;
    let http = client();

    for (body, code, reason) in [
        ("{not json", -32700, "the message is no JSON"),
        ("", -32700, "the message is no JSON"),
        ("[]", -32600, "batches are not supported"),
        (
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            -32600,
            "`id` must be a string or an integer",
        ),
    ] {
        let response = accept(http.post(door.url("/mcp"))).body(body).send().await.unwrap();
        assert_eq!(response.status(), 400, "{body}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["error"]["code"], code, "{body}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(reason), "{answer}");
    }
    door.close().await;
}

#[tokio::test]
async fn unknown_methods_tools_and_wrong_arguments_are_told_apart() {
    let door = open().await;

    let mut explode = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/explode", "params": {}});
    explode["params"]["_meta"] = meta();
    let method = door.post(explode).await;
    let status = method.status();
    let method: Value = method.json().await.unwrap();
    let tool: Value = door.post(modern_call(2, "ad", json!({}))).await.json().await.unwrap();
    let arguments: Value =
        door.post(modern_call(3, "add", json!({"a": "x"}))).await.json().await.unwrap();
    let broken: Value = door.post(modern_call(4, "boom", json!({}))).await.json().await.unwrap();

    assert_eq!((status.as_u16(), &method["error"]["code"]), (404, &json!(-32601)));
    assert_eq!(tool["error"]["code"], -32602);
    assert!(
        tool["error"]["message"].as_str().unwrap().starts_with("unknown tool `ad`; "),
        "{tool}"
    );
    assert!(text(&arguments).contains("/a: found \"x\", expected an integer"), "{arguments}");
    assert!(text(&broken).starts_with("internal: "), "{broken}");
    door.close().await;
}

#[tokio::test]
async fn a_body_at_the_limit_passes_and_one_past_it_is_refused() {
    const MAX: usize = 3000;
    let door = open_with(|plan| plan.options.limits.request_body_max_bytes = MAX).await;
    let message = modern_call(1, "add", json!({"a": 1}));
    let padded = |length: usize| {
        let body = message.to_string();
        format!("{body}{}", " ".repeat(length - body.len()))
    };

    let at_the_limit =
        modern(client().post(door.url("/mcp")), &message).body(padded(MAX)).send().await.unwrap();
    let past_it = modern(client().post(door.url("/mcp")), &message)
        .body(padded(MAX + 1))
        .send()
        .await
        .unwrap();
    // Without a length in its head, in chunks.
    let chunk = format!("{:x}\r\n{}\r\n", MAX + 1, padded(MAX + 1));
    let chunked = door
        .exchange(
            format!(
                "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunk}0\r\n\r\n"
            )
            .as_bytes(),
        )
        .await;

    assert_eq!(at_the_limit.status(), 200);
    assert_eq!(past_it.status(), 413);
    let answer: Value = past_it.json().await.unwrap();
    assert_eq!(
        answer["error"]["message"],
        "the message is longer than 3000 bytes, which is the most this server reads"
    );
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    door.close().await;
}

#[tokio::test]
async fn foreign_hosts_and_pages_are_refused_and_our_own_are_not() {
    let door =
        open_with(|plan| plan.options.allowed_origins = vec!["https://app.example.com".to_owned()])
            .await;
    let own = door.url("");
    let message = modern_call(1, "add", json!({"a": 1}));
    let send = |header: &'static str, value: String| {
        modern(client().post(door.url("/mcp")), &message).header(header, value).send()
    };

    let host = send("Host", "evil.example.com".to_owned()).await.unwrap();
    let origin = send("Origin", "https://evil.example.com".to_owned()).await.unwrap();
    let null = send("Origin", "null".to_owned()).await.unwrap();
    let same = send("Origin", own).await.unwrap();
    let listed = send("Origin", "https://app.example.com".to_owned()).await.unwrap();

    for (refused, code) in
        [(host, "foreign_host"), (origin, "foreign_origin"), (null, "foreign_origin")]
    {
        assert_eq!(refused.status(), 403);
        let body: Value = refused.json().await.unwrap();
        assert_eq!(body["error"]["code"], code);
        assert!(body["error"]["hint"].is_string());
    }
    assert_eq!(same.status(), 200);
    assert!(!same.headers().contains_key("access-control-allow-origin"));
    assert_eq!(listed.status(), 200);
    assert_eq!(listed.headers()["access-control-allow-origin"], "https://app.example.com");
    door.close().await;
}

#[tokio::test]
async fn a_browser_asks_first_and_only_a_listed_page_is_told_yes() {
    let door =
        open_with(|plan| plan.options.allowed_origins = vec!["http://localhost:*".to_owned()])
            .await;
    let ask = |origin: &'static str| {
        client()
            .request(reqwest::Method::OPTIONS, door.url("/mcp"))
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .send()
    };

    let listed = ask("http://localhost:6274").await.unwrap();
    let foreign = ask("http://evil.example.com").await.unwrap();

    assert_eq!(listed.status(), 204);
    assert_eq!(listed.headers()["access-control-allow-origin"], "http://localhost:6274");
    assert!(
        listed.headers()["access-control-allow-headers"]
            .to_str()
            .unwrap()
            .contains("mcp-session-id")
    );
    assert_eq!(foreign.status(), 403);
    door.close().await;
}

#[tokio::test]
async fn the_clusters_monitor_reads_health_and_its_time() {
    let door = open().await;

    let answer = door
        .exchange(
            format!(
                "GET /health HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\nUser-Agent: Python/3.12 aiohttp/3.9.1\r\nConnection: close\r\n\r\n",
                door.address
            )
            .as_bytes(),
        )
        .await;

    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    let time = head.lines().find_map(|line| line.strip_prefix("x-response-time: ")).unwrap();
    assert!(time.parse::<f64>().is_ok_and(|time| time >= 0.0), "{time}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&body["status"], &body["service"]),
        (&json!("healthy"), &json!("caelum-workflow-orchestration"))
    );
    // The connection is our own user's, so it sees all.
    assert_eq!(body["secret_detail"], 7);
    door.close().await;
}

#[tokio::test]
async fn health_answers_post_and_is_brief_for_foreign_hosts() {
    let door = open().await;

    let posted = client().post(door.url("/health")).send().await.unwrap();
    let foreign =
        client().get(door.url("/health")).header("Host", "evil.example.com").send().await.unwrap();
    let deleted = client().delete(door.url("/health")).send().await.unwrap();

    assert_eq!(posted.status(), 200);
    let body: Value = foreign.json().await.unwrap();
    assert_eq!(body["status"], "healthy");
    assert!(body.get("secret_detail").is_none(), "{body}");
    assert_eq!(deleted.status(), 405);
    assert_eq!(deleted.headers()["allow"], "GET,HEAD,POST");
    door.close().await;
}

#[tokio::test]
async fn a_server_that_is_unwell_says_so_with_503() {
    let unwell: HealthCheck = Arc::new(|| {
        Box::pin(async { Health { status: HealthStatus::Unhealthy, detail: Map::new() } })
    });
    let broken: HealthCheck = Arc::new(|| Box::pin(async { panic!("the check broke") }));

    for check in [unwell, broken] {
        let door = open_with(|plan| plan.health = check).await;
        let response = client().get(door.url("/health")).send().await.unwrap();
        assert_eq!(response.status(), 503);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["status"], "unhealthy");
        door.close().await;
    }
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_answered_with_those_that_do() {
    let door = open().await;

    let response = client().get(door.url("/mpc")).send().await.unwrap();

    assert_eq!(response.status(), 404);
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        body["error"],
        json!({"code": "not_found", "message": "there is nothing at `/mpc`", "hint": "there are /, /extra, /health, /mcp, /ws"})
    );
    door.close().await;
}

#[tokio::test]
async fn a_mounted_route_knows_its_caller_and_is_guarded() {
    let route =
        get(|Extension(caller): Extension<Caller>| async move { format!("{:?}", caller.proof) });
    let door = open_with(|plan| plan.routes = axum::Router::new().route("/extra", route)).await;

    let own = client().get(door.url("/extra")).send().await.unwrap().text().await.unwrap();
    let foreign =
        client().get(door.url("/extra")).header("Host", "evil.example.com").send().await.unwrap();

    assert_eq!(own, "OwnUser");
    assert_eq!(foreign.status(), 403);
    door.close().await;
}

#[tokio::test]
async fn what_is_no_http_is_answered_with_400() {
    let door = open().await;

    let answer = door.exchange(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n").await;

    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    door.close().await;
}

#[tokio::test]
async fn a_head_or_a_body_that_never_ends_is_given_up() {
    let door = open_with(|plan| {
        plan.options.limits.request_head_timeout = Duration::from_millis(200);
        plan.options.limits.request_body_timeout = Duration::from_millis(200);
    })
    .await;

    let head = door.exchange(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await;
    let body = door
        .exchange(
            b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{\"jsonrpc\"",
        )
        .await;

    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    door.close().await;
}

#[tokio::test]
async fn a_kept_connection_that_rests_too_long_is_closed() {
    let door =
        open_with(|plan| plan.options.limits.request_head_timeout = Duration::from_millis(200))
            .await;

    // The answer comes, and then the server closes, although the client would keep the connection.
    let answer = door.exchange(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    door.close().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_its_call() {
    let door = open().await;
    let message = modern_call(1, "slow", json!({}));
    let request = modern(client().post(door.url("/mcp")), &message).send();
    let asking = tokio::spawn(request);
    door.probe.wait_begun().await;

    asking.abort();

    door.probe.wait_cancelled().await;
    door.close().await;
}

#[tokio::test]
async fn sessions_beyond_the_limit_are_refused_and_stateless_calls_go_on() {
    let door = open_with(|plan| plan.options.limits.sessions_max = 2).await;
    let http = client();
    let open_session = || accept(http.post(door.url("/mcp"))).body(initialize().to_string()).send();

    let first = open_session().await.unwrap();
    let second = open_session().await.unwrap();
    let third = open_session().await.unwrap();
    let stateless = door.post(modern_call(1, "add", json!({"a": 1}))).await;

    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    assert_eq!(third.status(), 503);
    let refusal: Value = third.json().await.unwrap();
    assert!(
        refusal["error"]["message"].as_str().unwrap().starts_with("the server has 2 sessions open"),
        "{refusal}"
    );
    assert_eq!(stateless.status(), 200);
    door.close().await;
}

#[tokio::test]
async fn a_session_that_rests_too_long_is_closed() {
    let door =
        open_with(|plan| plan.options.limits.session_idle_timeout = Duration::from_millis(100))
            .await;
    let http = client();
    let opened =
        accept(http.post(door.url("/mcp"))).body(initialize().to_string()).send().await.unwrap();
    let session = opened.headers()["mcp-session-id"].clone();
    drop(opened);

    let gone = async {
        loop {
            // A stream that is opened ends with the session; each request that finds it there is answered with one.
            let get = http
                .get(door.url("/mcp"))
                .header("Accept", "text/event-stream")
                .header("Mcp-Session-Id", &session);
            let response = get.send().await.unwrap();
            if response.status() == 404 {
                return;
            }
            response.bytes().await.ok();
        }
    };

    soon("the session to be closed", gone).await;
    door.close().await;
}

#[tokio::test]
async fn an_sdk_client_sees_progress_free_calls_in_parallel() {
    let door = open().await;
    drop(client());
    let transport = StreamableHttpClientTransport::from_uri(door.url("/mcp"));
    let client = Arc::new(().serve(transport).await.unwrap());

    let mut calls = tokio::task::JoinSet::new();
    for a in 0..50 {
        let client = Arc::clone(&client);
        calls.spawn(async move {
            let arguments = json!({"a": a, "b": 1}).as_object().cloned().unwrap();
            let answer = client
                .call_tool(CallToolRequestParams::new("add").with_arguments(arguments))
                .await
                .unwrap();
            assert_eq!(answer.structured_content, Some(json!({"sum": a + 1})));
        });
    }
    calls.join_all().await;

    door.close().await;
}
