//! Every command at every moment: pause, resume, cancel and retry from each state that an execution can be in, with the
//! answer and with where it comes to rest.

use caelum_tests::{Client, Home, until};
use serde_json::{Value, json};

use crate::home;

/// The commands, in the order of the columns below.
const COMMANDS: [&str; 4] = ["pause", "resume", "cancel", "retry_failed"];

/// What is answered: where the execution stands then, or the code of a refusal.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Stands(&'static str),
    Refuses(&'static str),
}

use Answer::{Refuses, Stands};

/// For each state and each command: the answer, and where the execution rests once what ran may end. Pausing keeps
/// anything new from beginning and ends nothing: what has nothing left to begin comes to its end all the same.
const TABLE: [(&str, [(Answer, &str); 4]); 11] = [
    (
        "running",
        [
            (Stands("paused"), "completed"),
            (Stands("executing"), "completed"),
            (Stands("cancelled"), "cancelled"),
            (Refuses("nothing_failed"), "completed"),
        ],
    ),
    (
        "running and paused",
        [
            (Stands("paused"), "completed"),
            (Stands("executing"), "completed"),
            (Stands("cancelled"), "cancelled"),
            (Refuses("nothing_failed"), "completed"),
        ],
    ),
    (
        "waiting for work",
        [
            (Stands("paused"), "paused"),
            (Stands("paused"), "paused"),
            (Stands("cancelled"), "cancelled"),
            (Refuses("nothing_failed"), "paused"),
        ],
    ),
    (
        "waiting for a review",
        [
            (Stands("paused"), "paused"),
            (Stands("paused"), "paused"),
            (Stands("cancelled"), "cancelled"),
            (Refuses("nothing_failed"), "paused"),
        ],
    ),
    (
        "waiting for work and paused",
        [
            (Stands("paused"), "paused"),
            (Stands("paused"), "paused"),
            (Stands("cancelled"), "cancelled"),
            (Refuses("nothing_failed"), "paused"),
        ],
    ),
    (
        "between two attempts",
        [
            (Stands("paused"), "paused"),
            (Stands("executing"), "executing"),
            (Stands("cancelled"), "cancelled"),
            (Refuses("nothing_failed"), "executing"),
        ],
    ),
    (
        "failed beside a running step",
        [
            (Stands("paused"), "failed"),
            (Stands("executing"), "failed"),
            (Stands("cancelled"), "cancelled"),
            (Stands("executing"), "failed"),
        ],
    ),
    (
        "being cancelled",
        [
            (Stands("executing"), "cancelled"),
            (Stands("executing"), "cancelled"),
            (Stands("executing"), "cancelled"),
            (Refuses("cancelled"), "cancelled"),
        ],
    ),
    (
        "completed",
        [
            (Refuses("execution_ended"), "completed"),
            (Refuses("execution_ended"), "completed"),
            (Refuses("execution_ended"), "completed"),
            (Refuses("nothing_failed"), "completed"),
        ],
    ),
    (
        "failed",
        [
            (Refuses("execution_ended"), "failed"),
            (Refuses("execution_ended"), "failed"),
            (Refuses("execution_ended"), "failed"),
            (Stands("executing"), "failed"),
        ],
    ),
    (
        "cancelled",
        [
            (Refuses("execution_ended"), "cancelled"),
            (Refuses("execution_ended"), "cancelled"),
            (Stands("cancelled"), "cancelled"),
            (Refuses("cancelled"), "cancelled"),
        ],
    ),
];

/// A step that runs a line of shell.
fn shell(id: &str, line: &str) -> Value {
    json!({"id": id, "type": "development",
           "action": {"kind": "command", "shell": true, "program": line}})
}

/// Brings executions into states; each has a file of its own that lets its program end.
struct Stage<'a> {
    home: &'a Home,
    client: &'a Client,
}

impl Stage<'_> {
    async fn create(&self) {
        let wait = "touch {{ parameters.mark }}.begun; until test -e {{ parameters.mark }}.go; do sleep 0.02; done";
        let stubborn = "trap '' TERM; touch {{ parameters.mark }}.begun; until test -e {{ parameters.mark }}.go; do sleep 0.02; done";
        let mut retried = shell("work", "exit 3");
        retried["retry"] = json!({"attempts": 5, "initial_ms": 600_000, "max_ms": 600_000, "jitter": false, "on": ["exit"]});
        let review = json!({"id": "work", "type": "validation", "validation": "manual-review",
                            "action": {"kind": "command", "program": "true"}});
        for (workflow, steps) in [
            ("wait", json!([shell("work", wait)])),
            ("stubborn", json!([shell("work", stubborn)])),
            ("manual", json!([{"id": "work", "type": "development"}])),
            ("review", json!([review])),
            ("retry", json!([retried])),
            ("beside", json!([shell("bad", "exit 3"), shell("work", wait)])),
            ("good", json!([shell("work", "true")])),
            ("bad", json!([shell("work", "exit 3")])),
        ] {
            self.client.create(workflow, steps).await;
        }
    }

    async fn begin(&self, workflow: &str, mark: &str) -> String {
        let mark = self.home.root().join(mark);
        let parameters = json!({"mark": mark.display().to_string()});
        let arguments = json!({"workflow_id": workflow, "parameters": parameters});
        self.client.execute_with(arguments).await
    }

    async fn running(&self, workflow: &str, mark: &str) -> String {
        let id = self.begin(workflow, mark).await;
        let begun = self.home.root().join(format!("{mark}.begun"));
        until("the program to run", || begun.exists().then_some(())).await;
        id
    }

    async fn command(&self, id: &str, action: &str) -> Result<Value, String> {
        let arguments = json!({"execution_id": id, "action": action, "reason": "the table"});
        self.client.call("control_execution", arguments).await
    }

    /// Brings a new execution into a state.
    async fn bring(&self, state: &str, mark: &str) -> String {
        let waits = |status: &Value| status["waiting_for"][0].is_object();
        match state {
            "running" => self.running("wait", mark).await,
            "running and paused" => {
                let id = self.running("wait", mark).await;
                self.command(&id, "pause").await.expect("it is open");
                id
            }
            "waiting for work" | "waiting for work and paused" => {
                let id = self.begin("manual", mark).await;
                self.client.wait_for(&id, "to wait", waits).await;
                if state.ends_with("paused") {
                    self.command(&id, "pause").await.expect("it is open");
                }
                id
            }
            "waiting for a review" => {
                let id = self.begin("review", mark).await;
                self.client.wait_for(&id, "to wait", waits).await;
                id
            }
            "between two attempts" => {
                let id = self.begin("retry", mark).await;
                let rests = |status: &Value| status["steps"][0]["phase"] == "retry_wait";
                self.client.wait_for(&id, "to rest", rests).await;
                id
            }
            "failed beside a running step" => {
                let id = self.running("beside", mark).await;
                let failed = |status: &Value| status["failed_steps"] == json!(["bad"]);
                self.client.wait_for(&id, "to have a failed step", failed).await;
                id
            }
            "being cancelled" => {
                let id = self.running("stubborn", mark).await;
                self.command(&id, "cancel").await.expect("it is open");
                id
            }
            "completed" => {
                let id = self.begin("good", mark).await;
                self.client.ended(&id, "completed").await;
                id
            }
            "failed" => {
                let id = self.begin("bad", mark).await;
                self.client.ended(&id, "failed").await;
                id
            }
            "cancelled" => {
                let id = self.begin("manual", mark).await;
                self.command(&id, "cancel").await.expect("it is open");
                self.client.ended(&id, "cancelled").await;
                id
            }
            other => panic!("no way into `{other}` is known"),
        }
    }

    /// Gives one command in one state, and holds the answer and the rest to the table.
    async fn walk(&self, state: &str, command: &str, expected: Answer, rest: &str) {
        let name = format!("{command} while {state}");
        let mark = name.replace(' ', "-");
        let id = self.bring(state, &mark).await;

        let answer = self.command(&id, command).await;

        match (expected, &answer) {
            (Stands(wanted), Ok(view)) => {
                // What is asked to end has a moment for it before the answer.
                let fits = view["status"] == wanted
                    || (wanted == "cancelled" && view["status"] == "executing");
                assert!(fits, "{name}: {view:#}");
            }
            (Refuses(code), Err(text)) => {
                assert!(text.starts_with(&format!("{code}: ")), "{name}: {text}");
            }
            (_, other) => panic!("{name}: expected {expected:?}, found {other:#?}"),
        }
        std::fs::write(self.home.root().join(format!("{mark}.go")), "").expect("it can be written");
        let rests = |status: &Value| {
            let under_way =
                status["steps"].as_array().into_iter().flatten().any(|step| {
                    ["acting", "judging"].contains(&step["phase"].as_str().unwrap_or(""))
                });
            status["status"] == rest && !under_way
        };
        self.client.wait_for(&id, &format!("to be {rest} ({name})"), rests).await;
        // It stays there: the same command again is answered, and nothing falls over.
        let again = self.command(&id, command).await;
        if let Err(text) = again {
            assert!(!text.starts_with("internal"), "{name}, again: {text}");
        }
    }
}

#[tokio::test]
async fn each_command_in_each_state_is_answered_and_comes_to_rest_where_it_should() {
    let home = home();
    let server = home.serve_with(&["--limit", "kill_grace_s=2"]).await;
    let client = server.client().await;
    let stage = Stage { home: &home, client: &client };
    stage.create().await;

    for (state, answers) in TABLE {
        let walks = COMMANDS
            .iter()
            .zip(answers)
            .map(|(command, (expected, rest))| stage.walk(state, command, expected, rest));
        futures::future::join_all(walks).await;
    }

    let health = client.ok("get_system_health", json!({})).await;
    assert_eq!(
        (&health["status"], &health["stuck"]),
        (&json!("healthy"), &json!({})),
        "{health:#}"
    );
}
