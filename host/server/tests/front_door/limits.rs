//! Every limit of the front door, at the limit and past it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::door::{call, client, modern, modern_call, open, open_with, soon, text};

#[tokio::test]
async fn one_call_too_many_in_a_session_is_told_at_once_and_other_sessions_go_on() {
    let door = open_with(|plan| plan.calls.calls_per_session_max = 2).await;
    let mut busy = door.session().await;
    let mut other = door.session().await;
    for id in [1, 2] {
        busy.send(&call(id, "slow", json!({}))).await;
        door.probe.wait_begun().await;
    }

    let refused = busy.ask(&call(3, "add", json!({"a": 1}))).await;
    let elsewhere = other.ask(&call(1, "add", json!({"a": 1}))).await;
    door.probe.may_end.add_permits(2);
    let ended = [busy.receive().await, busy.receive().await];
    let again = busy.ask(&call(4, "add", json!({"a": 1}))).await;

    assert_eq!(refused["result"]["isError"], true);
    assert!(
        text(&refused)
            .starts_with("busy: this session already runs 2 calls, which is the most it may"),
        "{refused}"
    );
    assert_eq!(elsewhere["result"]["structuredContent"], json!({"sum": 1}));
    assert!(ended.iter().all(|answer| text(answer) == "slow is done"));
    assert_eq!(again["result"]["structuredContent"], json!({"sum": 1}));
    door.close().await;
}

#[tokio::test]
async fn one_call_too_many_in_the_server_is_told_at_once() {
    let door = open_with(|plan| plan.calls.calls_max = 1).await;
    let mut first = door.session().await;
    first.send(&call(1, "slow", json!({}))).await;
    door.probe.wait_begun().await;

    let refused: Value =
        door.post(modern_call(2, "add", json!({"a": 1}))).await.json().await.unwrap();
    door.probe.may_end.add_permits(1);
    first.receive().await;
    let again: Value =
        door.post(modern_call(3, "add", json!({"a": 1}))).await.json().await.unwrap();

    assert!(text(&refused).starts_with("busy: the server already runs 1 calls"), "{refused}");
    assert_eq!(again["result"]["structuredContent"], json!({"sum": 1}));
    door.close().await;
}

#[tokio::test]
async fn a_connection_too_many_is_told_in_its_own_tongue() {
    let door = open_with(|plan| plan.options.limits.connections_max = 1).await;
    let mut first = door.session().await;

    let mut lines = door.lines().await;
    let refused = lines.ask(&call(1, "add", json!({"a": 1}))).await;
    let http = door
        .exchange(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    let still = first.ask(&call(1, "add", json!({"a": 1}))).await;

    assert_eq!(refused["error"]["code"], -32003);
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("the server has 1 connections open"),
        "{refused}"
    );
    assert!(http.starts_with("HTTP/1.1 503") && http.contains("Retry-After"), "{http}");
    assert_eq!(still["result"]["structuredContent"], json!({"sum": 1}));
    assert_eq!((door.gauges.connections(), door.gauges.connections_max()), (1, 1));
    door.close().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let door =
        open_with(|plan| plan.options.limits.first_byte_timeout = Duration::from_millis(100)).await;

    assert_eq!(door.exchange(b"").await, "");
    door.close().await;
}

#[tokio::test]
async fn a_connection_that_agrees_on_no_protocol_is_closed() {
    let door = open_with(|plan| {
        plan.options.limits.connection.initialize_timeout = Some(Duration::from_millis(100))
    })
    .await;
    let mut lines = door.lines().await;

    lines.send_bytes(b"\n").await;

    assert_eq!(lines.next().await, None);
    door.close().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_one_that_waits_for_an_answer_is_not() {
    let door = open_with(|plan| {
        plan.options.limits.connection.idle_timeout = Some(Duration::from_millis(100))
    })
    .await;
    let mut idle = door.session().await;
    let mut waiting = door.session().await;
    waiting.send(&call(1, "slow", json!({}))).await;
    door.probe.wait_begun().await;

    assert_eq!(idle.next().await, None);
    door.probe.may_end.add_permits(1);
    assert_eq!(text(&waiting.receive().await), "slow is done");
    door.close().await;
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused_with_a_way_to_ask_for_less() {
    let door = open().await;
    let mut lines = door.session().await;

    let fits = lines.ask(&call(1, "big", json!({"bytes": 4000}))).await;
    let too_large = lines.ask(&call(2, "big", json!({"bytes": 5000}))).await;

    assert_eq!(text(&fits).len(), 4000);
    assert_eq!(too_large["result"]["isError"], true);
    assert_eq!(
        text(&too_large),
        "answer_too_large: the answer of `big` has 5011 bytes, and at most 4096 fit a client\nhint: ask for fewer `bytes`"
    );
    door.close().await;
}

#[tokio::test]
async fn a_tool_that_does_not_end_is_answered_at_its_deadline_and_still_counts() {
    let door = open_with(|plan| plan.calls.calls_per_session_max = 1).await;
    let mut lines = door.session().await;

    let late = lines.ask(&call(1, "stubborn", json!({}))).await;
    let busy = lines.ask(&call(2, "add", json!({"a": 1}))).await;
    door.probe.may_end.add_permits(1);
    let free = async {
        while door.toolset.calls_running() > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the stubborn call to end", free).await;
    let after = lines.ask(&call(3, "add", json!({"a": 1}))).await;

    assert_eq!(
        text(&late),
        "deadline: `stubborn` did not answer within 0.3 s\nhint: the work may still go on; look at its state before calling again"
    );
    assert!(text(&busy).starts_with("busy: "), "{busy}");
    assert_eq!(after["result"]["structuredContent"], json!({"sum": 1}));
    door.close().await;
}

#[tokio::test]
async fn reading_stops_at_the_limit_of_unanswered_requests_and_goes_on_below_it() {
    let door = open_with(|plan| plan.options.limits.connection.requests_in_flight_max = 2).await;
    let mut lines = door.session().await;
    for id in 1..=4 {
        lines.send(&call(id, "slow", json!({}))).await;
    }
    door.probe.wait_begun().await;
    door.probe.wait_begun().await;

    assert_eq!(door.probe.begun.available_permits(), 0);
    door.probe.may_end.add_permits(4);
    let mut ids = Vec::new();
    for _ in 1..=4 {
        ids.push(lines.receive().await["id"].as_u64().unwrap());
    }

    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4]);
    door.close().await;
}

#[tokio::test]
async fn a_connection_that_sends_too_many_requests_is_told_when_to_go_on_and_others_go_on() {
    let door = open_with(|plan| plan.calls.rates.session_per_minute_max = 3).await;
    // Agreeing on a protocol is a request too.
    let mut hasty = door.session().await;
    let mut other = door.session().await;

    let first = hasty.ask(&call(1, "add", json!({"a": 1}))).await;
    let second = hasty.ask(&call(2, "add", json!({"a": 2}))).await;
    let third = hasty.ask(&call(3, "add", json!({"a": 3}))).await;
    let elsewhere = other.ask(&call(1, "add", json!({"a": 1}))).await;

    assert_eq!(first["result"]["structuredContent"], json!({"sum": 1}));
    assert_eq!(second["result"]["structuredContent"], json!({"sum": 2}));
    assert_eq!((&third["id"], &third["error"]["code"]), (&json!(3), &json!(-32003)));
    let message = third["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("this connection has sent all of the 3 requests"), "{message}");
    // A minute for three is one in twenty seconds.
    let wait = third["error"]["data"]["retry_after_ms"].as_u64().unwrap();
    assert!((1..=20_000).contains(&wait), "{third}");
    assert_eq!(elsewhere["result"]["structuredContent"], json!({"sum": 1}));
    door.close().await;
}

#[tokio::test]
async fn a_caller_that_sends_too_many_over_http_gets_429_with_the_time_to_wait() {
    let extra = axum::Router::new().route("/extra", axum::routing::get(async || "extra"));
    let door = open_with(|plan| {
        plan.calls.rates.caller_per_minute_max = 2;
        plan.routes = extra;
    })
    .await;

    let called = door.post(modern_call(1, "add", json!({"a": 1}))).await;
    let mounted = client().get(door.url("/extra")).send().await.unwrap();
    let refused = door.post(modern_call(7, "add", json!({"a": 1}))).await;
    let unmounted = client().get(door.url("/extra")).send().await.unwrap();
    let health = client().get(door.url("/health")).send().await.unwrap();

    assert_eq!((called.status().as_u16(), mounted.status().as_u16()), (200, 200));
    assert_eq!((refused.status().as_u16(), unmounted.status().as_u16()), (429, 429));
    for response in [&refused, &unmounted] {
        let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
    }
    let refused: Value = refused.json().await.unwrap();
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(7), &json!(-32003)));
    let unmounted: Value = unmounted.json().await.unwrap();
    assert_eq!(unmounted["error"]["code"], "rate_limited");
    assert!(unmounted["error"]["message"].as_str().unwrap().contains("this caller"), "{unmounted}");
    // Whether the server is well can always be asked.
    assert_eq!(health.status(), 200);
    door.close().await;
}

#[tokio::test]
async fn another_token_is_another_caller() {
    use caelum_workflow::trust::Scope;
    use caelum_workflow::trust::token::{Token, Tokens};
    let token = Token::new("reader-reader-reader-reader").unwrap();
    let door = open_with(|plan| {
        plan.calls.rates.caller_per_minute_max = 1;
        plan.options.policy = crate::door::policy(Tokens::none().with(token, Scope::Read));
    })
    .await;
    let message = modern_call(1, "add", json!({"a": 1}));

    let own = door.post(message.clone()).await.status();
    let again = door.post(message.clone()).await.status();
    let reader = modern(client().post(door.url("/mcp")), &message)
        .header("Authorization", "Bearer reader-reader-reader-reader")
        .send()
        .await
        .unwrap()
        .status();

    assert_eq!([own.as_u16(), again.as_u16(), reader.as_u16()], [200, 429, 200]);
    door.close().await;
}
