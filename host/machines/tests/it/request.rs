//! HTTP requests as tasks, against real sockets.

use std::collections::BTreeMap;

use caelum_core::task::{FailureClass, HttpExpect, HttpSpec, OutcomeStatus, TaskOutcome, Work};
use caelum_machines::MachineOptions;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::harness::{Machine, code, program, task};

/// Answers every request with `bytes` and closes the connection. Returns its address and the requests it got.
async fn server(bytes: impl Into<Vec<u8>>) -> (String, mpsc::UnboundedReceiver<String>) {
    let bytes = bytes.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("has one").to_string();
    let (got, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 8192];
            let mut length = 0;
            // A request is whole with its head and as many bytes behind it as the head says.
            while let Ok(read @ 1..) = stream.read(&mut request[length..]).await {
                length += read;
                let text = String::from_utf8_lossy(&request[..length]);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let announced = head
                    .lines()
                    .find_map(|line| {
                        line.to_lowercase().strip_prefix("content-length: ")?.parse().ok()
                    })
                    .unwrap_or(0);
                if body.len() >= announced {
                    break;
                }
            }
            let _ = got.send(String::from_utf8_lossy(&request[..length]).into_owned());
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, requests)
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nSet-Cookie: s=secret\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn send(machine: &Machine, request: HttpSpec) -> TaskOutcome {
    let mut spec = task(program("unused", &[]));
    spec.work = Work::Http(request);
    machine.run_task(&spec, CancellationToken::new()).await
}

fn get(url: String) -> HttpSpec {
    HttpSpec { url, ..HttpSpec::default() }
}

#[tokio::test]
async fn an_answer_becomes_output_and_outputs_and_tells_no_secret() {
    let machine = Machine::new();
    let (address, mut requests) = server(answer("201 Created", "{\"id\": 7}")).await;
    let request = HttpSpec {
        method: "POST".to_owned(),
        headers: BTreeMap::from([("Authorization".to_owned(), "Bearer hidden".to_owned())]),
        body: Some(json!({"name": "x"})),
        ..get(format!("http://{address}/things?token=hidden"))
    };

    let outcome = send(&machine, request).await;

    assert_eq!(outcome.status, OutcomeStatus::Succeeded, "{:?}", outcome.failure);
    assert_eq!(outcome.stdout.text, "{\"id\": 7}");
    assert_eq!(outcome.outputs["status"], 201);
    assert_eq!(outcome.outputs["json"], json!({"id": 7}));
    let told = serde_json::to_string(&outcome).expect("plain JSON");
    assert!(!told.contains("hidden") && !told.contains("secret"), "{told}");
    let got = requests.recv().await.expect("it was asked").to_lowercase();
    assert!(got.starts_with("post /things?token=hidden http/1.1\r\n"), "{got}");
    assert!(got.contains("content-type: application/json\r\n"), "{got}");
    assert!(got.contains("authorization: bearer hidden\r\n"), "{got}");
    assert!(got.contains("idempotency-key: exec-1/build/local\r\n"), "{got}");
    assert!(got.ends_with("{\"name\":\"x\"}"), "{got}");
}

#[tokio::test]
async fn statuses_are_sorted_into_what_may_pass_and_what_stays() {
    let machine = Machine::new();
    for (status, class) in [
        ("503 Service Unavailable", FailureClass::Transient),
        ("429 Too Many Requests", FailureClass::Transient),
        ("404 Not Found", FailureClass::Exit),
        ("302 Found", FailureClass::Exit),
    ] {
        let (address, _requests) = server(answer(status, "no")).await;

        let outcome = send(&machine, get(format!("http://{address}/a?b=hidden"))).await;

        let failure = outcome.failure.clone().expect("not good");
        assert_eq!((outcome.status, failure.class), (OutcomeStatus::Failed, class), "{status}");
        assert_eq!(failure.code, "http_status");
        let number = &status[..3];
        let expected = format!("http://{address}/a answered {number}; expected 200 to 299");
        assert_eq!(failure.message, expected);
        assert_eq!(outcome.stdout.text, "no", "gates may read what was answered");
    }
}

#[tokio::test]
async fn what_is_expected_of_a_body_is_judged() {
    let machine = Machine::new();
    let (address, _requests) = server(answer("200 OK", "{\"status\": \"down\", \"n\": 1}")).await;
    let ask = |expect: HttpExpect| HttpSpec { expect, ..get(format!("http://{address}/")) };
    let json = |value| HttpExpect { json: Some(value), ..HttpExpect::default() };
    let contains =
        |text: &str| HttpExpect { contains: Some(text.to_owned()), ..HttpExpect::default() };

    assert!(send(&machine, ask(json(json!({"n": 1})))).await.succeeded());
    assert!(send(&machine, ask(contains("down"))).await.succeeded());
    let differs = send(&machine, ask(json(json!({"status": "up"})))).await;
    let lacks = send(&machine, ask(contains("ready"))).await;
    let status =
        send(&machine, ask(HttpExpect { status: vec![204], ..HttpExpect::default() })).await;

    let message = |outcome: &TaskOutcome| outcome.failure.clone().expect("unmet").message;
    assert_eq!(code(&differs), "http_expectation");
    assert!(
        message(&differs).ends_with("its JSON differs: `/status` is \"down\"; expected \"up\"")
    );
    assert!(message(&lacks).ends_with("but its body does not hold `ready`"));
    assert!(message(&status).ends_with("answered 200; expected 204"));
}

#[tokio::test]
async fn a_body_that_is_too_long_is_kept_in_part_and_not_judged() {
    let machine = Machine::with(MachineOptions {
        http_body_bytes_max: 1_000,
        output_head_bytes: 10,
        output_tail_bytes: 10,
        ..MachineOptions::default()
    });
    let (address, _requests) = server(answer("200 OK", &"x".repeat(5_000))).await;
    let plain = get(format!("http://{address}/"));
    let judged = HttpSpec {
        expect: HttpExpect { contains: Some("x".to_owned()), ..HttpExpect::default() },
        ..plain.clone()
    };

    let kept = send(&machine, plain).await;
    let refused = send(&machine, judged).await;

    assert!(kept.succeeded() && kept.stdout.truncated);
    assert!(kept.stdout.text.len() < 200, "{}", kept.stdout.text.len());
    assert_eq!(code(&refused), "http_body_too_long");
}

#[tokio::test]
async fn no_answer_is_a_failure_that_may_go_away() {
    let machine = Machine::new();
    let free = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let nobody = free.local_addr().expect("has one");
    drop(free);
    let (broken, _requests) = server("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf").await;
    let (nonsense, _more) = server("hello\n").await;

    let refused = send(&machine, get(format!("http://{nobody}/?key=hidden"))).await;
    let half = send(&machine, get(format!("http://{broken}/"))).await;
    let odd = send(&machine, get(format!("http://{nonsense}/"))).await;

    assert_eq!(code(&refused), "http_refused");
    assert_eq!(code(&half), "http_io");
    assert_eq!(code(&odd), "http_io");
    for outcome in [&refused, &half, &odd] {
        let failure = outcome.failure.clone().expect("no answer");
        assert_eq!(failure.class, FailureClass::Transient, "{failure:?}");
        assert!(!failure.message.contains("hidden"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_is_refused_before_it_is() {
    let machine = Machine::new();
    let bad_header = HttpSpec {
        headers: BTreeMap::from([("a b".to_owned(), "c".to_owned())]),
        ..get("http://127.0.0.1:1/".to_owned())
    };
    for request in [get("ftp://x/".to_owned()), get("nonsense".to_owned()), bad_header] {
        let outcome = send(&machine, request).await;
        assert_eq!(code(&outcome), "invalid_request");
        assert_eq!(outcome.failure.expect("refused").class, FailureClass::Permanent);
    }
}

#[tokio::test]
async fn a_silent_server_runs_into_the_time_limit_and_a_cancel_ends_the_wait() {
    let machine = Machine::new();
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}/", silent.local_addr().expect("has one"));
    let mut spec = task(program("unused", &[]));
    spec.work = Work::Http(get(url));
    spec.run_timeout_ms = 100;

    let timed_out = machine.run_task(&spec, CancellationToken::new()).await;
    spec.run_timeout_ms = 600_000;
    let cancel = CancellationToken::new();
    let asked = async {
        drop(silent.accept().await);
        cancel.cancel();
    };
    let (cancelled, ()) = tokio::join!(machine.run_task(&spec, cancel.clone()), asked);

    assert_eq!(timed_out.status, OutcomeStatus::TimedOut);
    assert_eq!(code(&timed_out), "run_timeout");
    assert_eq!(cancelled.status, OutcomeStatus::Cancelled);
}
