//! Gates that are real: they fail for what is wrong, pass once it is mended, and believe evidence over words.

use caelum_tests::{Client, Home, Service};
use serde_json::{Value, json};

use crate::{home, step};

/// A JUnit report of one test that passes.
const GOOD: &str = "<testsuite name=\"unit\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"0\">\
    <testcase classname=\"port\" name=\"is_claimed\" time=\"0.01\"/></testsuite>";

/// A JUnit report of one test that fails.
const BAD: &str = "<testsuite name=\"unit\" tests=\"1\" failures=\"1\" errors=\"0\" skipped=\"0\">\
    <testcase classname=\"port\" name=\"is_claimed\" time=\"0.01\">\
    <failure message=\"port 8115 is not claimed\">AssertionError</failure></testcase></testsuite>";

/// Makes a workflow with one step, which hands in a report as it lies in the project and ends with an exit code.
async fn report_workflow(client: &Client, home: &Home, exit_code: i32) {
    home.project("service").write("report.txt", "");
    let steps = json!([{
        "id": "test", "type": "validation", "validation": "unit-tests",
        "action": {
            "kind": "command", "shell": true, "cwd": "service", "collect": ["reports/*.xml"],
            "program": format!("mkdir -p reports && cp report.txt reports/junit.xml && exit {exit_code}"),
        },
    }]);
    client.create("report", steps).await;
}

/// The codes of the reasons of a step's last gate.
fn codes(status: &Value, id: &str) -> Vec<String> {
    let gate = step(status, id)["gates"].as_array().and_then(|gates| gates.last()).cloned();
    let gate = gate.unwrap_or_else(|| panic!("no gate has judged `{id}`: {status:#}"));
    let reasons = gate["reasons"].as_array().cloned().unwrap_or_default();
    reasons.iter().filter_map(|reason| Some(reason["code"].as_str()?.to_owned())).collect()
}

#[tokio::test]
async fn a_gate_fails_names_the_test_and_passes_after_the_fix() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let project = home.project("service");
    report_workflow(&client, &home, 0).await;
    project.write("report.txt", BAD);

    let execution = client.execute("report").await;
    let failed = client.ended(&execution, "failed").await;

    assert_eq!(failed["failure"]["failure"]["cause"], "validation");
    assert_eq!(step(&failed, "test")["gates"][0]["verdict"], "fail");
    let told = failed["failure"]["reasons"].to_string();
    assert!(told.contains("is_claimed") && told.contains("port 8115 is not claimed"), "{told}");
    let next = &failed["failure"]["next_call"];
    assert_eq!(next["tool"], "control_execution");

    project.write("report.txt", GOOD);
    client.ok("control_execution", next["arguments"].clone()).await;
    let done = client.ended(&execution, "completed").await;

    let step = step(&done, "test");
    assert_eq!(step["attempt"], 2);
    assert_eq!(step["gates"][0]["verdict"], "pass");
    assert!(
        step["gates"][0]["summary"].as_str().is_some_and(|text| text.contains("1 test passed"))
    );
}

#[tokio::test]
async fn a_report_that_the_exit_code_contradicts_never_passes() {
    for (report, exit_code) in [(GOOD, 1), (BAD, 0)] {
        let home = home();
        let server = home.serve().await;
        let client = server.client().await;
        report_workflow(&client, &home, exit_code).await;
        home.project("service").write("report.txt", report);

        let execution = client.execute("report").await;
        let failed = client.ended(&execution, "failed").await;

        if exit_code == 0 {
            let codes = codes(&failed, "test");
            assert!(codes.contains(&"contradiction".to_owned()), "{codes:?}: {failed:#}");
        }
    }
}

#[tokio::test]
async fn no_tests_an_empty_report_and_no_report_never_pass() {
    let none = "<testsuite name=\"unit\" tests=\"0\" failures=\"0\" errors=\"0\"/>";
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    report_workflow(&client, &home, 0).await;

    for report in
        [none, "", "all tests passed, believe me\n", "<testsuite name=\"unit\" tests=\"1\""]
    {
        home.project("service").write("report.txt", report);
        let execution = client.execute("report").await;
        let failed = client.ended(&execution, "failed").await;

        let verdict = &step(&failed, "test")["gates"][0]["verdict"];
        assert!(verdict == "fail" || verdict == "inconclusive", "`{report}`: {failed:#}");
    }
}

#[tokio::test]
async fn somebody_who_hands_in_a_report_is_judged_by_it() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let steps = json!([{"id": "test", "type": "validation", "validation": "unit-tests",
                        "retry": {"attempts": 2, "initial_ms": 0, "on": ["gate"]}}]);
    client.create("handed-in", steps).await;
    let execution = client.execute("handed-in").await;
    client.settled(&execution).await;
    let report = |text: &str| {
        json!({"execution_id": execution, "step_id": "test", "performer": "ada", "wait_s": 30,
               "summary": "all tests are green", "files": {"reports/junit.xml": text}})
    };

    let refused = client.ok("complete_step", report(BAD)).await;
    let again = client
        .wait_for(&execution, "to want the work again", |status| {
            status["waiting_for"][0]["kind"] == "work" && step(status, "test")["attempt"] == 2
        })
        .await;
    client.ok("complete_step", report(GOOD)).await;
    let done = client.ended(&execution, "completed").await;

    assert_ne!(refused["step"]["status"], "completed", "words do not complete a step: {refused:#}");
    assert_eq!(again["status"], "paused");
    assert_eq!(step(&done, "test")["gates"][0]["verdict"], "pass");
}

#[tokio::test]
async fn startup_validation_judges_a_real_service_down_unwell_and_up() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let mut service = Service::down();
    let steps = json!([{
        "id": "deploy", "type": "deployment", "enforcement": "startup-validation",
        "probes": [{"name": "health", "kind": "http", "url": service.url("/health")}],
        "action": {"kind": "command", "program": "true"},
    }]);
    client.create("probed", steps).await;

    let execution = client.execute("probed").await;
    let down = client.ended(&execution, "failed").await;
    let retry = json!({"execution_id": execution, "action": "retry_failed"});
    service.up(200, "{\"status\": \"down\"}");
    client.ok("control_execution", retry.clone()).await;
    let unwell = client.ended(&execution, "failed").await;
    service.up(200, "{\"status\": \"healthy\"}");
    client.ok("control_execution", retry).await;
    let up = client.ended(&execution, "completed").await;

    assert_eq!(down["failure"]["failure"]["cause"], "enforcement");
    let gate = &step(&down, "deploy")["gates"][0];
    assert_eq!((&gate["verdict"], &gate["timing"]), (&json!("fail"), &json!("before")));
    assert!(codes(&down, "deploy").contains(&"no-answer".to_owned()), "{down:#}");
    assert_eq!(step(&down, "deploy")["machines"][0]["deliveries"], 0, "the action was never begun");
    assert_eq!(step(&unwell, "deploy")["gates"][0]["verdict"], "fail", "200 and unwell is unwell");
    assert_eq!(step(&up, "deploy")["gates"][0]["verdict"], "pass");
    assert_eq!(step(&up, "deploy")["machines"][0]["exit_code"], 0);
}

#[tokio::test]
async fn a_rejection_with_a_reason_fails_the_step_and_one_without_is_refused() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let steps = json!([{"id": "build", "type": "development", "validation": "manual-review",
                        "action": {"kind": "command", "program": "true"}}]);
    client.create("reviewed", steps).await;
    let execution = client.execute("reviewed").await;
    client.settled(&execution).await;
    let review = |reason: &str| {
        json!({"execution_id": execution, "step_id": "build", "reviewer": "grace",
               "decision": "rejected", "reason": reason})
    };

    let silent = client.refused("review_step", review(" ")).await;
    client.ok("review_step", review("the port is still 8080")).await;
    let failed = client.ended(&execution, "failed").await;

    assert!(silent.contains("reason"), "{silent}");
    let failure = failed["failure"].to_string();
    assert!(failure.contains("the port is still 8080"), "{failure}");
    assert_eq!(step(&failed, "build")["reviews"][0]["reviewer"], "grace");
}

#[tokio::test]
async fn a_validator_that_is_asked_wrongly_keeps_the_gate_closed_and_says_how_to_ask() {
    let home = home();
    let server = home.serve().await;
    let client = server.client().await;
    let steps = json!([{
        "id": "test", "type": "validation", "validation": "unit-tests",
        "validation_parameters": {"min_test": 1, "max_failed": "none"},
        "on_validator_error": "warn",
        "action": {"kind": "command", "program": "true"},
    }]);

    // Either the definition is refused, or the gate is: what must not happen is a pass.
    let created =
        client.call("create_workflow", json!({"workflow_id": "wrong", "steps": steps})).await;
    let told = match created {
        Err(refused) => refused,
        Ok(_) => {
            let execution = client.execute("wrong").await;
            client.ended(&execution, "failed").await.to_string()
        }
    };

    assert!(told.contains("min_test") && told.contains("max_failed"), "{told}");
}
