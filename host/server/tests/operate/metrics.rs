//! `/metrics` of the real program: every promised name, in a form that can be parsed, with figures that are what happened.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::harness::{Client, Home};

/// Every family that is promised, with its type.
const FAMILIES: [(&str, &str); 19] = [
    ("caelum_approval_wait_seconds", "histogram"),
    ("caelum_approvals_pending", "gauge"),
    ("caelum_attempts", "counter"),
    ("caelum_commit_batch_size", "histogram"),
    ("caelum_commit_seconds", "histogram"),
    ("caelum_db_bytes", "gauge"),
    ("caelum_heartbeat_lag_seconds", "gauge"),
    ("caelum_leases_expired", "counter"),
    ("caelum_machines", "gauge"),
    ("caelum_runs_finished", "counter"),
    ("caelum_runs_started", "counter"),
    ("caelum_stale_reports", "counter"),
    ("caelum_step_duration_seconds", "histogram"),
    ("caelum_step_overhead_seconds", "histogram"),
    ("caelum_step_queue_seconds", "histogram"),
    ("caelum_steps", "counter"),
    ("caelum_stuck_runs", "gauge"),
    ("caelum_timer_lag_seconds", "histogram"),
    ("caelum_wal_bytes", "gauge"),
];

const GOOD: &str = r#"{"workflow_id": "good", "steps": [
  {"id": "a", "type": "development", "action": {"kind": "command", "program": "true"}},
  {"id": "b", "type": "deployment", "dependencies": ["a"], "action": {"kind": "command", "program": "true"}}]}"#;

const BAD: &str = r#"{"workflow_id": "bad", "steps": [
  {"id": "a", "type": "validation", "retry": {"attempts": 2, "initial_ms": 1, "on": ["exit"]},
   "action": {"kind": "command", "program": "false"}}]}"#;

/// Asks for a path as a plain HTTP client: status, head and body.
fn get(address: SocketAddr, path: &str, header: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    (status, head.to_ascii_lowercase(), body.to_owned())
}

/// What a scrape says.
#[derive(Default)]
struct Scrape {
    types: BTreeMap<String, String>,
    /// By name and labels, as they are written.
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Parses OpenMetrics text, and holds it to the rules that parsers insist on.
    fn parse(text: &str) -> Self {
        let mut scrape = Scrape::default();
        let mut family = String::new();
        let mut ended = false;
        for line in text.lines() {
            assert!(!ended, "a line behind the end: {line}");
            if line == "# EOF" {
                ended = true;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                assert!(scrape.types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
                family = name.to_owned();
            } else if !line.starts_with("# HELP ") {
                assert!(!line.starts_with('#'), "{line}");
                let (sample, value) = line.rsplit_once(' ').expect("a sample and a value");
                let name = sample.split('{').next().expect("a name");
                let suffix = name.strip_prefix(&family).expect("samples stand behind their type");
                let suffixes: &[&str] = match scrape.types[&family].as_str() {
                    "counter" => &["_total"],
                    "histogram" => &["_sum", "_count", "_bucket"],
                    _ => &[""],
                };
                assert!(suffixes.contains(&suffix), "{line}");
                let value = value.parse().expect("a number");
                assert!(scrape.samples.insert(sample.to_owned(), value).is_none(), "twice: {line}");
            }
        }
        assert!(ended, "the end is missing");
        scrape
    }

    #[track_caller]
    fn get(&self, sample: &str) -> f64 {
        *self.samples.get(sample).unwrap_or_else(|| panic!("no {sample} in {:#?}", self.samples))
    }

    /// Returns whether each histogram's buckets only grow, and end with its count.
    fn histograms_are_sound(&self) -> bool {
        let mut last: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (sample, value) in &self.samples {
            let Some((name, labels)) = sample.split_once("_bucket{") else { continue };
            let mut others = Vec::new();
            let mut bound = f64::NAN;
            for label in labels.trim_end_matches('}').split(',') {
                match label.strip_prefix("le=\"") {
                    Some(le) => {
                        let le = le.trim_end_matches('"');
                        bound =
                            if le == "+Inf" { f64::INFINITY } else { le.parse().expect("a bound") };
                    }
                    None => others.push(label),
                }
            }
            let labels = match others.as_slice() {
                [] => String::new(),
                others => format!("{{{}}}", others.join(",")),
            };
            last.entry(format!("{name}_count{labels}")).or_default().push((bound, *value));
        }
        assert!(last.len() >= 10, "{last:#?}");
        last.into_iter().all(|(count, mut buckets)| {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            buckets.is_sorted_by(|a, b| a.1 <= b.1)
                && buckets.last() == Some(&(f64::INFINITY, self.get(&count)))
        })
    }
}

#[test]
fn a_scrape_says_what_happened() {
    let home = Home::new();
    home.write("good.json", GOOD);
    home.write("bad.json", BAD);
    let server = home.serve();
    for _ in 0..3 {
        home.run(&["run", "good.json"]).with(0);
    }
    home.run(&["run", "bad.json"]).with(1);

    let (status, head, body) = get(server.address, "/metrics", "");

    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    let scrape = Scrape::parse(&body);
    let families: Vec<(&str, &str)> =
        scrape.types.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
    assert_eq!(families, FAMILIES);
    assert!(scrape.histograms_are_sound());
    for (sample, value) in [
        ("caelum_runs_started_total", 4.0),
        ("caelum_runs_finished_total{outcome=\"completed\"}", 3.0),
        ("caelum_runs_finished_total{outcome=\"failed\"}", 1.0),
        ("caelum_runs_finished_total{outcome=\"cancelled\"}", 0.0),
        ("caelum_steps_total{type=\"development\",outcome=\"completed\"}", 3.0),
        ("caelum_steps_total{type=\"deployment\",outcome=\"completed\"}", 3.0),
        ("caelum_steps_total{type=\"validation\",outcome=\"failed\"}", 1.0),
        ("caelum_attempts_total{reason=\"first\"}", 7.0),
        ("caelum_attempts_total{reason=\"exit\"}", 1.0),
        ("caelum_step_duration_seconds_count{type=\"deployment\"}", 3.0),
        ("caelum_step_queue_seconds_count", 8.0),
        ("caelum_step_overhead_seconds_count", 3.0),
        ("caelum_leases_expired_total", 0.0),
        ("caelum_stale_reports_total", 0.0),
        ("caelum_approvals_pending", 0.0),
        ("caelum_machines{state=\"online\"}", 1.0),
        ("caelum_heartbeat_lag_seconds", 0.0),
        ("caelum_stuck_runs", 0.0),
    ] {
        assert_eq!(scrape.get(sample), value, "{sample}");
    }
    assert!(
        scrape.get("caelum_commit_batch_size_sum") >= scrape.get("caelum_commit_seconds_count")
    );
    assert!(scrape.get("caelum_db_bytes") > 0.0);
    for sample in scrape.samples.keys() {
        assert!(!sample.contains("good") && !sample.contains("ex_"), "{sample}");
    }
}

#[test]
fn nobody_scrapes_without_being_let_in() {
    let home = Home::new();
    let server = home.serve();

    let (wrong, _, refused) =
        get(server.address, "/metrics", "Authorization: Bearer not-the-token-of-this-server\r\n");
    let (missing, _, known) = get(server.address, "/metrix", "");
    let token = std::fs::read_to_string(home.data().join("token")).expect("a token is made");
    let header = format!("Authorization: Bearer {}\r\n", token.trim());
    let (right, _, _) = get(server.address, "/metrics", &header);

    assert_eq!((wrong, missing, right), (401, 404, 200));
    assert!(!refused.contains("caelum_"), "{refused}");
    assert!(known.contains("/metrics"), "{known}");
}

#[test]
fn reviews_that_wait_are_shown_and_their_wait_is_counted() {
    let home = Home::new();
    let server = home.serve();
    let mut client = Client::connect(server.address);
    let steps = serde_json::json!([{"id": "look", "type": "validation", "validation": "manual-review",
        "action": {"kind": "command", "program": "true"}}]);
    let created = serde_json::json!({"workflow_id": "r", "steps": steps});
    client.call("create_workflow", created).expect("right");
    let started = client
        .call("execute_workflow", serde_json::json!({"workflow_id": "r", "wait_s": 30}))
        .expect("right");
    let id = started["execution_id"].clone();
    let settled = serde_json::json!({"execution_id": id, "wait_s": 30, "wait_until": "settled"});
    client.call("get_workflow_status", settled.clone()).expect("right");

    let waiting = Scrape::parse(&get(server.address, "/metrics", "").2);
    let review = serde_json::json!({"execution_id": id, "step_id": "look", "decision": "approved",
        "reviewer": "ann", "reason": "fine"});
    client.call("review_step", review).expect("right");
    client.call("get_workflow_status", settled).expect("right");
    let after = Scrape::parse(&get(server.address, "/metrics", "").2);

    assert_eq!(waiting.get("caelum_approvals_pending"), 1.0);
    assert_eq!(waiting.get("caelum_approval_wait_seconds_count"), 0.0);
    assert_eq!(after.get("caelum_approvals_pending"), 0.0);
    assert_eq!(after.get("caelum_approval_wait_seconds_count"), 1.0);
}

#[test]
fn the_dashboards_monitor_reads_the_figures_as_json() {
    let home = Home::new();
    home.write("good.json", GOOD);
    home.write("bad.json", BAD);
    let server = home.serve();
    home.run(&["run", "good.json"]).with(0);
    home.run(&["run", "bad.json"]).with(1);
    let monitor = "User-Agent: Python/3.12 aiohttp/3.9.1\r\nAccept: */*\r\n";

    let (health_status, health_head, health) = get(server.address, "/health", monitor);
    let (status, head, body) = get(server.address, "/api/metrics", monitor);

    let health: serde_json::Value = serde_json::from_str(&health).expect("JSON");
    assert_eq!((health_status, &health["status"]), (200, &serde_json::json!("healthy")));
    for head in [&health_head, &head] {
        assert!(head.contains("content-type: application/json"), "{head}");
        let time = head.lines().find_map(|line| line.strip_prefix("x-response-time: "));
        assert!(time.and_then(|time| time.parse::<f64>().ok()).is_some(), "{head}");
    }
    assert_eq!(status, 200);
    let figures: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    for (member, value) in [
        ("/service", serde_json::json!("caelum-workflow-orchestration")),
        ("/executions/started", serde_json::json!(2)),
        ("/executions/ended/completed", serde_json::json!(1)),
        ("/executions/ended/failed", serde_json::json!(1)),
        ("/executions/success_rate", serde_json::json!(0.5)),
        ("/executions/approvals_pending", serde_json::json!(0)),
        ("/executions/stuck", serde_json::json!(0)),
        ("/steps/completed", serde_json::json!(2)),
        ("/steps/failed", serde_json::json!(1)),
        ("/attempts/first", serde_json::json!(3)),
        ("/machines/online", serde_json::json!(1)),
    ] {
        assert_eq!(figures.pointer(member), Some(&value), "{member} in {figures:#}");
    }
    for number in [
        "/uptime_s",
        "/connections",
        "/step_queue/count",
        "/step_queue/mean_ms",
        "/step_overhead/mean_ms",
        "/approval_wait/count",
        "/timer_lag/count",
        "/store/database_bytes",
        "/store/wal_bytes",
        "/store/commits/mean_ms",
    ] {
        assert!(figures.pointer(number).is_some_and(|value| value.is_number()), "{number}");
    }
    assert!(figures["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')));
    let executions = figures["workflow_executions"].as_array().expect("a list");
    let of = |workflow: &str| {
        executions.iter().find(|row| row["workflow_id"] == workflow).expect("it ended")
    };
    assert_eq!(executions.len(), 2, "{figures:#}");
    // The members that the guide's metrics client sends.
    assert_eq!(
        (&of("good")["success"], &of("good")["step_count"], &of("good")["machine_count"]),
        (&serde_json::json!(true), &serde_json::json!(2), &serde_json::json!(1))
    );
    assert_eq!(
        (&of("bad")["success"], &of("bad")["step_count"]),
        (&serde_json::json!(false), &serde_json::json!(0))
    );
    assert!(of("bad")["execution_time"].as_f64().is_some_and(|seconds| seconds >= 0.0));
    let (refused, _, _) =
        get(server.address, "/api/metrics", "Authorization: Bearer nobody-has-this-token\r\n");
    assert_eq!(refused, 401);
}
