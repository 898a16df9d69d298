//! Who gets in: the server's own user by the kernel's word, everybody else by a token.

use std::process::Stdio;

use caelum_workflow::listen::{ListenError, Listener, Options};
use caelum_workflow::port_registry::PortRegistry;
use caelum_workflow::trust::Scope;
use caelum_workflow::trust::token::{Token, Tokens};
use serde_json::{Value, json};

use crate::door::{
    Door, call, client, meta, modern, modern_call, open, open_with, policy, soon, text,
};

/// A user that is neither root nor anybody with files on this machine.
const STRANGER: &str = "65534";

fn token(name: &str) -> String {
    format!("{name}-{}", "0123456789abcdef".repeat(2))
}

async fn open_with_tokens() -> Door {
    let accept = |name: &str| Token::new(token(name)).unwrap();
    let tokens = Tokens::none()
        .with(accept("reader"), Scope::Read)
        .with(accept("writer"), Scope::Write)
        .with(accept("admin"), Scope::Admin);
    open_with(|plan| plan.options.policy = policy(tokens)).await
}

async fn post_with(door: &Door, authorization: &str, message: &Value) -> reqwest::Response {
    modern(client().post(door.url("/mcp")), message)
        .header("Authorization", authorization)
        .send()
        .await
        .unwrap()
}

/// Sends bytes from a process of another user and returns what comes back; `None` where this test may not change users.
async fn as_stranger(door: &Door, bytes: &str) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}; printf '%s' \"$1\" >&3; cat <&3",
        door.address.port()
    );
    let child = tokio::process::Command::new("setpriv")
        .args([
            "--reuid",
            STRANGER,
            "--regid",
            STRANGER,
            "--clear-groups",
            "bash",
            "-c",
            &script,
            "bash",
            bytes,
        ])
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let output = soon("the stranger", child).await.ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Says that a test did nothing because it needs root.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(test: &str) {
    eprintln!("skipped: {test} needs root and setpriv, to connect as another user");
}

#[tokio::test]
async fn another_user_of_this_machine_is_refused_over_raw_tcp_and_told_where_the_token_goes() {
    let door = open().await;

    let Some(answer) = as_stranger(&door, &format!("{}\n", call(7, "add", json!({"a": 1})))).await
    else {
        return skipped("the refusal of another user over raw TCP");
    };

    let answer: Value = serde_json::from_str(answer.trim()).unwrap();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(-32001)));
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("raw TCP carries no token") && message.contains("Authorization: Bearer"),
        "{message}"
    );
    door.close().await;
}

#[tokio::test]
async fn another_user_of_this_machine_needs_a_token_over_http() {
    let door = open_with_tokens().await;
    let body = modern_call(1, "whoami", json!({})).to_string();
    let request = |authorization: &str| {
        format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\n{authorization}Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: whoami\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    };

    let Some(without) = as_stranger(&door, &request("")).await else {
        return skipped("the token of another user over HTTP");
    };
    let with =
        as_stranger(&door, &request(&format!("Authorization: Bearer {}\r\n", token("writer"))))
            .await
            .unwrap();

    assert!(without.starts_with("HTTP/1.1 401"), "{without}");
    assert!(
        without.contains("does not come from the server's own user, so it needs a token"),
        "{without}"
    );
    assert!(with.starts_with("HTTP/1.1 200"), "{with}");
    assert!(with.contains("\"scope\":\"write\"") && with.contains("\"proof\":\"Token\""), "{with}");
    door.close().await;
}

#[tokio::test]
async fn another_user_sees_health_in_brief() {
    let door = open().await;

    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let Some(answer) = as_stranger(&door, request).await else {
        return skipped("the brief health of another user");
    };

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("\"status\":\"healthy\"") && !answer.contains("secret_detail"),
        "{answer}"
    );
    door.close().await;
}

#[tokio::test]
async fn a_connection_whose_owner_is_gone_proves_nothing() {
    let door = open().await;
    // A stranger who sends and leaves at once: the kernel then shows user 0 for what is left of the socket.
    if !rustix::process::geteuid().is_root() {
        return skipped("the orphaned connection");
    }
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}; printf '%s\\n' \"$1\" >&3; exec 3>&-",
        door.address.port()
    );
    let mut message = call(1, "slow", json!({}));
    message["params"]["_meta"] = meta();

    let status = tokio::process::Command::new("setpriv")
        .args([
            "--reuid",
            STRANGER,
            "--regid",
            STRANGER,
            "--clear-groups",
            "bash",
            "-c",
            &script,
            "bash",
        ])
        .arg(message.to_string())
        .current_dir("/")
        .status();
    assert!(soon("the stranger", status).await.unwrap().success());
    let gone = async {
        while door.gauges.connections() > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the connection to be over", gone).await;

    assert_eq!(door.probe.begun.available_permits(), 0, "the call of a stranger was run");
    door.close().await;
}

#[tokio::test]
async fn a_token_narrows_what_its_bearer_sees_and_may_do() {
    let door = open_with_tokens().await;
    let list =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta()}});
    let names = |answer: &Value| -> Vec<String> {
        let tools = answer["result"]["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    let bearer = |name: &str| format!("Bearer {}", token(name));

    let reader: Value = post_with(&door, &bearer("reader"), &list).await.json().await.unwrap();
    let admin: Value = post_with(&door, &bearer("admin"), &list).await.json().await.unwrap();
    let refused: Value = post_with(&door, &bearer("reader"), &modern_call(2, "note", json!({})))
        .await
        .json()
        .await
        .unwrap();
    let done: Value = post_with(&door, &bearer("writer"), &modern_call(3, "note", json!({})))
        .await
        .json()
        .await
        .unwrap();
    let too_much: Value = post_with(&door, &bearer("writer"), &modern_call(4, "reset", json!({})))
        .await
        .json()
        .await
        .unwrap();

    assert_eq!(names(&reader), ["add", "big", "boom", "slow", "whoami"]);
    assert_eq!(names(&admin).len(), 8);
    assert_eq!(
        text(&refused),
        "forbidden: `note` needs the scope `write`, and this caller has `read`\nhint: use a token of that scope"
    );
    assert_eq!(text(&done), "noted");
    assert!(
        text(&too_much).starts_with("forbidden: `reset` needs the scope `admin`"),
        "{too_much}"
    );
    door.close().await;
}

#[tokio::test]
async fn a_wrong_token_is_refused_even_from_the_own_user() {
    let door = open_with_tokens().await;
    let message = modern_call(1, "add", json!({"a": 1}));

    for authorization in
        ["Bearer wrong-token-wrong-token-wrong", "Bearer ", "Basic YTpi", "nonsense"]
    {
        let response = post_with(&door, authorization, &message).await;
        assert_eq!(response.status(), 401, "{authorization}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"caelum-workflow\"");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["message"], "the token is not one of this server's");
        assert!(!body.to_string().contains("wrong-token"), "{body}");
    }
    door.close().await;
}

#[tokio::test]
async fn an_address_of_the_network_is_refused_without_a_token_and_opened_with_one() {
    let address = "0.0.0.0:0".parse().unwrap();
    let options = |tokens| Options::new(address, PortRegistry::bundled(), policy(tokens));

    let error = Listener::bind(options(Tokens::none())).unwrap_err();
    let with_token = Listener::bind(options(Tokens::none().with(Token::generate(), Scope::Admin)));
    let mut everybody = options(Tokens::none());
    everybody.policy.allow_unauthenticated = true;

    assert!(matches!(error, ListenError::Unprotected { .. }));
    assert!(
        error.to_string().starts_with(
            "refusing to listen on 0.0.0.0:0 without a token: this server runs commands"
        ),
        "{error}"
    );
    assert!(with_token.is_ok());
    assert!(Listener::bind(everybody).is_ok());
}

#[tokio::test]
async fn without_authentication_everybody_comes_in_and_is_known_as_such() {
    let door = open_with(|plan| plan.options.policy.allow_unauthenticated = true).await;

    let answer: Value = door.post(modern_call(1, "whoami", json!({}))).await.json().await.unwrap();

    assert_eq!(answer["result"]["structuredContent"]["proof"], "Unauthenticated");
    door.close().await;
}

#[tokio::test]
async fn a_read_only_server_offers_only_what_reads() {
    let door = open_with(|plan| plan.read_only = true).await;
    let mut lines = door.session().await;

    let listed = lines.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    let refused = lines.ask(&call(2, "note", json!({}))).await;

    for tool in listed["result"]["tools"].as_array().unwrap() {
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
    }
    assert_eq!(
        refused["error"]["message"],
        "unknown tool `note` in this server: it runs read-only"
    );
    door.close().await;
}

#[tokio::test]
async fn a_port_of_another_service_is_not_opened() {
    let mut options = Options::new(
        "127.0.0.1:8102".parse().unwrap(),
        PortRegistry::bundled(),
        policy(Tokens::none()),
    );
    let reserved = Listener::bind(options.clone()).unwrap_err().to_string();
    let first = open().await;
    options.address = first.address;
    let busy = Listener::bind(options).unwrap_err().to_string();

    assert!(reserved.starts_with("port 8102 is reserved for `caelum-code-analysis`"), "{reserved}");
    let expected = format!(
        "port {} on 127.0.0.1 is in use by process {} (`",
        first.address.port(),
        std::process::id()
    );
    assert!(busy.starts_with(&expected), "{busy}");
    first.close().await;
}
