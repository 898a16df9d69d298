//! An author's way: from nothing to a listed plugin, cases with golden answers, recordings, packed components.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use caelum_tests::{Finished, Home, repository};
use serde_json::{Value, json};

use crate::home;

/// How long a build may take: on a new machine it begins with the standard library.
const BUILDING: Duration = Duration::from_secs(900);

/// Where the crates of these tests are built: where the repository's plugins are, so that what they share is there.
pub(crate) fn target_dir() -> String {
    repository().join("target/plugins").display().to_string()
}

/// Returns where cargo and rustup keep what they have: builds find it although `HOME` is another one here.
pub(crate) fn toolchain() -> Vec<(&'static str, PathBuf)> {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")]
        .map(|(name, below)| {
            (name, std::env::var_os(name).map_or_else(|| home.join(below), PathBuf::from))
        })
        .to_vec()
}

/// Runs a program to its end. It may build things first.
pub(crate) async fn finish(command: Command) -> Finished {
    let mut command = tokio::process::Command::from(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(BUILDING, command.output()).await;
    let output = output.expect("builds end in time").expect("the program starts");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a command of `plugin`.
async fn plugin(home: &Home, args: &[&str]) -> Finished {
    let mut command = home.command();
    command.envs(toolchain()).arg("plugin").args(args);
    finish(command).await
}

/// Makes a project from the repository's templates.
async fn new(home: &Home, name: &str, options: &[&str]) -> Finished {
    let sdk = repository().join("sdk").display().to_string();
    plugin(home, &[&["new", name, "--sdk", &sdk], options].concat()).await
}

fn read(home: &Home, path: &str) -> String {
    let path = home.root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write(home: &Home, path: &str, text: &str) {
    let path = home.root().join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
    fs::write(path, text).expect("a file can be written");
}

/// Returns the component of a plugin of the corpus.
fn kept(name: &str) -> String {
    repository().join(format!("tests/corpus/0.1.0/{name}.wasm")).display().to_string()
}

#[tokio::test]
async fn three_commands_lead_from_nothing_to_a_listed_plugin() {
    let home = home();
    let target = target_dir();

    new(&home, "first-gate", &[]).await.expect_code(0);
    let tested = plugin(&home, &["test", "first-gate", "--target-dir", &target, "--json"])
        .await
        .expect_code(0);
    plugin(&home, &["build", "first-gate", "--target-dir", &target, "--install"])
        .await
        .expect_code(0);

    assert_eq!(tested.json()["passed"], 3);
    let listed = home.run(["list-patterns", "--kind", "validator", "--json"]).await.expect_code(0);
    let listed = listed.json();
    let validators = listed["validators"].as_array().expect("a list");
    let ours = validators.iter().find(|validator| validator["name"] == "first-gate");
    let ours = ours.unwrap_or_else(|| panic!("it is not listed: {listed}"));
    assert_eq!(ours["title"], "First gate");
    assert!(ours["parameters_schema"]["properties"]["must_say"]["description"].is_string());
}

#[tokio::test]
async fn a_new_pattern_passes_its_cases_and_tells_what_changed_when_it_does_not() {
    let home = home();
    let target = target_dir();
    new(&home, "first-fix", &["--kind", "pattern"]).await.expect_code(0);
    let test: [&str; 5] = ["test", "first-fix", "--target-dir", &target, "--json"];
    plugin(&home, &test).await.expect_code(0);

    let golden = "first-fix/cases/mends.golden.json";
    write(&home, golden, &read(&home, golden).replace("\"+The end\"", "\"+The start\""));
    let failed = plugin(&home, &test).await.expect_code(1).json();
    let row =
        failed["cases"].as_array().and_then(|rows| rows.iter().find(|row| row["name"] == "mends"));
    let diff = row.and_then(|row| row["diff"].as_str()).unwrap_or_default().to_owned();
    assert!(
        diff.contains("-      \"+The start\"") && diff.contains("+      \"+The end\""),
        "{failed}"
    );

    let mended = plugin(&home, &[&test[..], &["--write"]].concat()).await.expect_code(0).json();
    assert_eq!((&mended["written"], &mended["passed"]), (&json!(1), &json!(2)));
    plugin(&home, &test).await.expect_code(0);
}

#[tokio::test]
async fn projects_in_every_language_hold_cases_and_contract_and_nothing_is_overwritten() {
    let home = home();
    for (lang, source) in [("rust", "src/lib.rs"), ("python", "plugin.py"), ("js", "plugin.js")] {
        for kind in ["validator", "pattern"] {
            let name = format!("{lang}-{kind}");

            let made = new(&home, &name, &["--lang", lang, "--kind", kind, "--json"]).await;

            let made = made.expect_code(0).json();
            assert_eq!(made["next"].as_array().map(Vec::len), Some(2), "{made}");
            assert!(read(&home, &format!("{name}/{source}")).contains(&name));
            let wit = home.root().join(&name).join("wit/worlds.wit");
            assert_eq!(wit.is_file(), lang != "rust", "{}", wit.display());
            new(&home, &name, &[]).await.expect_code(2);
        }
    }
    for wrong in ["Big", "9a", "../up"] {
        let refused = new(&home, wrong, &[]).await.expect_code(2);
        assert!(refused.stderr.contains("such as `health-check`"), "{}", refused.stderr);
    }
}

#[tokio::test]
async fn a_run_is_recorded_and_played_back_without_its_component() {
    let home = home();
    let pattern = kept("health-check");
    write(&home, "shop/compose.yaml", "services:\n  db:\n    image: postgres:16\n");
    write(&home, "shop/secret.txt", "nobody reads this\n");

    let ran =
        plugin(&home, &["run", &pattern, "--target", "shop", "--record", "case.json", "--json"])
            .await
            .expect_code(0)
            .json();
    write(&home, "cases/recorded.json", &read(&home, "case.json"));
    let written = plugin(&home, &["test", &pattern, "--cases", "cases", "--write"]).await;
    written.expect_code(0);
    fs::remove_dir_all(home.root().join("shop")).expect("removed");

    plugin(&home, &["test", &pattern, "--cases", "cases"]).await.expect_code(0);
    let golden: Value =
        serde_json::from_str(&read(&home, "cases/recorded.golden.json")).expect("JSON");
    assert_eq!(golden["plan"], ran["plan"]);
    assert_eq!(golden["assessment"]["findings"][0]["rule"], "HC03");
    let case = read(&home, "cases/recorded.json");
    assert!(case.contains("postgres:16") && !case.contains("nobody reads this"), "{case}");

    // What the recording does not hold is no answer.
    let mut recorded: Value = serde_json::from_str(&case).expect("JSON");
    recorded["target"]["recorded"].as_object_mut().expect("an object").remove("compose.yaml");
    write(&home, "cases/recorded.json", &recorded.to_string());
    let failed = plugin(&home, &["test", &pattern, "--cases", "cases"]).await.expect_code(1);
    assert!(failed.stdout.contains("which the recording does not hold"), "{}", failed.stdout);
}

#[tokio::test]
async fn a_verdict_by_hand_ends_as_it_says() {
    let home = home();
    let validator = kept("command-succeeded");
    for (exit_code, expected) in [(0, 0), (3, 1)] {
        let evidence = json!({"outcomes": [{"exit_code": exit_code}]});
        write(&home, "evidence.json", &evidence.to_string());

        plugin(&home, &["run", &validator, "--evidence", "evidence.json"])
            .await
            .expect_code(expected);
    }
    write(&home, "evidence.json", r#"{"outcome": []}"#);
    let refused =
        plugin(&home, &["run", &validator, "--evidence", "evidence.json"]).await.expect_code(2);
    assert!(refused.stderr.contains("unknown field `outcome`"), "{}", refused.stderr);
    let review = kept("manual-review");
    write(&home, "evidence.json", r#"{"performer": "ada", "outcomes": [{"exit_code": 0}]}"#);
    plugin(&home, &["run", &review, "--evidence", "evidence.json"]).await.expect_code(3);
    plugin(&home, &["run", "nothing.wasm"]).await.expect_code(5);
}

#[tokio::test]
async fn packing_twice_changes_nothing_more_and_what_is_no_plugin_is_refused() {
    let home = home();
    let once = home.root().join("once.wasm").display().to_string();
    let twice = home.root().join("twice.wasm").display().to_string();

    plugin(&home, &["pack", &kept("manual-review"), "--output", &once]).await.expect_code(0);
    plugin(&home, &["pack", &once, "--output", &twice]).await.expect_code(0);

    let bytes = |path: &str| fs::read(path).expect("a file");
    assert_eq!(bytes(&once), bytes(&twice));
    let packed = bytes(&once);
    let text = String::from_utf8_lossy(&packed);
    assert!(text.contains(r#""world":"step-validator""#) && text.contains("parameters_schema"));
    plugin(&home, &["check", &twice]).await.expect_code(0);

    fs::write(&once, b"\0asm\x01\0\0\0").expect("written");
    let refused = plugin(&home, &["pack", &once]).await.expect_code(1);
    assert!(refused.stderr.contains("refused at header"), "{}", refused.stderr);
    fs::write(&once, b"hello").expect("written");
    plugin(&home, &["pack", &once]).await.expect_code(1);
    assert_eq!(bytes(&once), b"hello", "a file that is refused stays what it is");
}

#[tokio::test]
async fn a_module_that_breaks_the_encoder_down_is_refused_and_breaks_nothing_else_down() {
    let home = home();
    let module = repository().join("tests/fixtures/endless-type.wasm").display().to_string();
    let to = home.root().join("packed.wasm").display().to_string();

    for args in [&["check", &module][..], &["pack", &module, "--output", &to]] {
        let refused = plugin(&home, args).await.expect_code(1);

        let told = format!("{}{}", refused.stdout, refused.stderr);
        assert!(told.contains("refused at header"), "{told}");
    }
}

#[tokio::test]
async fn a_bench_counts_calls_and_what_they_took() {
    let home = home();
    let case = repository().join("tests/corpus/0.1.0/command-succeeded/passes.json");
    let case = case.display().to_string();
    let validator = kept("command-succeeded");

    let options = ["--case", &case, "--seconds", "1", "--parallel", "2", "--json"];
    let benched =
        plugin(&home, &[&["bench", &validator][..], &options].concat()).await.expect_code(0).json();

    assert_eq!(benched["failed_calls"], 0, "{benched}");
    assert!(benched["calls"].as_u64().is_some_and(|calls| calls > 10), "{benched}");
    let p50 = benched["call_us"]["p50"].as_f64().unwrap_or_default();
    let p99 = benched["call_us"]["p99"].as_f64().unwrap_or_default();
    assert!(0.0 < p50 && p50 <= p99, "{benched}");
    assert!(benched["peak_memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{benched}");
}
