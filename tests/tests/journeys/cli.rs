//! The command line: what scripts and people type, what they read, and what the exit code says.

use std::fs;

use caelum_tests::{Finished, Home, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{home, step};

/// Writes a workflow to a file beneath the root and returns its name.
fn file(home: &Home, name: &str, workflow: &Value) -> String {
    let text = match name.rsplit_once('.') {
        Some((_, "yaml")) => serde_saphyr::to_string(workflow).expect("plain data is YAML"),
        _ => workflow.to_string(),
    };
    fs::write(home.root().join(name), text).expect("a file can be written");
    name.to_owned()
}

/// A workflow whose one step ends with the exit code that a parameter names.
fn ending() -> Value {
    json!({
        "workflow_id": "ending",
        "parameters_schema": {
            "type": "object", "additionalProperties": false,
            "properties": {"code": {"type": "integer", "default": 0}},
        },
        "steps": [{"id": "work", "type": "development", "action": {
            "kind": "command", "shell": true, "program": "echo at work; exit {{ parameters.code }}",
        }}],
    })
}

/// Asserts that nothing in an output would make a terminal do something.
fn plain(finished: Finished) -> Finished {
    for text in [&finished.stdout, &finished.stderr] {
        assert!(!text.contains('\u{1b}'), "escape sequences without a terminal: {text}");
    }
    finished
}

#[tokio::test]
async fn the_demo_runs_to_its_end_as_it_is_told() {
    let home = home();

    let told = plain(home.run(["demo"]).await).expect_code(0);

    for part in [
        "first-tests",
        "build-guardian",
        "+++ b/",
        "infrastructure-enforcement",
        "Everything happened as told",
    ] {
        assert!(told.stdout.contains(part), "`{part}` is not in:\n{}", told.stdout);
    }
    assert_eq!(fs::read_dir(home.root()).expect("the root").count(), 0, "the demo leaves nothing");
    let kept: Vec<_> = fs::read_dir(home.data()).into_iter().flatten().flatten().collect();
    let caches = |entry: &fs::DirEntry| entry.file_name() == "plugin-cache";
    assert!(kept.iter().all(caches), "the demo keeps nothing but compiled plugins: {kept:?}");
}

#[tokio::test]
async fn the_demo_is_data_too() {
    let home = home();

    let view = home.run(["demo", "--json"]).await.expect_code(0).json();

    assert_eq!(view["status"], "completed");
    let verdict = |id: &str| step(&view, id)["gates"][0]["verdict"].clone();
    assert_eq!((verdict("first-tests"), verdict("build-guardian")), (json!("fail"), json!("pass")));
}

#[tokio::test]
async fn a_workflow_file_is_run_to_its_end_and_the_exit_code_tells() {
    let home = home();
    let json_file = file(&home, "ending.json", &ending());
    let yaml_file = file(&home, "ending.yaml", &ending());

    let good = plain(home.run(["run", &json_file]).await).expect_code(0);
    let bad = plain(home.run(["run", &yaml_file, "--param", "code=3"]).await).expect_code(1);
    let by_id = plain(home.run(["run", "ending", "--json"]).await).expect_code(0);

    assert!(good.stdout.contains("work") && good.stdout.contains("completed"), "{}", good.stdout);
    assert!(bad.stdout.contains("failed"), "{}", bad.stdout);
    assert!(bad.stdout.contains("at work"), "the end of its output is shown: {}", bad.stdout);
    let view = by_id.json();
    assert_eq!((&view["status"], &view["revision"]), (&json!("completed"), &json!(1)));
    assert_eq!(by_id.stderr, "", "nothing but the result is told");
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_told_all_at_once_and_nothing_is_kept() {
    let home = home();
    let name = file(
        &home,
        "bad.json",
        &json!({
            "workflow_id": "bad", "stepps": [],
            "steps": [
                {"id": "a", "type": "develop", "dependencies": "b"},
                {"id": "b", "type": "validation", "action": {"kind": "command"}},
            ],
        }),
    );
    fs::write(home.root().join("broken.yaml"), "workflow_id: [\n").expect("a file can be written");

    let bad = plain(home.run(["run", &name]).await).expect_code(2);
    let broken = plain(home.run(["run", "broken.yaml"]).await).expect_code(2);
    let missing = plain(home.run(["run", "missing.yaml"]).await).expect_code(5);
    let unknown = plain(home.run(["run", "unknown-id"]).await).expect_code(5);

    for fault in
        ["bad.json", "/stepps", "did you mean `steps`", "/steps/0/type", "/steps/0/dependencies"]
    {
        assert!(bad.stderr.contains(fault), "`{fault}` is not in:\n{}", bad.stderr);
    }
    assert!(broken.stderr.contains("broken.yaml") && broken.stderr.contains("YAML"), "{broken:?}");
    assert!(missing.stderr.contains("missing.yaml"), "{missing:?}");
    assert!(unknown.stderr.contains("unknown-id"), "{unknown:?}");
    assert!([bad, broken, missing, unknown].iter().all(|finished| finished.stdout.is_empty()));
}

#[tokio::test]
async fn a_workflow_that_waits_for_somebody_is_carried_on_by_typing() {
    let home = home();
    let name = file(
        &home,
        "release.json",
        &json!({"workflow_id": "release", "steps": [
            {"id": "announce", "type": "deployment", "validation": "manual-review",
             "action": {"kind": "manual", "instructions": "send the mail"}},
        ]}),
    );

    let waits = plain(home.run(["run", &name]).await).expect_code(3);
    assert!(waits.stdout.contains("send the mail"), "{}", waits.stdout);
    assert!(waits.stdout.contains("caelum-workflow complete "), "{}", waits.stdout);
    let overview = home.run(["status", "--json"]).await.expect_code(0).json();
    let id = overview["executions"][0]["execution_id"].as_str().expect("an id").to_owned();
    let complete = ["complete", &id, "announce", "--summary", "sent", "--performer", "ada"];
    let waits = plain(home.run(complete).await).expect_code(3);
    assert!(waits.stdout.contains("caelum-workflow review "), "{}", waits.stdout);
    let own = ["review", &id, "announce", "--approve", "--reviewer", "ada"];
    plain(home.run(own).await).expect_code(2);
    let review = ["review", &id, "announce", "--approve", "--reviewer", "grace"];
    plain(home.run(review).await).expect_code(0);

    let status = home.run(["status", &id, "--json"]).await.expect_code(0).json();
    assert_eq!(status["status"], "completed");
}

#[tokio::test]
async fn patterns_are_listed_validated_applied_and_taken_back_by_typing() {
    let home = home();
    let project = home.project("service").with_service();
    let before = project.files();
    let on = ["--component", "service", "--param", "component_name=notes"];
    let pattern = "infrastructure-enforcement";

    let listed = home.run(["list-patterns", "--kind", "all", "--json"]).await.expect_code(0).json();
    let validated = home
        .run(["validate-pattern", pattern].into_iter().chain(on).chain(["--json"]))
        .await
        .expect_code(0)
        .json();
    let planned =
        plain(home.run(["apply-pattern", pattern, "--dry-run"].into_iter().chain(on)).await)
            .expect_code(0);
    assert_eq!(project.files(), before, "a dry run writes nothing");
    let applied = home
        .run(["apply-pattern", pattern, "--json"].into_iter().chain(on))
        .await
        .expect_code(0)
        .json();
    let text = plain(home.run(["list-patterns"]).await).expect_code(0);

    let names = |kind: &str| -> Vec<String> {
        let list = listed[kind].as_array().expect("a list");
        list.iter().filter_map(|plugin| Some(plugin["name"].as_str()?.to_owned())).collect()
    };
    assert!(names("patterns").iter().any(|name| name == pattern), "{listed:#}");
    assert!(names("validators").iter().any(|name| name == "unit-tests"), "{listed:#}");
    assert!(text.stdout.contains(pattern), "{}", text.stdout);
    assert_eq!(validated["can_apply"], true);
    assert!(
        planned.stdout.contains("+++ b/") && planned.stdout.contains("--plan-id"),
        "{planned:?}"
    );
    assert_eq!(applied["status"], "applied");
    assert_ne!(project.files(), before);

    let id = applied["application_id"].as_str().expect("an id");
    plain(home.run(["revert-pattern", id]).await).expect_code(0);
    assert_eq!(project.files(), before, "byte for byte");
    let twice = plain(home.run(["revert-pattern", id]).await);
    assert_ne!(twice.code, Some(0));
}

#[tokio::test]
async fn mistakes_with_patterns_have_hints_and_exit_codes() {
    let home = home();
    home.project("service").with_service();

    let pattern = ["validate-pattern", "helth-check", "--component", "service"];
    let pattern = plain(home.run(pattern).await).expect_code(5);
    let component = ["validate-pattern", "health-check", "--component", "/etc"];
    let component = plain(home.run(component).await).expect_code(2);
    let parameter =
        ["apply-pattern", "health-check", "--component", "service", "--param", "intervall=1"];
    let parameter = plain(home.run(parameter).await).expect_code(2);
    let nothing = plain(home.run(["apply-pattern"]).await).expect_code(2);
    let command = plain(home.run(["lst-patterns"]).await).expect_code(2);

    assert!(
        pattern.stderr.contains("hint:") && pattern.stderr.contains("health-check"),
        "{pattern:?}"
    );
    assert!(component.stderr.contains("not beneath an allowed root"), "{component:?}");
    assert!(parameter.stderr.contains("intervall"), "{parameter:?}");
    assert!(nothing.stderr.contains("--component"), "{nothing:?}");
    assert!(command.stderr.contains("list-patterns"), "{command:?}");
}

#[tokio::test]
async fn an_export_can_be_run_again_and_is_the_same_workflow() {
    let home = home();
    let name = file(&home, "ending.json", &ending());
    home.run(["run", &name]).await.expect_code(0);

    for format in ["json", "yaml"] {
        let other = crate::home();
        let exported = home
            .run(["export", "ending", "--format", format, "--without-executions"])
            .await
            .expect_code(0);
        let copy = format!("copy.{format}");
        fs::write(other.root().join(&copy), &exported.stdout).expect("a file can be written");
        other.run(["run", &copy]).await.expect_code(0);
        let again = other
            .run(["export", "ending", "--format", format, "--without-executions"])
            .await
            .expect_code(0);

        let times = |text: &str| -> Vec<String> {
            let stamped =
                |line: &&str| !line.contains("created_at") && !line.contains("updated_at");
            text.lines().filter(stamped).map(str::to_owned).collect()
        };
        assert_eq!(times(&again.stdout), times(&exported.stdout), "{format}");
    }
    let with = home.run(["export", "ending", "--json"]).await.expect_code(0).json();
    assert_eq!(with["executions"], 1);
    let unknown = plain(home.run(["export", "endnig"]).await).expect_code(5);
    assert!(unknown.stderr.contains("`ending`"), "{unknown:?}");
}

#[tokio::test]
async fn commands_work_through_the_server_that_holds_the_data_directory() {
    let home = home();
    let name = file(&home, "ending.json", &ending());
    let server = home.serve().await;
    let client = server.client().await;

    home.run(["run", &name]).await.expect_code(0);
    let listed = client.ok("list_executions", json!({})).await;
    let overview = home.run(["status", "--json"]).await.expect_code(0).json();

    assert_eq!(listed["executions"][0]["workflow_id"], "ending");
    assert_eq!(overview["executions"][0]["execution_id"], listed["executions"][0]["execution_id"]);
    let elsewhere = home.project("elsewhere");
    let mut command = home.command();
    command.current_dir(elsewhere.path()).args(["run", "../ending.json"]);
    let refused = plain(home.run_command(&mut command).await);
    assert_ne!(refused.code, Some(0), "paths would mean something else there");
    assert!(refused.stderr.contains("hint:"), "{refused:?}");
}

#[tokio::test]
async fn ctrl_c_cancels_what_runs_and_waits_for_its_end() {
    let home = home();
    let pid = home.root().join("pid");
    let line = format!("echo $$ > {0}.part; mv {0}.part {0}; exec sleep 600", pid.display());
    let name = file(
        &home,
        "long.json",
        &json!({"workflow_id": "long", "steps": [{"id": "work", "type": "development",
            "action": {"kind": "command", "shell": true, "program": line}}]}),
    );
    let mut command = home.command();
    command.args(["run", &name]).stdout(std::process::Stdio::piped());
    let child = command.stderr(std::process::Stdio::piped()).spawn().expect("the program starts");
    let running = Pid::from_child(&child);
    until("the step to run", || pid.exists().then_some(())).await;

    kill_process(running, Signal::INT).expect("the program runs");
    let output = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output = caelum_tests::soon("the program to end", output).await;
    let output = output.expect("a waiter").expect("a child can be waited for");

    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(told.contains("cancelled"), "{told}");
    let pid = fs::read_to_string(&pid).expect("a file with a number");
    let alive = fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&alive).contains("sleep"), "the command still runs");
}

#[tokio::test]
async fn help_names_every_command_and_the_exit_codes() {
    let home = home();

    let help = plain(home.run(["--help"]).await).expect_code(0);
    let version = plain(home.run(["--version"]).await).expect_code(0);

    for word in [
        "serve",
        "run",
        "demo",
        "list-patterns",
        "validate-pattern",
        "apply-pattern",
        "status",
        "export",
        "Exit codes",
        "--json",
    ] {
        assert!(help.stdout.contains(word), "`{word}` is not in:\n{}", help.stdout);
    }
    assert!(version.stdout.starts_with("caelum-workflow "), "{}", version.stdout);
    for command in ["run", "apply-pattern", "status", "export", "serve"] {
        let help = plain(home.run([command, "--help"]).await).expect_code(0);
        assert!(help.stdout.contains("Usage:"), "{}", help.stdout);
    }
}

#[tokio::test]
async fn a_port_that_is_anothers_and_settings_that_are_none_are_refused_with_what_would_do() {
    let home = home();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();

    let used = plain(home.run(["serve", "--port", &port]).await);
    // In a home of its own: a server that began once has made itself a token, and then may be open to others.
    let open = ["serve", "--port", "0", "--host", "0.0.0.0"];
    let open = plain(crate::home().run(open).await).expect_code(2);
    let mut slip = home.command();
    slip.args(["serve", "--port", "70000", "--limit", "call_max=3", "--log", "lots=of=it"]);
    let slip = plain(home.run_command(&mut slip).await).expect_code(2);

    assert_ne!(used.code, Some(0));
    assert!(used.stderr.contains(&port) && used.stderr.contains("hint:"), "{used:?}");
    assert!(open.stderr.contains("without a token"), "{open:?}");
    for fault in ["70000", "call_max", "calls_max", "--log"] {
        assert!(slip.stderr.contains(fault), "`{fault}` is not in:\n{}", slip.stderr);
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let home = home();

    let mut command = home.command();
    let program = command.get_program().to_owned();
    let line = format!("'{}' list-patterns --kind all --json | head -n 1", program.display());
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", &line]).env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    shell.current_dir(home.root());
    command = shell;
    let finished = home.run_command(&mut command).await.expect_code(0);

    assert_eq!(finished.stdout, "{\n");
    assert_eq!(finished.stderr, "");
}
