//! Verdicts on probes as hosts take them, and on answers that look good and are not.

use caelum_sdk::testing::{FakeTarget, check_validator, evidence, exited, judge, probe};
use caelum_sdk::{Evidence, Probe, Verdict, VerdictKind};
use serde_json::{Value, json};
use startup_validation::StartupValidation;

const ACTUATOR: &str = include_str!("../fixtures/actuator.json");
const DOCKER: &str = include_str!("../fixtures/docker-inspect.json");
const SPA: &str = include_str!("../fixtures/index.html");

fn in_phase(phase: &str, probes: Vec<Probe>, parameters: Value) -> Verdict {
    let mut run = Evidence { probes, ..evidence(vec![]) };
    run.extensions.insert("phase".into(), json!(phase));
    if phase == "after" {
        run.outcomes.push(exited("local", 0));
    }
    judge::<StartupValidation>(&run, &FakeTarget::new(), parameters).expect("a verdict")
}

fn after(probe: Probe) -> Verdict {
    in_phase("after", vec![probe], json!({}))
}

fn http(status: u16, kind: &str, body: &str) -> Probe {
    let answer = json!({"url": "http://127.0.0.1:8080/health", "status": status, "body": body, "body_truncated": false,
                        "headers": {"content-type": kind}, "duration_ms": 12});
    probe("health", "http", answer)
}

fn unanswered(kind: &str, code: &str) -> Probe {
    Probe { ok: false, ..probe("x", kind, json!({"error": "it did not work", "code": code})) }
}

fn code(verdict: &Verdict) -> (VerdictKind, &str) {
    (verdict.kind, verdict.reasons.first().map_or("", |reason| reason.code.as_str()))
}

use VerdictKind::{Fail, Inconclusive, Pass};

#[test]
fn it_keeps_the_contract() {
    check_validator::<StartupValidation>();
}

#[test]
fn no_probe_says_how_to_add_one() {
    let verdict = in_phase("before", vec![], json!({"required": ["db"]}));
    assert_eq!(code(&verdict), (Inconclusive, "no-probe"));
    assert!(verdict.summary.contains(r#"{"name": "db", "kind": "http""#), "{}", verdict.summary);
    let verdict = in_phase(
        "after",
        vec![http(200, "", "")],
        json!({"required": ["db"], "expect": {"cache": {}}}),
    );
    assert_eq!((verdict.kind, verdict.reasons.len()), (Inconclusive, 2));
}

#[test]
fn http_answers_are_read_and_not_only_their_status() {
    for (probe, expected) in [
        (http(200, "application/json", r#"{"status":"ok"}"#), (Pass, "")),
        (http(204, "", ""), (Pass, "")),
        (http(200, "application/json", r#"{"status":"down"}"#), (Fail, "unhealthy")),
        (http(200, "application/vnd.spring-boot.actuator.v3+json", ACTUATOR), (Fail, "unhealthy")),
        (http(200, "text/html; charset=utf-8", SPA), (Inconclusive, "html-answer")),
        (
            http(200, "text/plain", "[+]ping ok\n[-]etcd failed: reason withheld\n"),
            (Fail, "unhealthy"),
        ),
        (http(200, "application/json", "{"), (Fail, "no-json")),
        (http(503, "application/json", r#"{"status":"ok"}"#), (Fail, "wrong-status")),
        (http(404, "", "not found"), (Fail, "wrong-status")),
        (unanswered("http", "refused"), (Fail, "no-answer")),
        (unanswered("http", "timeout"), (Fail, "no-answer")),
        (unanswered("http", "denied"), (Inconclusive, "probe-failed")),
        (probe("x", "http", json!({})), (Inconclusive, "malformed-answer")),
    ] {
        let verdict = after(probe.clone());
        assert_eq!(code(&verdict), expected, "{probe:?}: {}", verdict.summary);
    }
    let verdict = after(http(200, "application/vnd.spring-boot.actuator.v3+json", ACTUATOR));
    assert!(verdict.summary.contains("`/components/db/status` is \"DOWN\""), "{}", verdict.summary);
    let mut moved = http(302, "", "");
    moved.answer["headers"]["location"] = json!("/login");
    assert_eq!(code(&after(moved)), (Fail, "redirected"));
}

#[test]
fn expectations_tell_builds_and_pages_apart() {
    let health = http(200, "application/json", r#"{"status":"ok","version":"1.3.0"}"#);
    let with = |expect: Value| {
        in_phase("after", vec![health.clone()], json!({"expect": {"health": expect}}))
    };
    assert_eq!(with(json!({"json": {"/version": "1.3.0"}})).kind, Pass);
    assert_eq!(code(&with(json!({"json": {"/version": "1.4.0"}}))), (Fail, "value-differs"));
    assert_eq!(code(&with(json!({"json": {"/build": 7}}))), (Fail, "value-missing"));
    assert_eq!(code(&with(json!({"max_duration_ms": 5}))), (Fail, "too-slow"));
    assert_eq!(code(&with(json!({"lacks": ["ok"]}))), (Fail, "text-forbidden"));
    assert_eq!(code(&with(json!({"status": [201, 202]}))), (Fail, "wrong-status"));
    let page = in_phase(
        "after",
        vec![http(200, "text/html", SPA)],
        json!({"expect": {"health": {"contains": ["<title>Notes</title>"]}}}),
    );
    assert_eq!(page.kind, Pass);
    let mut cut = http(200, "application/json", r#"{"status":"#);
    cut.answer["body_truncated"] = json!(true);
    assert_eq!(code(&after(cut)), (Inconclusive, "answer-truncated"));
}

#[test]
fn a_degraded_service_passes_only_when_allowed() {
    let probe = http(200, "application/health+json", r#"{"status":"warn"}"#);
    assert_eq!(code(&after(probe.clone())), (Fail, "degraded"));
    assert_eq!(in_phase("after", vec![probe], json!({"allow_degraded": true})).kind, Pass);
}

#[test]
fn ports_belong_to_somebody() {
    let port = |listening: bool, process: Value, claim: Value| {
        let listeners = if listening {
            json!([{"address": "127.0.0.1:8113", "pid": 4711, "process": process}])
        } else {
            json!([])
        };
        let matches = claim.as_str().map(|service| service == "notes");
        probe(
            "port",
            "port",
            json!({"port": 8113, "listening": listening, "listeners": listeners,
              "claim": claim.as_str().map(|service| json!({"service": service})), "expected_service": "notes", "claim_matches": matches}),
        )
    };
    let none = Value::Null;
    assert_eq!(
        in_phase("before", vec![port(false, none.clone(), none.clone())], json!({})).kind,
        Pass
    );
    let verdict = in_phase("before", vec![port(true, json!("python3"), none.clone())], json!({}));
    assert_eq!(code(&verdict), (Fail, "port-in-use"));
    assert!(verdict.summary.contains("in use by `python3` (process 4711)"), "{}", verdict.summary);
    assert_eq!(
        code(&in_phase("before", vec![port(false, none.clone(), json!("grafana"))], json!({}))),
        (Fail, "port-claimed")
    );
    assert_eq!(after(port(true, json!("notes"), json!("notes"))).kind, Pass);
    assert_eq!(code(&after(port(false, none.clone(), none.clone()))), (Fail, "not-listening"));
    let expect = json!({"expect": {"port": {"process": "notes"}}});
    assert_eq!(
        code(&in_phase("after", vec![port(true, json!("python3"), none.clone())], expect.clone())),
        (Fail, "other-process")
    );
    assert_eq!(
        code(&in_phase("after", vec![port(true, none.clone(), none.clone())], expect.clone())),
        (Inconclusive, "unknown-process")
    );
    assert_eq!(in_phase("after", vec![port(true, json!("notes"), none)], expect).kind, Pass);
}

#[test]
fn connections_files_variables_and_programs_are_judged() {
    let absent = json!({"expect": {"x": {"absent": true}}});
    let tcp = probe("x", "tcp", json!({"address": "db:5432", "connected": true, "duration_ms": 1}));
    let file = |exists: bool| {
        probe(
            "x",
            "file",
            json!({"path": "v.txt", "exists": exists, "size": 6, "text": "1.4.0\n", "truncated": false}),
        )
    };
    let env =
        |missing: Value| probe("x", "env", json!({"set": ["A"], "empty": [], "missing": missing}));
    let run = |code: i32, stdout: &str| {
        probe(
            "x",
            "command",
            json!({"exit_code": code, "signal": null, "timed_out": false,
              "stdout": {"text": stdout, "truncated": false}, "stderr": {"text": "no such host\n", "truncated": false}}),
        )
    };
    for (probe, parameters, expected) in [
        (tcp.clone(), json!({}), (Pass, "")),
        (tcp, absent.clone(), (Fail, "still-there")),
        (unanswered("tcp", "refused"), absent.clone(), (Pass, "")),
        (unanswered("tcp", "refused"), json!({}), (Fail, "no-answer")),
        (unanswered("tcp", "timeout"), absent.clone(), (Fail, "no-answer")),
        (file(true), json!({"expect": {"x": {"contains": ["1.4.0"]}}}), (Pass, "")),
        (file(true), json!({"expect": {"x": {"contains": ["1.5.0"]}}}), (Fail, "text-missing")),
        (file(false), json!({}), (Fail, "file-missing")),
        (file(false), absent.clone(), (Pass, "")),
        (env(json!([])), json!({}), (Pass, "")),
        (env(json!(["B"])), json!({}), (Fail, "variable-missing")),
        (env(json!([])), absent, (Fail, "still-there")),
        (run(0, "done"), json!({}), (Pass, "")),
        (run(2, ""), json!({}), (Fail, "nonzero-exit")),
        (run(2, ""), json!({"expect": {"x": {"exit_codes": [2]}}}), (Pass, "")),
        (run(0, DOCKER), json!({}), (Fail, "unhealthy")),
        (run(0, &DOCKER.replace("\"unhealthy\"", "\"healthy\"")), json!({}), (Pass, "")),
        (unanswered("command", "unavailable"), json!({}), (Inconclusive, "probe-failed")),
        (probe("x", "smoke-signal", json!({})), json!({}), (Inconclusive, "unknown-kind")),
    ] {
        let verdict = in_phase("after", vec![probe.clone()], parameters);
        assert_eq!(code(&verdict), expected, "{probe:?}: {}", verdict.summary);
    }
}

#[test]
fn units_must_run_and_not_only_be_active() {
    let unit = |changes: Value| {
        let mut properties = json!({"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "Result": "success",
            "Type": "simple", "NRestarts": "0", "ActiveEnterTimestamp": "Thu 2026-01-01 12:00:01 UTC"});
        for (key, value) in changes.as_object().expect("an object") {
            properties[key] = value.clone();
        }
        probe("unit", "systemd", json!({"unit": "notes.service", "properties": properties}))
    };
    for (changes, expected) in [
        (json!({}), (Pass, "")),
        (json!({"SubState": "exited"}), (Fail, "unit-exited")),
        (json!({"SubState": "exited", "Type": "oneshot"}), (Pass, "")),
        (
            json!({"ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code"}),
            (Fail, "unit-not-active"),
        ),
        (json!({"ActiveState": "failed", "SubState": "failed"}), (Fail, "unit-not-active")),
        (json!({"LoadState": "not-found", "ActiveState": "inactive"}), (Fail, "no-such-unit")),
    ] {
        assert_eq!(code(&after(unit(changes.clone()))), expected, "{changes}");
    }
    let later = Probe {
        taken_at: "2026-01-01T12:00:09Z".into(),
        name: "again".into(),
        ..unit(json!({"NRestarts": "3"}))
    };
    assert_eq!(
        code(&in_phase("after", vec![unit(json!({})), later], json!({}))),
        (Fail, "unit-restarts")
    );
    let fresh = json!({"expect": {"unit": {"started_in_attempt": true, "max_restarts": 0}}});
    assert_eq!(in_phase("after", vec![unit(json!({}))], fresh.clone()).kind, Pass);
    let old = unit(json!({"ActiveEnterTimestamp": "Wed 2025-12-31 12:00:00 UTC"}));
    assert_eq!(code(&in_phase("after", vec![old], fresh.clone())), (Fail, "started-before"));
    let local = unit(json!({"ActiveEnterTimestamp": "Thu 2026-01-01 13:00:01 CET"}));
    assert_eq!(code(&in_phase("after", vec![local], fresh)), (Inconclusive, "start-unknown"));
}

#[test]
fn a_probe_from_before_the_attempt_shows_nothing() {
    let stale = Probe {
        taken_at: "2026-01-01T11:00:00Z".into(),
        ..http(200, "application/json", r#"{"status":"ok"}"#)
    };
    assert_eq!(code(&after(stale)), (Inconclusive, "stale-probe"));
}

#[test]
fn all_faults_are_told_at_once() {
    let probes = vec![
        http(503, "", ""),
        unanswered("tcp", "refused"),
        unanswered("file", "denied"),
        http(200, "", "ok"),
    ];
    let verdict = in_phase("after", probes, json!({"min_probes": 9}));
    let codes: Vec<_> = verdict.reasons.iter().map(|reason| reason.code.as_str()).collect();
    assert_eq!(codes, ["wrong-status", "no-answer", "probe-failed", "too-few-probes"]);
    assert_eq!(
        verdict.summary,
        "http `health` on `local`: it answers 503; expected 200 to 299 (and 1 more)"
    );
}

#[test]
fn contradicting_expectations_are_refused() {
    let run = evidence(vec![]);
    let parameters =
        json!({"expect": {"a": {"absent": true, "listening": true, "json": {"status": "ok"}}}});
    let error = judge::<StartupValidation>(&run, &FakeTarget::new(), parameters)
        .expect_err("cannot be")
        .to_string();
    assert!(
        error.contains("/expect/a/json/status") && error.contains("exclude each other"),
        "{error}"
    );
}

#[test]
fn a_gate_can_ask_for_some_of_the_probes() {
    let probes = || {
        vec![
            Probe { name: "port".into(), ..unanswered("tcp", "refused") },
            http(200, "application/json", r#"{"status":"ok"}"#),
        ]
    };
    assert_eq!(code(&in_phase("after", probes(), json!({}))), (Fail, "no-answer"));
    assert_eq!(in_phase("after", probes(), json!({"only": ["health"]})).kind, Pass);
    let free = json!({"only": ["port"], "expect": {"port": {"absent": true}}});
    assert_eq!(in_phase("before", probes(), free).kind, Pass);
    assert_eq!(
        code(&in_phase("after", probes(), json!({"only": ["health", "db"]}))),
        (Inconclusive, "probe-missing")
    );
    assert_eq!(
        code(&in_phase("after", probes(), json!({"only": ["db"]}))),
        (Inconclusive, "no-probe")
    );
}
