//! MCP over raw TCP: the protocol's eras, and what is no message.

use std::time::Duration;

use caelum_workflow::mcp::schema::objections;
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::door::{Lines, SUM_MAX, call, meta, modern_call, open, open_with, text};

#[tokio::test]
async fn an_sdk_client_lists_and_calls_over_tcp() {
    let door = open().await;
    let (read, write) = TcpStream::connect(door.address).await.unwrap().into_split();

    let client = ().serve((read, write)).await.unwrap();
    let tools = client.list_all_tools().await.unwrap();
    let arguments = json!({"a": 2, "b": 3}).as_object().cloned().unwrap();
    let answer = client
        .call_tool(CallToolRequestParams::new("add").with_arguments(arguments))
        .await
        .unwrap();

    assert_eq!(tools.len(), 8);
    assert_eq!(answer.structured_content, Some(json!({"sum": 5})));
    let info = client.peer_info().unwrap();
    assert_eq!(
        info.server_info.as_ref().map(|info| info.name.as_str()),
        Some("caelum-workflow-orchestration")
    );
    client.cancel().await.unwrap();
    door.close().await;
}

#[tokio::test]
async fn every_version_with_initialize_is_spoken() {
    let door = open().await;

    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut lines = door.lines().await;
        let answer = lines.initialize(version).await;
        let who = lines.ask(&call(1, "whoami", json!({}))).await;
        let ping = lines.ask(&json!({"jsonrpc": "2.0", "id": 2, "method": "ping"})).await;

        assert_eq!(answer["result"]["protocolVersion"], version);
        assert_eq!(answer["result"]["serverInfo"]["title"], "Caelum workflow orchestration");
        assert_eq!(answer["result"]["instructions"], "Call `add` to add.");
        assert_eq!(who["result"]["structuredContent"]["protocol"], version);
        assert_eq!(who["result"]["structuredContent"]["client"], "raw");
        assert_eq!(who["result"]["structuredContent"]["proof"], "OwnUser");
        assert_eq!(ping["result"], json!({}));
    }
    door.close().await;
}

#[tokio::test]
async fn an_unknown_version_is_answered_with_one_that_is_spoken() {
    let door = open().await;

    let answer = door.lines().await.initialize("1999-01-01").await;

    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
    door.close().await;
}

#[tokio::test]
async fn the_protocol_without_initialize_is_spoken_from_the_first_line() {
    let door = open().await;
    let mut lines = door.lines().await;

    let discovered =
        lines.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta()}})).await;
    let sum = lines.ask(&modern_call(2, "add", json!({"a": 1, "b": 1}))).await;
    let who = lines.ask(&modern_call(3, "whoami", json!({}))).await;

    let versions = discovered["result"]["supportedVersions"].as_array().unwrap();
    assert!(
        versions.contains(&json!("2026-07-28")) && versions.contains(&json!("2024-11-05")),
        "{versions:?}"
    );
    assert_eq!(sum["result"]["structuredContent"], json!({"sum": 2}));
    assert_eq!(sum["result"]["resultType"], "complete");
    assert_eq!(
        sum["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "caelum-workflow-orchestration"
    );
    assert_eq!(who["result"]["structuredContent"]["protocol"], "2026-07-28");
    door.close().await;
}

#[tokio::test]
async fn a_request_without_a_lifecycle_is_told_what_is_missing() {
    let door = open().await;
    let mut lines = door.lines().await;

    let answer = lines.ask(&call(1, "add", json!({"a": 1}))).await;

    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &json!(-32602)));
    assert!(answer["error"]["message"].as_str().unwrap().contains("protocolVersion"), "{answer}");
    // The connection is still good.
    assert!(lines.initialize("2025-11-25").await["result"].is_object());
    door.close().await;
}

#[tokio::test]
async fn tools_are_listed_by_name_with_every_hint_and_portable_schemas() {
    let door = open().await;
    let mut lines = door.session().await;

    let answer = lines.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;

    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["add", "big", "boom", "note", "reset", "slow", "stubborn", "whoami"]);
    for tool in tools {
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{hint} of {tool}");
        }
        assert_eq!(objections(&tool["inputSchema"]), Vec::<String>::new());
        assert_eq!(objections(&tool["outputSchema"]), Vec::<String>::new());
    }
    assert_eq!(tools[0]["title"], "Add");
    assert_eq!(tools[0]["description"], "Adds two numbers.");
    assert_eq!(tools[0]["inputSchema"]["required"], json!(["a"]));
    assert_eq!(tools[0]["outputSchema"]["required"], json!(["sum"]));
    door.close().await;
}

#[tokio::test]
async fn an_answer_has_structured_content_and_text_and_old_clients_get_the_json_as_text() {
    let door = open().await;
    let mut newer = door.session().await;
    let mut older = door.lines().await;
    older.initialize("2024-11-05").await;

    let for_newer = newer.ask(&call(1, "add", json!({"a": 1}))).await;
    let for_older = older.ask(&call(1, "add", json!({"a": 1}))).await;

    assert_eq!(for_newer["result"]["structuredContent"], json!({"sum": 1}));
    assert_eq!(for_newer["result"]["content"], json!([{"type": "text", "text": "the sum is 1"}]));
    assert_eq!(for_older["result"]["content"][1]["text"], "{\"sum\":1}");
    door.close().await;
}

#[tokio::test]
async fn wrong_arguments_are_a_tool_error_that_names_all_of_them() {
    let door = open().await;
    let mut lines = door.session().await;

    let answer = lines.ask(&call(1, "add", json!({"b": 500, "style": "wrods", "c": 1}))).await;

    assert_eq!(answer["result"]["isError"], true);
    assert!(answer["result"].get("structuredContent").is_none());
    let text = text(&answer);
    for line in [
        "invalid_arguments: 4 problems with the arguments of `add`",
        "- /a: required, and missing; expected an integer",
        "- /b: found 500, at most 100 is allowed",
        "- /style: found \"wrods\", allowed: \"digits\", \"words\"; did you mean `words`?",
        "- /c: unknown argument",
        "hint: `add` takes `a`, `b`, `style`",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    door.close().await;
}

#[tokio::test]
async fn null_for_an_optional_argument_counts_as_absent() {
    let door = open().await;
    let mut lines = door.session().await;

    let answer = lines.ask(&call(1, "add", json!({"a": 4, "b": null, "style": null}))).await;

    assert_eq!(answer["result"]["structuredContent"], json!({"sum": 4}));
    door.close().await;
}

#[tokio::test]
async fn a_tools_own_error_says_what_was_wrong_and_what_to_call_next() {
    let door = open().await;
    let mut lines = door.session().await;

    let answer = lines.ask(&call(1, "add", json!({"a": SUM_MAX, "b": 1}))).await;

    assert_eq!(answer["result"]["isError"], true);
    assert_eq!(
        text(&answer),
        "overflow: the sum is too large\nhint: add smaller numbers\nnext: add {\"a\": 1}"
    );
    door.close().await;
}

#[tokio::test]
async fn an_unknown_tool_is_a_protocol_error_that_names_it_and_the_near_ones() {
    let door = open().await;
    let mut lines = door.session().await;

    let near = lines.ask(&call(1, "whoam", json!({}))).await;
    let far = lines.ask(&call(2, "zzzzzz", json!({}))).await;

    assert_eq!(near["error"]["code"], -32602);
    assert_eq!(near["error"]["message"], "unknown tool `whoam`; did you mean `whoami`?");
    assert_eq!(far["error"]["message"], "unknown tool `zzzzzz`; tools/list names the 8 there are");
    door.close().await;
}

#[tokio::test]
async fn what_is_no_json_is_a_parse_error_and_the_connection_goes_on() {
    let door = open().await;
    let mut lines = door.session().await;

    lines.send_bytes(b"{not json}\n").await;
    let first = lines.receive().await;
    lines.send_bytes(b"\xff\xfe\xfd\n").await;
    let second = lines.receive().await;
    let third = lines.ask(&call(1, "add", json!({"a": 1}))).await;

    assert_eq!(first["error"]["code"], -32700);
    assert_eq!(second["error"]["code"], -32700);
    assert!(first.get("id").is_none());
    assert_eq!(third["result"]["structuredContent"], json!({"sum": 1}));
    door.close().await;
}

#[tokio::test]
async fn json_of_the_wrong_shape_is_refused_with_a_reason() {
    let door = open().await;
    let mut lines = door.session().await;

    let cases: [(&str, i64, &str); 9] = [
        ("[]", -32600, "batches are not supported"),
        ("\"hello\"", -32600, "a message is a JSON object"),
        ("{}", -32600, "`jsonrpc` must be \"2.0\""),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600, "`jsonrpc` must be \"2.0\""),
        (
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            -32600,
            "`id` must be a string or an integer",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, -32602, "`tools/call` needs params"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#,
            -32602,
            "must be a string",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":[1,2]}}"#,
            -32602,
            "`params.arguments` of `tools/call` must be an object",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/explode","params":{}}"#,
            -32601,
            "unknown method `tools/explode`",
        ),
    ];
    for (line, code, reason) in cases {
        lines.send_bytes(format!("{line}\n").as_bytes()).await;
        let answer = lines.receive().await;
        assert_eq!(answer["error"]["code"], code, "{line}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(reason), "{line}: {answer}");
    }
    door.close().await;
}

#[tokio::test]
async fn lists_that_are_not_declared_are_empty_for_older_clients_and_unknown_to_newer_ones() {
    let door = open().await;
    let mut older = door.session().await;
    let mut newer = door.lines().await;

    for method in ["prompts/list", "resources/list", "resources/templates/list"] {
        let empty = older.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": method})).await;
        let unknown = newer
            .ask(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": meta()}}))
            .await;

        assert!(empty["result"].is_object(), "{empty}");
        assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
        assert_eq!(
            unknown["error"]["message"],
            format!(
                "unknown method `{method}`; this server answers server/discover, tools/list, tools/call"
            )
        );
    }
    door.close().await;
}

#[tokio::test]
async fn a_tool_that_panics_is_answered_and_the_server_goes_on() {
    let door = open().await;
    let mut lines = door.session().await;

    let broken = lines.ask(&call(1, "boom", json!({}))).await;
    let next = lines.ask(&call(2, "add", json!({"a": 1}))).await;

    assert_eq!(broken["result"]["isError"], true);
    assert!(
        text(&broken).starts_with("internal: the server failed to run `boom`: it broke off"),
        "{broken}"
    );
    assert!(!text(&broken).contains("a tool broke"), "the cause is for the log: {broken}");
    assert_eq!(next["result"]["structuredContent"], json!({"sum": 1}));
    door.close().await;
}

#[tokio::test]
async fn a_cancelled_call_is_told_and_not_answered() {
    let door = open().await;
    let mut lines = door.session().await;

    lines.send(&call(1, "slow", json!({}))).await;
    door.probe.wait_begun().await;
    lines
        .send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1, "reason": "enough"}}))
        .await;
    door.probe.wait_cancelled().await;
    let next = lines.ask(&call(2, "add", json!({"a": 1}))).await;

    assert_eq!(next["id"], 2, "the cancelled call has no answer");
    // The id is free again.
    assert_eq!(lines.ask(&call(1, "add", json!({"a": 1}))).await["id"], 1);
    door.close().await;
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_calls() {
    let door = open().await;
    let mut lines = door.session().await;
    lines.send(&call(1, "slow", json!({}))).await;
    door.probe.wait_begun().await;

    drop(lines);

    door.probe.wait_cancelled().await;
    door.close().await;
}

#[tokio::test]
async fn progress_arrives_before_the_answer_and_only_when_asked_for() {
    let door = open().await;
    let mut lines = door.session().await;
    door.probe.may_end.add_permits(2);
    let mut with_token = call(1, "slow", json!({}));
    with_token["params"]["_meta"] = json!({"progressToken": "p1"});

    lines.send(&with_token).await;
    let messages = [lines.receive().await, lines.receive().await, lines.receive().await];
    let without = lines.ask(&call(2, "slow", json!({}))).await;

    let progress: Vec<&Value> =
        messages.iter().map(|message| &message["params"]["progress"]).collect();
    assert_eq!(progress[..2], [&json!(1.0), &json!(2.0)]);
    assert_eq!(messages[0]["params"]["progressToken"], "p1");
    assert_eq!(messages[0]["params"]["message"], "half way");
    assert_eq!(messages[2]["id"], 1);
    assert_eq!(without["id"], 2);
    door.close().await;
}

#[tokio::test]
async fn an_id_that_is_still_unanswered_cannot_be_used_again() {
    let door = open().await;
    let mut lines = door.session().await;
    lines.send(&call(1, "slow", json!({}))).await;
    door.probe.wait_begun().await;

    let refused = lines.ask(&call(1, "add", json!({"a": 1}))).await;
    door.probe.may_end.add_permits(1);
    let answered = lines.receive().await;

    assert_eq!(refused["error"]["code"], -32600);
    assert!(
        refused["error"]["message"].as_str().unwrap().contains("still unanswered"),
        "{refused}"
    );
    assert_eq!(text(&answered), "slow is done");
    door.close().await;
}

#[tokio::test]
async fn a_message_cut_into_single_bytes_and_several_in_one_write_are_the_same() {
    let door = open().await;
    let mut lines = door.session().await;

    for byte in format!("{}\n", call(1, "add", json!({"a": 1}))).bytes() {
        lines.send_bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    let first = lines.receive().await;
    let several: String =
        (2..40).map(|id| format!("{}\r\n\n", call(id, "add", json!({"a": id})))).collect();
    lines.send_bytes(several.as_bytes()).await;
    let mut ids = Vec::new();
    for _ in 2..40 {
        let answer = lines.receive().await;
        assert_eq!(answer["result"]["structuredContent"]["sum"], answer["id"]);
        ids.push(answer["id"].as_u64().unwrap());
    }

    assert_eq!(first["id"], 1);
    ids.sort_unstable();
    assert_eq!(ids, (2..40).collect::<Vec<_>>());
    door.close().await;
}

#[tokio::test]
async fn a_line_at_the_limit_passes_and_one_past_it_is_answered_and_skipped() {
    const MAX: usize = 2000;
    let door = open_with(|plan| plan.options.limits.connection.message_max_bytes = MAX).await;
    let mut lines = door.session().await;
    let padded = |length: usize| {
        let message = call(1, "add", json!({"a": 1})).to_string();
        format!("{message}{}\n", " ".repeat(length - message.len()))
    };

    lines.send_bytes(padded(MAX).as_bytes()).await;
    let at_the_limit = lines.receive().await;
    lines.send_bytes(padded(MAX + 1).as_bytes()).await;
    let past_it = lines.receive().await;
    lines.send_bytes("x".repeat(10 * MAX).as_bytes()).await;
    let without_an_end = lines.receive().await;
    lines.send_bytes(b"\n").await;
    let next = lines.ask(&call(2, "add", json!({"a": 1}))).await;

    assert_eq!(at_the_limit["result"]["structuredContent"], json!({"sum": 1}));
    for refused in [past_it, without_an_end] {
        assert_eq!(refused["error"]["code"], -32600);
        assert_eq!(
            refused["error"]["message"],
            "the message is longer than 2000 bytes, which is the most this server reads"
        );
    }
    assert_eq!(next["id"], 2);
    door.close().await;
}

#[tokio::test]
async fn a_last_line_without_its_break_is_answered_before_the_connection_ends() {
    let door = open().await;
    let mut lines = door.lines().await;

    lines.send_bytes(modern_call(1, "add", json!({"a": 1})).to_string().as_bytes()).await;
    lines.finish().await;

    assert_eq!(lines.receive().await["result"]["structuredContent"], json!({"sum": 1}));
    assert_eq!(lines.next().await, None);
    door.close().await;
}

#[tokio::test]
async fn a_first_line_that_is_blank_or_broken_still_reaches_the_protocol() {
    let door = open().await;
    let mut blank = door.lines().await;
    let mut broken = door.lines().await;

    blank.send_bytes(b"\n  \n").await;
    let after_blank = blank.initialize("2025-11-25").await;
    broken.send_bytes(b"{]\n").await;
    let parse_error = broken.receive().await;
    let after_broken = broken.initialize("2025-11-25").await;

    assert!(after_blank["result"].is_object());
    assert_eq!(parse_error["error"]["code"], -32700);
    assert!(after_broken["result"].is_object());
    door.close().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let door = open_with(|plan| {
        plan.options.limits.connection.write_timeout = Duration::from_millis(200);
        plan.options.limits.connection.requests_in_flight_max = 4;
    })
    .await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut lines = Lines::new(socket.connect(door.address).await.unwrap());
    lines.initialize("2025-11-25").await;

    // The answers are never read; the server stops reading too, gives up, and closes.
    let line = format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
    let flood = async {
        for id in 0.. {
            let line = line.replacen("\"id\":1", &format!("\"id\":{id}"), 1);
            if lines.try_send_bytes(line.as_bytes()).await.is_err() {
                return;
            }
        }
    };

    crate::door::soon("the server to cut the connection", flood).await;
    door.close().await;
}
