//! Requests as steps.

use caelum_core::task::{FailureClass, HttpSpec};
use caelum_core::workflow::{Action, ExecutionStatus, RetryPolicy};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::{Place, failure, run, shell, state, step};

/// Answers requests in order with these statuses and bodies, the last one for ever. Returns where.
pub(crate) async fn server(answers: Vec<(&'static str, &'static str)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("has one").to_string();
    tokio::spawn(async move {
        let mut next = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await;
            let (status, body) = answers[next.min(answers.len() - 1)];
            next += 1;
            let length = body.len();
            let text = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

fn post(url: String) -> HttpSpec {
    HttpSpec {
        method: "POST".to_owned(),
        url,
        body: Some(json!({"tag": "{{ steps.build.outputs.tag }}"})),
        ..HttpSpec::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_repeated_while_its_server_is_busy_and_hands_its_answer_on() {
    let place = Place::new();
    let engine = place.open().await;
    let address = server(vec![("503 Busy", ""), ("200 OK", "{\"id\": 41}")]).await;
    let mut announce =
        step("announce", &["build"], Action::Http(post(format!("http://{address}/releases"))));
    announce.retry = Some(RetryPolicy { initial_ms: 1, ..RetryPolicy::default() });
    let steps = vec![
        shell("build", &[], "echo '{\"tag\": \"v7\"}'"),
        announce,
        shell("use", &["announce"], "echo got {{ steps.announce.outputs.json.id + 1 }}"),
    ];

    let ended = run(&engine, "w", steps).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Completed);
    assert_eq!(state(&ended, "announce").attempt, 2);
    assert_eq!(state(&ended, "announce").outputs["status"], 200);
    let said = state(&ended, "use").targets[0].outcome.clone().expect("it ran").stdout.text;
    assert_eq!(said, "got 42\n");
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_refused_fails_its_step_once() {
    let place = Place::new();
    let engine = place.open().await;
    let address = server(vec![("404 Not Found", "no such thing")]).await;
    let request = HttpSpec { url: format!("http://{address}/x"), ..HttpSpec::default() };

    let ended = run(&engine, "w", vec![step("ask", &[], Action::Http(request))]).await;

    assert_eq!(ended.execution.status(), ExecutionStatus::Failed);
    let failure = failure(&ended, "ask");
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Exit, "http_status"));
    assert_eq!(state(&ended, "ask").attempt, 1);
    engine.close().await;
}
