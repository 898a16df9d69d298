//! Probes against real sockets, files and programs.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use caelum_core::evidence::ProbeAnswer;
use caelum_core::id::MachineId;
use caelum_core::task::{CommandSpec, Probe, ProbeKind};
use caelum_machines::Fabric;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::{Machine, program, shell};

/// Answers every connection with `bytes` and closes it. Returns its address.
async fn server(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("has one").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

fn http(url: String) -> ProbeKind {
    ProbeKind::Http { url, headers: BTreeMap::new() }
}

fn said(answer: &ProbeAnswer) -> (bool, &str) {
    (answer.ok, answer.answer["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn http_tells_status_headers_and_body() {
    let machine = Machine::new();
    let address = server(
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nSet-Cookie: session=secret\r\nX-A: 1\r\nX-A: 2\r\nConnection: close\r\n\r\n{\"status\":\"down\"}"
            .to_vec(),
    )
    .await;

    let answer = machine.probe(http(format!("http://{address}/health"))).await;

    assert!(answer.ok, "a 503 is an answer");
    assert_eq!((answer.name.as_str(), answer.kind.as_str()), ("p", "http"));
    assert_eq!(answer.answer["status"], 503);
    assert_eq!(answer.answer["body"], "{\"status\":\"down\"}");
    assert_eq!(answer.answer["body_bytes"], 17);
    assert_eq!(answer.answer["body_truncated"], false);
    assert_eq!(answer.answer["headers"]["content-type"], "application/json");
    assert_eq!(answer.answer["headers"]["x-a"], "1, 2");
    assert!(!answer.answer.to_string().contains("secret"), "{}", answer.answer);
}

#[tokio::test]
async fn http_does_not_follow_redirects() {
    let machine = Machine::new();
    let address = server(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: 0\r\n\r\n".to_vec(),
    )
    .await;

    let answer = machine.probe(http(format!("http://{address}/"))).await;

    assert_eq!(answer.answer["status"], 302);
    assert_eq!(answer.answer["headers"]["location"], "http://127.0.0.1:1/elsewhere");
}

#[tokio::test]
async fn http_keeps_the_beginning_of_a_large_body() {
    let machine = Machine::new();
    let mut bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    bytes.extend(std::iter::repeat_n(b'x', 1_000_000));
    let address = server(bytes).await;

    let answer = machine.probe(http(format!("http://{address}/"))).await;

    assert_eq!(answer.answer["body_bytes"], 65_536);
    assert_eq!(answer.answer["body_truncated"], true);
}

#[tokio::test]
async fn http_tells_a_body_that_broke_off() {
    let machine = Machine::new();
    let address = server(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec()).await;

    let answer = machine.probe(http(format!("http://{address}/"))).await;

    assert_eq!(answer.answer["status"], 200);
    assert_eq!(answer.answer["body"], "short");
    assert!(answer.answer["body_error"].is_string(), "{}", answer.answer);
}

#[tokio::test]
async fn http_without_an_answer_says_why() {
    let machine = Machine::new();
    let not_http = server(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()).await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        listener.local_addr().expect("has one")
    };

    let garbage = machine.probe(http(format!("http://{not_http}/"))).await;
    let refused = machine.probe(http(format!("http://{closed}/"))).await;
    let tls = machine.probe(http(format!("https://{not_http}/"))).await;
    let scheme = machine.probe(http("file:///etc/passwd".to_owned())).await;
    let bad = machine.probe(http("not a url".to_owned())).await;
    let header = machine
        .probe(ProbeKind::Http {
            url: format!("http://{closed}/"),
            headers: [("x".to_owned(), "a\r\nb: c".to_owned())].into(),
        })
        .await;

    assert_eq!(said(&garbage), (false, "io"), "{}", garbage.answer);
    assert_eq!(said(&refused), (false, "refused"), "{}", refused.answer);
    assert_eq!(said(&tls), (false, "tls"), "{}", tls.answer);
    for invalid in [scheme, bad, header] {
        assert_eq!(said(&invalid), (false, "invalid"), "{}", invalid.answer);
    }
    assert_eq!(refused.answer["url"], format!("http://{closed}/"));
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_timeout() {
    let machine = Machine::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("has one");
    let probe =
        Probe { name: "p".to_owned(), kind: http(format!("http://{address}/")), timeout_ms: 200 };
    let start = Instant::now();

    let answer = machine.fabric.probe(&MachineId::local(), &probe).await;

    assert_eq!(said(&answer), (false, "timeout"), "{}", answer.answer);
    assert_eq!(answer.answer["error"], "no answer within 200 ms");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn tcp_tells_connected_refused_and_invalid() {
    let machine = Machine::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("has one").to_string();

    let open = machine.probe(ProbeKind::Tcp { address: address.clone() }).await;
    drop(listener);
    let closed = machine.probe(ProbeKind::Tcp { address: address.clone() }).await;

    assert_eq!((open.ok, &open.answer["peer"]), (true, &json!(address)));
    assert_eq!(said(&closed), (false, "refused"));
    assert_eq!(closed.answer["connected"], false);
    for bad in ["localhost", ":80", "localhost:0", "localhost:99999", "", "a b:c"] {
        let answer = machine.probe(ProbeKind::Tcp { address: bad.to_owned() }).await;
        assert_eq!(said(&answer), (false, "invalid"), "{bad}");
    }
}

#[tokio::test]
async fn command_tells_exit_code_and_output() {
    let machine = Machine::new();

    let failed = machine.probe(ProbeKind::Command(shell("echo no; exit 2"))).await;
    let missing = machine.probe(ProbeKind::Command(program("no-such-program-4711", &[]))).await;
    let outside = CommandSpec { cwd: Some("/".to_owned()), ..program("true", &[]) };
    let outside = machine.probe(ProbeKind::Command(outside)).await;

    assert!(failed.ok, "it ran to its end");
    assert_eq!(failed.answer["exit_code"], 2);
    assert_eq!(failed.answer["signal"], Value::Null);
    assert_eq!(
        failed.answer["stdout"],
        json!({"text": "no\n", "total_bytes": 3, "truncated": false})
    );
    assert_eq!(said(&missing), (false, "unavailable"), "{}", missing.answer);
    assert_eq!(said(&outside), (false, "denied"), "{}", outside.answer);
    assert_eq!(outside.answer["program"], "true");
    assert_eq!(machine.records(), 0);
}

#[tokio::test]
async fn command_that_runs_too_long_is_ended_and_shown() {
    let machine = Machine::new();
    let kind = ProbeKind::Command(shell("echo begun; sleep 1000"));
    let probe = Probe { name: "p".to_owned(), kind, timeout_ms: 3_000 };

    let answer = machine.fabric.probe(&MachineId::local(), &probe).await;

    assert_eq!(said(&answer), (false, "timeout"));
    assert_eq!(answer.answer["timed_out"], true);
    assert_eq!(answer.answer["stdout"]["text"], "begun\n");
}

#[tokio::test]
async fn file_tells_what_stands_at_a_path() {
    let machine = Machine::new();
    machine.write("a/version.txt", "1.4.0\n");
    machine.write("big", &"x".repeat(65_537));
    let root = machine.root.path().canonicalize().expect("is there");
    let look = async |path: &str| machine.probe(ProbeKind::File { path: path.to_owned() }).await;

    let file = look("a/version.txt").await;
    assert_eq!(file.answer["text"], "1.4.0\n");
    assert_eq!((&file.answer["type"], &file.answer["size"]), (&json!("file"), &json!(6)));
    assert!(file.answer["modified_at"].as_str().expect("a time").starts_with("20"));
    let absolute = look(root.join("a/version.txt").to_str().expect("UTF-8")).await;
    assert_eq!(absolute.answer["text"], "1.4.0\n");
    let big = look("big").await;
    assert_eq!((&big.answer["size"], &big.answer["truncated"]), (&json!(65_537), &json!(true)));
    assert_eq!(big.answer["text"].as_str().map(str::len), Some(65_536));
    let directory = look("a").await;
    assert_eq!(directory.answer["type"], "directory");
    assert_eq!(look(".").await.answer["type"], "directory");
    for missing in ["nowhere", "a/version.txt/x"] {
        let missing = look(missing).await;
        assert_eq!((missing.ok, &missing.answer["exists"]), (true, &json!(false)));
    }
}

#[tokio::test]
async fn file_never_looks_outside_the_roots() {
    let machine = Machine::new();
    symlink("/etc/passwd", machine.root.path().join("link")).expect("links");

    for path in ["/etc/passwd", "../../../etc/passwd", "link", "a/../../x"] {
        let answer = machine.probe(ProbeKind::File { path: path.to_owned() }).await;
        assert!(!answer.answer.to_string().contains("root:x"), "{path}: {}", answer.answer);
        assert!(answer.answer.get("text").is_none(), "{path}: {}", answer.answer);
    }
    let denied = machine.probe(ProbeKind::File { path: "link".to_owned() }).await;
    assert_eq!(said(&denied), (false, "denied"));
}

#[tokio::test]
async fn env_tells_names_and_never_values() {
    let machine = Machine::new();
    let names = ["PATH", "NO_SUCH_VARIABLE_4711", "", "A=B", "A\0B"].map(str::to_owned).to_vec();

    let answer = machine.probe(ProbeKind::Env { names }).await;

    assert!(answer.ok);
    assert_eq!(answer.answer["set"], json!(["PATH"]));
    assert_eq!(answer.answer["missing"], json!(["NO_SUCH_VARIABLE_4711", "", "A=B", "A\0B"]));
    assert!(!answer.answer.to_string().contains("/bin"));
}

#[tokio::test]
async fn port_tells_who_listens_and_who_claims() {
    let machine = Machine::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("has one").port();
    let own = format!("service-{port}");

    let taken = machine.probe(ProbeKind::Port { port, service: Some(own.clone()) }).await;
    drop(listener);
    let free = machine.probe(ProbeKind::Port { port, service: Some("other".to_owned()) }).await;
    let zero = machine.probe(ProbeKind::Port { port: 0, service: None }).await;

    assert_eq!(taken.answer["listening"], true, "{}", taken.answer);
    assert_eq!(taken.answer["listeners"][0]["pid"], std::process::id());
    assert_eq!(taken.answer["listeners"][0]["address"], format!("127.0.0.1:{port}"));
    assert_eq!(taken.answer["claim"], json!({"service": own, "project": null}));
    assert_eq!(taken.answer["claim_matches"], true);
    assert_eq!(
        (&free.answer["listening"], &free.answer["claim_matches"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(said(&zero), (false, "invalid"));
}

#[tokio::test]
async fn systemd_answers_or_says_that_it_cannot() {
    let machine = Machine::new();

    let answer =
        machine.probe(ProbeKind::Systemd { unit: "no-such-unit-4711.service".to_owned() }).await;

    if answer.ok {
        assert_eq!(answer.answer["properties"]["LoadState"], "not-found");
    } else {
        assert_eq!(said(&answer), (false, "unavailable"), "{}", answer.answer);
    }
    assert_eq!(answer.answer["unit"], "no-such-unit-4711.service");
    for bad in ["--help", "a b", "", "a;b", "a/b"] {
        let answer = machine.probe(ProbeKind::Systemd { unit: bad.to_owned() }).await;
        assert_eq!(said(&answer), (false, "invalid"), "{bad}");
    }
}

#[tokio::test]
async fn a_machine_that_is_not_known_is_unreachable() {
    let machine = Machine::new();
    let probe =
        Probe { name: "p".to_owned(), kind: ProbeKind::Env { names: vec![] }, timeout_ms: 1000 };

    let answer = machine.fabric.probe(&"elsewhere".parse().expect("legal"), &probe).await;

    assert_eq!(said(&answer), (false, "unreachable"));
}

/// Runs another test of this file in a process that finds no certificates.
#[test]
fn a_machine_without_certificates_still_probes() {
    let output = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "probe::http_without_an_answer_says_why"])
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent")
        .output()
        .expect("starts");

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
