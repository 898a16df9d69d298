//! What no client should send, over every transport and in both eras, against the real program: nothing hangs, nothing
//! malformed is taken for good, nothing breaks the server. Cases come from a seed, so a run can be repeated:
//! `CAELUM_FUZZ_SEED=… CAELUM_FUZZ_CASES=… cargo test --package caelum-tests --test fuzzing`.

mod cases;
mod judge;
mod link;
mod values;

use caelum_tests::{Era, Home, http_client};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::cases::Cases;
use crate::judge::{Judge, Wanted};
use crate::link::{Heard, Link, Transport};

/// How many cases each transport and era gets; a few seconds' worth. `CAELUM_FUZZ_CASES` asks for more.
const CASES: u64 = 300;

/// The seed of a run that names none. It stands still, so that a change is blamed for what it breaks and for nothing
/// else; whoever hunts gives others.
const SEED: u64 = 1;

/// How long the text of an error may be: somebody reads it.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// How many faults are shown.
const FAULTS_SHOWN: usize = 20;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} is a number, found `{text}`"))
    })
}

/// Goes through all cases over one transport, in both eras.
async fn fuzz(transport: Transport) {
    let (seed, count) = (setting("CAELUM_FUZZ_SEED", SEED), setting("CAELUM_FUZZ_CASES", CASES));
    let home = Home::new(env!("CARGO_BIN_EXE_caelum-workflow-under-test"));
    let server = match transport {
        Transport::Stdio => None,
        _ => Some(home.serve().await),
    };
    let mut faults = Vec::new();
    for era in Era::BOTH {
        let mut link = Link::open(transport, era, &home, server.as_ref()).await;
        let listed = link.ask("tools/list", json!({})).await;
        let tools = listed["result"]["tools"].as_array().expect("tools are listed").clone();
        let judge = Judge::new(&tools, era);
        let mut cases = Cases::new(ChaCha8Rng::seed_from_u64(seed), tools, era);
        for number in 0..count {
            let case = cases.next(&judge);
            let wanted = judge.wants(&case);
            let shown = || {
                let text: String = String::from_utf8_lossy(&case).chars().take(2_000).collect();
                format!("seed {seed}, {transport:?}, {era:?}, case {number}: {text}")
            };
            let heard = link.exchange(&case, wanted.answered(), &shown).await;
            if let Some(fault) = fault(&wanted, &heard) {
                faults.push(format!(
                    "{}\n  {}",
                    shown(),
                    fault.chars().take(500).collect::<String>()
                ));
            }
            if heard.closed {
                link = Link::open(transport, era, &home, server.as_ref()).await;
            }
        }
        let health =
            link.ask("tools/call", json!({"name": "get_system_health", "arguments": {}})).await;
        let status = &health["result"]["structuredContent"]["status"];
        assert_eq!(status, "healthy", "seed {seed}: {health:#}");
        let log = link.close().await;
        sound(&log, seed);
    }
    if let Some(server) = server {
        let (status, log) = server.stop().await;
        assert!(status.success(), "seed {seed}: {status:?}\n{}", log.text());
        sound(&log.text(), seed);
    }
    let shown = faults.iter().take(FAULTS_SHOWN).cloned().collect::<Vec<_>>().join("\n");
    assert!(faults.is_empty(), "{} faults, the first of them:\n{shown}", faults.len());
}

/// Asserts that nothing broke inside.
fn sound(log: &str, seed: u64) {
    let broken: Vec<&str> =
        log.lines().filter(|line| line.contains("panicked") || line.contains(" ERROR ")).collect();
    assert!(broken.is_empty(), "seed {seed}:\n{}", broken.join("\n"));
}

/// Holds what was heard against what was wanted; returns what is wrong with it.
fn fault(wanted: &Wanted, heard: &Heard) -> Option<String> {
    if let Some(odd) = heard.answers.iter().find(|answer| !is_sound(answer)) {
        return Some(format!("no message of the protocol: {odd}"));
    }
    let taken = || heard.answers.iter().find(|answer| answer.get("result").is_some());
    let own: Vec<&Value> =
        heard.answers.iter().filter(|answer| answer.get("id") == wanted.id()).collect();
    let is_refused =
        |answer: &Value| answer.get("error").is_some() || answer["result"]["isError"] == true;
    match (wanted, own.as_slice()) {
        (Wanted::Anything { .. }, [_]) => None,
        (Wanted::Refusal { .. }, [answer]) if is_refused(answer) => None,
        (Wanted::Refusal { .. }, [answer]) => Some(format!("accepted: {answer}")),
        (Wanted::Anything { .. } | Wanted::Refusal { .. }, _) => {
            Some(format!("{} answers: {:?}", own.len(), heard.answers))
        }
        (Wanted::Objection | Wanted::Nothing, _) if taken().is_some() => {
            Some(format!("accepted: {:?}", taken()))
        }
        (Wanted::Nothing, _) => None,
        (Wanted::Objection, _) => {
            let objected = heard.answers.iter().any(|answer| answer.get("error").is_some());
            (!objected && !heard.closed).then(|| "taken without a word".to_owned())
        }
    }
}

/// Says whether an answer is one of the protocol, with an error that can be read.
fn is_sound(answer: &Value) -> bool {
    let error = answer.get("error");
    let is_readable = |error: &Value| {
        let message = error["message"].as_str().unwrap_or_default();
        error["code"].is_i64() && !message.is_empty() && message.len() < MESSAGE_BYTES_MAX
    };
    answer["jsonrpc"] == "2.0"
        && (answer.get("method").is_some() || answer.get("result").is_some() != error.is_some())
        && error.is_none_or(is_readable)
}

#[tokio::test]
async fn nothing_hangs_and_nothing_malformed_is_taken_over_stdio() {
    fuzz(Transport::Stdio).await;
}

#[tokio::test]
async fn nothing_hangs_and_nothing_malformed_is_taken_over_tcp() {
    fuzz(Transport::Tcp).await;
}

#[tokio::test]
async fn nothing_hangs_and_nothing_malformed_is_taken_over_websocket() {
    fuzz(Transport::WebSocket).await;
}

#[tokio::test]
async fn nothing_hangs_and_nothing_malformed_is_taken_over_http() {
    fuzz(Transport::Http).await;
}

#[tokio::test]
async fn strange_heads_of_http_are_answered_and_break_nothing() {
    let home = Home::new(env!("CARGO_BIN_EXE_caelum-workflow-under-test"));
    let server = home.serve().await;
    let http = http_client();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "fuzzing", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }}});
    let strange = [
        ("content-type", "text/plain"),
        ("content-type", "application/json; charset=utf-16"),
        ("accept", "image/png"),
        ("accept", ""),
        ("mcp-method", "tools/call"),
        ("mcp-method", ""),
        ("mcp-protocol-version", "1999-01-01"),
        ("mcp-protocol-version", "\u{fffd}"),
        ("mcp-session-id", "../../etc/passwd"),
        ("mcp-session-id", "00000000-0000-0000-0000-000000000000"),
        ("content-encoding", "gzip"),
        ("host", "example.com"),
        ("origin", "http://example.com"),
        ("expect", "200-maybe"),
    ];

    for (name, value) in strange {
        let request = http
            .post(server.url("/mcp"))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/list")
            .body(body.to_string());
        let mut request = request.build().expect("a request");
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("bytes that a head may hold");
        request.headers_mut().insert(name, value);
        let answer = caelum_tests::soon(name, http.execute(request)).await.expect("an answer");
        let status = answer.status().as_u16();
        assert!((200..500).contains(&status), "{name}: {status}");
    }
    for method in ["PUT", "PATCH", "HEAD", "TRACE", "DELETE", "FROBNICATE"] {
        let method = method.parse().expect("a token");
        let answer = http.request(method, server.url("/mcp")).send().await.expect("an answer");
        assert!(answer.status().is_client_error(), "{}", answer.status());
    }
    let (status, log) = server.stop().await;
    assert!(status.success(), "{status:?}");
    sound(&log.text(), 0);
}
