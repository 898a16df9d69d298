//! The promises, each with a process that is killed: what was answered is on disk, what was completed never runs again,
//! what was under way goes on by itself, and a component is before or after and never between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use caelum_tests::{Client, Home, Server, Witness, until};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{home, step, words};

/// Steps in chains beside each other, each of which leaves its name with the witness and then takes a while.
fn chains(witness: &Witness, chains: usize, length: usize, milliseconds: u32) -> Value {
    let mut steps = Vec::new();
    for chain in 0..chains {
        for place in 0..length {
            let id = format!("c{chain}-{place}");
            let before: Vec<String> =
                place.checked_sub(1).map(|place| format!("c{chain}-{place}")).into_iter().collect();
            steps.push(json!({
                "id": id, "type": "development", "dependencies": before,
                "action": witness.action(&id, milliseconds),
                // A crash is nobody's fault and is counted apart; what fails here otherwise should be seen.
                "retry": {"attempts": 1},
            }));
        }
    }
    json!(steps)
}

/// Starts the server again and connects to it.
async fn restart(home: &Home) -> (Server, Client) {
    let server = home.serve().await;
    let client = server.client().await;
    (server, client)
}

/// What is known of completed steps at one moment: which they are, and how often each had run.
struct Known {
    completed: BTreeSet<String>,
    runs: BTreeMap<String, usize>,
}

impl Known {
    /// Takes the steps from a status that was answered, and the runs from the witness once the server is dead.
    fn of(status: &Value, witness: &Witness) -> Self {
        let completed = words(&status["completed_steps"]).into_iter().map(str::to_owned).collect();
        Self { completed, runs: witness.counts() }
    }

    /// Asserts that no step that was known to be completed has run again, or been forgotten.
    fn hold(&self, status: &Value, witness: &Witness) {
        let now: BTreeSet<String> =
            words(&status["completed_steps"]).into_iter().map(str::to_owned).collect();
        let forgotten: Vec<_> = self.completed.difference(&now).collect();
        assert!(forgotten.is_empty(), "completions that were answered are gone: {forgotten:?}");
        let runs = witness.counts();
        for step in &self.completed {
            assert_eq!(runs.get(step), self.runs.get(step), "`{step}` was completed and ran again");
        }
    }
}

#[tokio::test]
async fn an_execution_goes_on_after_kill_9_and_no_completed_step_runs_again() {
    let home = home();
    let witness = Witness::new(home.path().join("witness"));
    let (server, client) = restart(&home).await;
    client.create("long", chains(&witness, 2, 6, 40)).await;
    let execution = client.execute("long").await;
    let some_done = |status: &Value| words(&status["completed_steps"]).len() >= 3;
    let status = client.wait_for(&execution, "to complete three steps", some_done).await;
    assert_eq!(status["status"], "executing", "there must be something left to do: {status:#}");

    server.kill();
    let known = Known::of(&status, &witness);
    let (_server, client) = restart(&home).await;
    let resumed = client.status(&execution).await;
    let done = client.ended(&execution, "completed").await;

    known.hold(&resumed, &witness);
    known.hold(&done, &witness);
    assert_eq!(words(&done["completed_steps"]).len(), 12);
    let runs = witness.counts();
    assert_eq!(runs.len(), 12, "every step ran");
    assert!(runs.values().all(|count| *count <= 2), "one crash, one repetition at most: {runs:?}");
}

#[tokio::test]
async fn ten_kills_at_random_moments_lose_nothing_and_repeat_nothing_completed() {
    const ROUNDS: usize = 10;
    let seed = rand::rng().random::<u64>();
    eprintln_seed(seed);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let home = home();
    let witness = Witness::new(home.path().join("witness"));
    let (server, client) = restart(&home).await;
    client.create("long", chains(&witness, 3, 24, 20)).await;
    let execution = client.execute("long").await;
    let mut server = Some(server);
    let mut client = client;

    for _ in 0..ROUNDS {
        // The moment is what varies: within a step, between two, within the very commit. It counts from the start of the
        // server, so that starting is among what is interrupted.
        let moment = Duration::from_micros(random.random_range(0..250_000));
        tokio::time::sleep(moment).await;
        let status = client.status(&execution).await;
        server.take().expect("there is one in each round").kill();
        let known = Known::of(&status, &witness);
        let (next, connected) = restart(&home).await;
        let resumed = connected.status(&execution).await;
        known.hold(&resumed, &witness);
        (server, client) = (Some(next), connected);
        if resumed["status"] == "completed" {
            break;
        }
    }
    let done = client.ended(&execution, "completed").await;

    assert_eq!(words(&done["completed_steps"]).len(), 3 * 24);
    let runs = witness.counts();
    assert_eq!(runs.len(), 3 * 24, "every step ran");
    let repeated: usize = runs.values().map(|count| count - 1).sum();
    assert!(repeated <= 3 * ROUNDS, "each crash repeats at most what was under way: {runs:?}");
}

#[tokio::test]
async fn an_execution_goes_on_before_anybody_asks_about_it() {
    let home = home();
    let witness = Witness::new(home.path().join("witness"));
    let (server, client) = restart(&home).await;
    client.create("long", chains(&witness, 1, 8, 30)).await;
    let execution = client.execute("long").await;
    until("the first steps to run", || (witness.words().len() >= 2).then_some(())).await;

    server.kill();
    let server = home.serve().await;
    until("the last step to run", || witness.counts().contains_key("c0-7").then_some(())).await;

    server.client().await.ended(&execution, "completed").await;
}

#[tokio::test]
async fn a_step_that_applies_a_pattern_is_killed_at_any_moment_and_applies_once() {
    const ROUNDS: u32 = 8;
    let seed = rand::rng().random::<u64>();
    eprintln_seed(seed);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let home = home();
    let project = home.project("service").with_service();
    let before = project.files();
    let (mut server, mut client) = restart(&home).await;
    let steps = json!([{"id": "declare", "type": "development", "action": {
        "kind": "pattern", "pattern": "infrastructure-enforcement", "target": "service",
        "parameters": {"component_name": "notes"},
    }}]);
    client.create("declare", steps).await;
    let mut after = None;
    let mut usual = Duration::ZERO;

    for round in 0..=ROUNDS {
        let started = Instant::now();
        let execution = client.execute("declare").await;
        // The first round is left alone, to know what comes of it and how long it takes.
        if round > 0 {
            let moment: Duration = usual.mul_f64(random.random_range(0.0..1.2));
            tokio::time::sleep(moment).await;
            server.kill();
            (server, client) = restart(&home).await;
        }
        let done = client.ended(&execution, "completed").await;
        usual = usual.max(started.elapsed()).min(Duration::from_secs(2));

        let outputs = &step(&done, "declare")["outputs"];
        assert_eq!(outputs["status"], "applied", "{done:#}");
        let files = project.files();
        assert!(*after.get_or_insert_with(|| files.clone()) == files, "round {round}");
        let revert = json!({"application_id": outputs["application_id"]});
        client.ok("revert_pattern_application", revert).await;
        assert!(project.files() == before, "round {round}: what it says it did is all it did");
    }
}

/// Says with which seed to see the same again; shown by the test runner when the test fails.
#[expect(clippy::print_stderr, reason = "a failing test must say how to repeat it")]
fn eprintln_seed(seed: u64) {
    eprintln!("seed: {seed}");
}

#[tokio::test]
async fn what_was_answered_is_on_disk() {
    let home = home();
    let (server, client) = restart(&home).await;
    let manual = json!([{"id": "work", "type": "development", "validation": "manual-review"}]);

    client.create("kept", manual).await;
    server.kill();
    let (server, client) = restart(&home).await;
    let started = json!({"workflow_id": "kept", "idempotency_key": "once"});
    let execution = client.execute_with(started.clone()).await;
    server.kill();
    let (server, client) = restart(&home).await;
    let same = client.execute_with(started).await;
    client.settled(&execution).await;
    let report = json!({"execution_id": execution, "step_id": "work", "performer": "ada",
                        "summary": "done", "outputs": {"answer": 42}, "wait_s": 0});
    client.ok("complete_step", report).await;
    server.kill();
    let (server, client) = restart(&home).await;
    let awaits_review = |status: &Value| status["waiting_for"][0]["kind"] == "review";
    let reviewed = client.wait_for(&execution, "to want a review", awaits_review).await;
    let review = json!({"execution_id": execution, "step_id": "work", "reviewer": "grace",
                        "decision": "approved", "wait_s": 0});
    client.ok("review_step", review).await;
    server.kill();
    let (_server, client) = restart(&home).await;
    let done = client.ended(&execution, "completed").await;

    assert_eq!(same, execution, "the key is remembered over a crash");
    assert_eq!(step(&reviewed, "work")["performer"], "ada");
    assert_eq!(step(&done, "work")["outputs"]["answer"], 42);
    assert_eq!(step(&done, "work")["reviews"][0]["reviewer"], "grace");
}

#[tokio::test]
async fn what_must_not_simply_run_again_waits_for_somebodys_decision() {
    let home = home();
    let witness = Witness::new(home.path().join("witness"));
    let (server, client) = restart(&home).await;
    let steps = json!([
        {"id": "pay", "type": "deployment", "idempotent": false, "action": witness.action("pay", 600_000)},
        {"id": "after", "type": "validation", "dependencies": ["pay"], "action": witness.action("after", 0)},
    ]);
    client.create("payment", steps).await;
    let execution = client.execute("payment").await;
    until("the payment to begin", || (witness.words() == ["pay"]).then_some(())).await;

    server.kill();
    let (_server, client) = restart(&home).await;
    let waiting = client.settled(&execution).await;
    assert_eq!(waiting["status"], "paused");
    let asked = &waiting["waiting_for"][0];
    assert_eq!((&asked["step_id"], &asked["kind"]), (&json!("pay"), &json!("decision")));
    let mut decision = asked["next_call"]["arguments"].clone();
    decision["performer"] = json!("ada");
    decision["summary"] = json!("the bank says so");
    assert_eq!(decision["decision"], "succeeded");
    client.ok("complete_step", decision).await;
    client.ended(&execution, "completed").await;

    assert_eq!(witness.words(), ["pay", "after"], "it never ran a second time");
}

#[tokio::test]
async fn a_program_that_outlives_a_killed_server_is_ended_before_it_runs_again() {
    let home = home();
    let (server, client) = restart(&home).await;
    let pids = home.root().join("pids");
    let first = home.root().join("first");
    // The first run never ends by itself; a later one ends at once.
    let line = format!(
        "echo $$ >> {}; test -e {1} && exit 0; touch {1}; exec sleep 600",
        pids.display(),
        first.display()
    );
    let steps = json!([{"id": "work", "type": "development", "action":
        {"kind": "command", "shell": true, "program": line}}]);
    client.create("orphan", steps).await;
    let execution = client.execute("orphan").await;
    until("the program to run", || first.exists().then_some(())).await;

    server.kill();
    let (_server, client) = restart(&home).await;
    let done = client.ended(&execution, "completed").await;

    let pids = std::fs::read_to_string(&pids).expect("the programs have run");
    let pids: Vec<&str> = pids.split_whitespace().collect();
    assert_eq!(pids.len(), 2, "{pids:?}");
    let alive = std::path::Path::new("/proc").join(pids[0]).join("cmdline");
    let command = std::fs::read(alive).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&command).contains("sleep"), "the first run still runs");
    assert_eq!(step(&done, "work")["status"], "completed");
}

#[tokio::test]
async fn a_server_that_was_stopped_politely_ends_in_order_and_goes_on_later() {
    let home = home();
    let witness = Witness::new(home.path().join("witness"));
    let (server, client) = restart(&home).await;
    client.create("long", chains(&witness, 1, 30, 30)).await;
    let execution = client.execute("long").await;
    until("the first steps to run", || (witness.words().len() >= 2).then_some(())).await;

    let (status, log) = server.stop().await;
    let stopped = witness.words().len();
    drop(client);
    let (_server, client) = restart(&home).await;
    client.ended(&execution, "completed").await;

    assert_eq!(status.code(), Some(0), "{}", log.text());
    assert!(stopped < 30, "the server waited for the whole workflow");
    assert_eq!(witness.counts().len(), 30);
}

#[tokio::test]
async fn a_server_that_stood_still_notices_what_happened_meanwhile() {
    let home = home();
    let (server, client) = restart(&home).await;
    let [begun, go, gone] = ["begun", "go", "gone"].map(|name| home.root().join(name));
    let line = format!(
        "touch {}; until test -e {}; do sleep 0.02; done; echo '{{\"seen\": true}}'; touch {}",
        begun.display(),
        go.display(),
        gone.display()
    );
    let steps = json!([{"id": "work", "type": "development", "action":
        {"kind": "command", "shell": true, "program": line}}]);
    client.create("still", steps).await;
    let execution = client.execute("still").await;
    until("the program to run", || begun.exists().then_some(())).await;

    server.signal(Signal::STOP);
    std::fs::write(&go, "").expect("a file can be written");
    until("the program to end", || gone.exists().then_some(())).await;
    server.signal(Signal::CONT);
    let done = client.ended(&execution, "completed").await;

    assert_eq!(step(&done, "work")["attempt"], 1);
    assert_eq!(step(&done, "work")["machines"][0]["deliveries"], 1, "{done:#}");
    assert_eq!(step(&done, "work")["outputs"]["seen"], true);
}

#[tokio::test]
async fn two_servers_never_share_a_data_directory() {
    let home = home();
    let _server = home.serve().await;

    let second = home.run(["serve", "--port", "0"]).await;

    assert_ne!(second.code, Some(0));
    assert!(second.stderr.contains("is held by process"), "{second:?}");
}

#[tokio::test]
async fn an_application_that_is_killed_is_before_or_after_and_never_between() {
    const ROUNDS: u32 = 12;
    let seed = rand::rng().random::<u64>();
    eprintln_seed(seed);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let home = home();
    let project = home.project("service").with_service();
    let before = project.files();
    let arguments = json!({
        "pattern_name": "infrastructure-enforcement", "target_component": "service",
        "parameters": {"component_name": "notes"},
    });
    let (mut server, mut client) = restart(&home).await;
    // The first time nobody disturbs it, to know what comes of it and how long it takes.
    let started = Instant::now();
    let applied = client.ok("apply_pattern", arguments.clone()).await;
    let usual = started.elapsed();
    assert_eq!(applied["status"], "applied", "{applied:#}");
    let after = project.files();
    client.ok("revert_pattern_application", applied["next_call"]["arguments"].clone()).await;
    assert_eq!(project.files(), before);

    for round in 0..ROUNDS {
        let mut arguments = arguments.clone();
        arguments["idempotency_key"] = json!(format!("round {round}"));
        let applying = {
            let client = client.clone();
            let arguments = arguments.as_object().cloned().expect("an object");
            tokio::spawn(async move { client.call_raw("apply_pattern", arguments).await })
        };
        // Most of the time goes into thinking; the writing is at the end.
        let moment = usual.mul_f64(random.random_range(0.2..1.2));
        tokio::time::sleep(moment).await;
        server.kill();
        // A dead server answers nothing, or has answered before.
        let answered = applying.await.expect("a client does not panic").is_ok();
        (server, client) = restart(&home).await;

        let files = project.files();
        assert!(
            files == before || files == after,
            "between: {:#?}",
            names(&files, &before, &after)
        );
        assert!(!answered || files == after, "what was answered is on disk");
        // Whoever heard nothing asks again: it is done once, now or then.
        let again = client.ok("apply_pattern", arguments).await;
        assert_eq!(again["status"], "applied", "{again:#}");
        assert!(project.files() == after, "{:#?}", names(&project.files(), &before, &after));
        let revert = json!({"application_id": again["application_id"]});
        client.ok("revert_pattern_application", revert).await;
        assert!(project.files() == before, "{:#?}", names(&project.files(), &before, &after));
    }
}

/// Says of each file where it stands.
fn names(
    files: &BTreeMap<String, Vec<u8>>,
    before: &BTreeMap<String, Vec<u8>>,
    after: &BTreeMap<String, Vec<u8>>,
) -> Vec<String> {
    let all: BTreeSet<&String> = files.keys().chain(before.keys()).chain(after.keys()).collect();
    all.into_iter()
        .map(|name| {
            let file = files.get(name);
            let stands = match (file == before.get(name), file == after.get(name)) {
                (true, true) => "the same",
                (true, false) => "before",
                (false, true) => "after",
                (false, false) => "neither",
            };
            format!("{name}: {stands}")
        })
        .collect()
}
