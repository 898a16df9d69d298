//! Programs from start to end: their group, their pipes, their environment, and what can go wrong.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::id::MachineId;
use caelum_core::task::{FailureClass, OutcomeStatus};
use caelum_machines::{Fabric, MachineOptions, MachineState};
use tokio_util::sync::CancellationToken;

use crate::harness::{Machine, code, is_alive, number, program, shell, task, until_gone, zombies};

#[tokio::test]
async fn a_program_that_ends_well_is_reported_with_what_it_wrote() {
    let machine = Machine::new();

    let outcome = machine.run(shell("echo out; echo err >&2")).await;

    assert!(outcome.succeeded());
    assert_eq!((outcome.exit_code, outcome.signal), (Some(0), None));
    assert_eq!((outcome.stdout.text.as_str(), outcome.stderr.text.as_str()), ("out\n", "err\n"));
    assert_eq!(outcome.failure, None);
    assert_eq!(machine.records(), 0);
}

#[tokio::test]
async fn a_timeout_ends_the_whole_group_grandchildren_included() {
    let machine = Machine::new();
    let mut spec = task(shell("sleep 1000 & echo $!; sh -c 'sleep 1000 & echo $!; wait' & wait"));
    spec.run_timeout_ms = 3_000;

    let outcome = machine.run_task(&spec, CancellationToken::new()).await;

    assert_eq!(outcome.status, OutcomeStatus::TimedOut);
    let failure = outcome.failure.expect("there is one");
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Transient, "run_timeout"));
    assert_eq!(failure.message, "ran longer than 3000 ms and was ended");
    let pids: Vec<i32> = outcome.stdout.text.lines().map(number).collect();
    assert_eq!(pids.len(), 2, "{}", outcome.stdout.text);
    assert_eq!(pids.into_iter().filter(|pid| is_alive(*pid)).count(), 0);
}

#[tokio::test]
async fn a_program_may_end_in_its_own_way_within_the_grace_time() {
    let machine = Machine::new();
    let mut spec =
        task(shell("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done"));
    spec.run_timeout_ms = 3_000;

    let outcome = machine.run_task(&spec, CancellationToken::new()).await;

    assert_eq!(outcome.status, OutcomeStatus::TimedOut);
    assert_eq!((outcome.exit_code, outcome.signal), (Some(3), None));
    assert_eq!(outcome.stdout.text, "ready\nbye\n");
}

#[tokio::test]
async fn a_program_that_does_not_listen_is_killed_after_the_grace_time() {
    let machine = Machine::new();
    let mut spec =
        task(shell("trap '' TERM; (trap '' TERM; echo $$; sleep 1000) & sleep 1000; sleep 1000"));
    spec.run_timeout_ms = 2_500;
    spec.grace_ms = 200;
    let start = Instant::now();

    let outcome = machine.run_task(&spec, CancellationToken::new()).await;

    assert_eq!(outcome.status, OutcomeStatus::TimedOut);
    assert_eq!((outcome.exit_code, outcome.signal), (None, Some(9)));
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
}

#[tokio::test]
async fn a_stopped_program_can_be_ended() {
    let machine = Machine::new();
    let mut spec = task(shell("echo $$; kill -STOP $$; echo never"));
    spec.run_timeout_ms = 2_500;

    let outcome = machine.run_task(&spec, CancellationToken::new()).await;

    assert_eq!(outcome.status, OutcomeStatus::TimedOut);
    assert_eq!(outcome.signal, Some(15));
    assert!(!is_alive(number(&outcome.stdout.text)));
}

#[tokio::test]
async fn cancelling_ends_running_work() {
    let machine = Machine::new();
    let spec = task(shell("sleep 1000 & echo $! ready; wait"));
    let cancel = CancellationToken::new();

    let ((), outcome) = tokio::join!(
        async {
            machine.until_written(&spec, "ready").await;
            assert_eq!(machine.records(), 1);
            cancel.cancel();
        },
        machine.run_task(&spec, cancel.clone())
    );

    assert_eq!(outcome.status, OutcomeStatus::Cancelled);
    assert_eq!(code(&outcome), "cancelled");
    assert!(!is_alive(number(outcome.stdout.text.trim().trim_end_matches(" ready"))));
    assert_eq!(machine.records(), 0);
}

#[tokio::test]
async fn work_that_waits_for_a_place_can_be_cancelled() {
    let machine =
        Machine::with(MachineOptions { tasks_at_once_max: 1, ..MachineOptions::default() });
    let (first, second) = (task(shell("echo ready; sleep 1000")), task(shell("echo never")));
    let (stop_first, stop_second) = (CancellationToken::new(), CancellationToken::new());

    let ((), first, second) = tokio::join!(
        async {
            machine.until_written(&first, "ready").await;
            let info = machine.fabric.machines().remove(0);
            assert_eq!((info.state, info.running, info.waiting), (MachineState::Busy, 1, 1));
            stop_second.cancel();
            stop_first.cancel();
        },
        machine.run_task(&first, stop_first.clone()),
        machine.run_task(&second, stop_second.clone()),
    );

    assert_eq!(first.status, OutcomeStatus::Cancelled);
    assert_eq!(second.status, OutcomeStatus::Cancelled);
    assert_eq!(second.stdout.total_bytes, 0);
    let info = machine.fabric.machines().remove(0);
    assert_eq!((info.state, info.running, info.waiting), (MachineState::Online, 0, 0));
}

#[tokio::test]
async fn a_dropped_run_leaves_nothing_running() {
    let machine = Machine::new();
    let spec = task(shell("sleep 1000 & echo $! ready; wait"));

    let text = tokio::select! {
        _ = machine.run_task(&spec, CancellationToken::new()) => panic!("it cannot end by itself"),
        text = machine.until_written(&spec, "ready") => text,
    };

    until_gone(number(text.trim().trim_end_matches(" ready")));
    assert_eq!(machine.records(), 0);
}

#[tokio::test]
async fn a_flood_of_output_is_counted_and_not_kept() {
    let machine = Machine::new();
    let before = resident_kib();

    let outcome = machine.run(shell("yes | head -c 100000000; yes | head -c 1000000 >&2")).await;

    assert!(outcome.succeeded(), "{:?}", outcome.failure);
    assert_eq!(outcome.stdout.total_bytes, 100_000_000);
    assert_eq!(outcome.stderr.total_bytes, 1_000_000);
    assert!(outcome.stdout.truncated);
    assert!(outcome.stdout.text.len() < 66 * 1024);
    assert!(outcome.stdout.text.contains("\n… 99934464 bytes left out …\n"));
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "grew by {grown} KiB");
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("there is /proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the kernel says it");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

#[tokio::test]
async fn binary_output_becomes_text() {
    let machine = Machine::new();

    let outcome = machine.run(shell(r"printf 'a\377\000b'; head -c 300000 /dev/urandom >&2")).await;

    assert_eq!(outcome.stdout.text, "a\u{fffd}\0b");
    assert_eq!(outcome.stderr.total_bytes, 300_000);
    assert!(outcome.stderr.text.len() <= 256 * 1024);
}

#[tokio::test]
async fn a_large_input_does_not_block_a_program_that_writes_while_it_reads() {
    let machine = Machine::new();
    let text = "0123456789abcdef".repeat(256 * 1024);
    let mut command = program("cat", &[]);
    command.stdin = Some(text.clone());

    let outcome = machine.run(command).await;

    assert!(outcome.succeeded());
    assert_eq!(outcome.stdout.total_bytes, text.len() as u64);
}

#[tokio::test]
async fn a_program_need_not_read_its_input() {
    let machine = Machine::new();
    let mut command = program("true", &[]);
    command.stdin = Some("x".repeat(4 * 1024 * 1024));

    assert!(machine.run(command).await.succeeded());
}

#[tokio::test]
async fn without_input_a_program_reads_nothing() {
    let machine = Machine::new();

    let outcome = machine.run(program("cat", &[])).await;

    assert!(outcome.succeeded());
    assert_eq!(outcome.stdout.total_bytes, 0);
}

#[tokio::test]
async fn a_program_that_closes_its_output_is_still_waited_for() {
    let machine = Machine::new();

    let outcome = machine.run(shell("exec >&- 2>&-; sleep 0.3; exit 4")).await;

    assert_eq!(outcome.status, OutcomeStatus::Failed);
    assert_eq!(outcome.exit_code, Some(4));
}

#[tokio::test]
async fn a_daemon_that_keeps_the_pipe_open_is_not_waited_for() {
    let options =
        MachineOptions { linger: Duration::from_millis(200), ..MachineOptions::default() };
    let machine = Machine::with(options);
    let start = Instant::now();
    let line = "setsid sh -c 'echo $$; echo up > up; exec sleep 1000' & while [ ! -s up ]; do sleep 0.02; done";

    let outcome = machine.run(shell(line)).await;

    assert!(outcome.succeeded());
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
    let daemon = number(&outcome.stdout.text);
    assert!(is_alive(daemon), "what left the group on purpose stays");
    assert!(program_ends(daemon));
}

fn program_ends(pid: i32) -> bool {
    let ended = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
    until_gone(pid);
    ended.is_ok_and(|status| status.success())
}

#[tokio::test]
async fn what_a_program_leaves_in_its_group_is_ended() {
    let machine = Machine::new();

    let outcome = machine.run(shell("sleep 1000 >/dev/null 2>&1 & echo $!")).await;

    assert!(outcome.succeeded());
    assert!(!is_alive(number(&outcome.stdout.text)));
}

#[tokio::test]
async fn the_environment_of_the_server_is_not_handed_on() {
    let machine = Machine::new();
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "cargo sets it for tests");
    let mut command = program("env", &[]);
    command.env.insert("MINE".to_owned(), "1".to_owned());

    let outcome = machine.run(command).await;

    let mut names: Vec<&str> =
        outcome.stdout.text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    let inherited = ["HOME", "LANG", "PATH", "TMPDIR", "TZ", "USER"];
    names.retain(|name| !inherited.contains(name));
    assert_eq!(
        names,
        [
            "CAELUM_ATTEMPT",
            "CAELUM_EPOCH",
            "CAELUM_EXECUTION_ID",
            "CAELUM_IDEMPOTENCY_KEY",
            "CAELUM_MACHINE",
            "CAELUM_RUN_ID",
            "CAELUM_STEP_ID",
            "MINE"
        ]
    );
    for line in [
        "CAELUM_ATTEMPT=2",
        "CAELUM_EPOCH=7",
        "CAELUM_EXECUTION_ID=exec-1",
        "CAELUM_IDEMPOTENCY_KEY=exec-1/build/local",
        "CAELUM_MACHINE=local",
        "CAELUM_STEP_ID=build",
    ] {
        assert!(outcome.stdout.text.lines().any(|one| one == line), "{line}");
    }
}

#[tokio::test]
async fn arguments_are_no_shell_and_a_shell_gets_them_as_its_own() {
    let machine = Machine::new();

    let plain = machine.run(program("echo", &["$HOME", "; rm -rf x", "`id`"])).await;
    let mut line = shell("printf '%s|%s' \"$1\" \"$2\"");
    line.args = vec!["a b".to_owned(), "$HOME".to_owned()];
    let in_shell = machine.run(line).await;

    assert_eq!(plain.stdout.text, "$HOME ; rm -rf x `id`\n");
    assert_eq!(in_shell.stdout.text, "a b|$HOME");
}

#[tokio::test]
async fn the_directory_is_the_named_one_and_never_outside_the_root() {
    let machine = Machine::new();
    fs::create_dir(machine.root.path().join("inside")).expect("creates");
    let at = |cwd: &str| {
        let mut command = program("pwd", &[]);
        command.cwd = Some(cwd.to_owned());
        command
    };

    let inside = machine.run(at("inside")).await;
    let outside = machine.run(at("../..")).await;

    let root = machine.root.path().canonicalize().expect("is there");
    assert_eq!(inside.stdout.text.trim_end(), root.join("inside").to_str().expect("UTF-8"));
    assert_eq!(outside.status, OutcomeStatus::NotStarted);
    assert_eq!(code(&outside), "refused_by_policy");
}

#[tokio::test]
async fn a_missing_program_is_a_permanent_failure_with_a_hint() {
    let machine = Machine::new();

    let outcome = machine.run(program("no-such-program-4711", &[])).await;

    assert_eq!(outcome.status, OutcomeStatus::NotStarted);
    let failure = outcome.failure.expect("there is one");
    assert_eq!(failure.class, FailureClass::Permanent);
    assert_eq!(failure.code, "program_not_found");
    assert!(failure.message.starts_with("there is no program `no-such-program-4711`"));
    assert!(failure.hint.is_some());
    assert_eq!(machine.records(), 0);
}

#[tokio::test]
async fn every_way_a_file_cannot_be_run_has_its_own_words() {
    let machine = Machine::new();
    let script = |name: &str, text: &str, mode: u32| {
        machine.write(name, text);
        let path = machine.root.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    script("plain", "#!/bin/sh\n", 0o644);
    script("windows", "#!/bin/sh\r\necho hi\r\n", 0o755);
    script("interpreter", "#!/no/such/thing\n", 0o755);
    script("headless", "echo hi\n", 0o755);

    let codes = [
        ("./plain", "permission_denied", "no execute bit"),
        ("./windows", "program_not_found", "needs the interpreter `/bin/sh\\r`"),
        ("./interpreter", "program_not_found", "needs the interpreter `/no/such/thing`"),
        ("./headless", "not_a_program", "neither a program"),
        ("./nowhere", "program_not_found", "there is no file `./nowhere`"),
        (".", "program_not_found", "no program `.`"),
        ("./", "permission_denied", "it is a directory"),
    ];
    for (name, expected, words) in codes {
        let mut outcome = machine.run(program(name, &[])).await;
        // A child that another test starts at this moment may still hold the file that was written above.
        for _ in 0..20 {
            if code(&outcome) == "machine_busy" {
                outcome = machine.run(program(name, &[])).await;
            }
        }
        assert_eq!(outcome.status, OutcomeStatus::NotStarted, "{name}");
        assert_eq!(code(&outcome), expected, "{name}");
        let failure = outcome.failure.expect("there is one");
        assert_eq!(failure.class, FailureClass::Permanent, "{name}");
        assert!(failure.message.contains(words), "{name}: {}", failure.message);
    }
}

#[tokio::test]
async fn a_program_that_is_still_being_written_is_a_transient_failure() {
    let machine = Machine::new();
    let path = machine.root.path().join("busy");
    fs::copy("/bin/true", &path).expect("copies with its mode");
    let writer: File = OpenOptions::new().append(true).open(&path).expect("opens");

    let outcome = machine.run(program("./busy", &[])).await;

    let failure = outcome.failure.expect("there is one");
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Transient, "machine_busy"));
    drop(writer);
}

#[tokio::test]
async fn exit_codes_and_signals_are_told_apart() {
    let machine = Machine::new();

    let exit = machine.run(shell("exit 3")).await;
    let signal = machine.run(shell("kill -SEGV $$")).await;
    let missing = machine.run(shell("no-such-program-4711")).await;

    assert_eq!((exit.status, exit.exit_code, exit.signal), (OutcomeStatus::Failed, Some(3), None));
    assert_eq!(exit.failure.expect("there is one").message, "ended with exit code 3");
    assert_eq!((signal.exit_code, signal.signal), (None, Some(11)));
    let failure = signal.failure.expect("there is one");
    assert_eq!(failure.message, "was ended by signal 11 (SIGSEGV)");
    assert_eq!((failure.class, failure.code.as_str()), (FailureClass::Exit, "signal"));
    assert_eq!(missing.exit_code, Some(127));
    assert!(missing.failure.expect("there is one").hint.is_some());
}

#[tokio::test]
async fn both_names_mean_this_machine_and_no_other_does() {
    let machine = Machine::new();
    let info = machine.fabric.machines().remove(0);
    let spec = task(program("true", &[]));

    for name in info.aliases.iter().chain([&info.id]) {
        assert_eq!(machine.fabric.canonical(name), Some(MachineId::local()));
        assert!(machine.fabric.run(name, &spec, CancellationToken::new()).await.succeeded());
    }
    let other: MachineId = "loacl".parse().expect("legal");
    let outcome = machine.fabric.run(&other, &spec, CancellationToken::new()).await;

    assert_eq!(code(&outcome), "machine_unknown");
    let hint = outcome.failure.and_then(|failure| failure.hint).expect("a near name");
    assert!(hint.contains("`local`"), "{hint}");
    assert_eq!(info.labels.get("os").map(String::as_str), Some("linux"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_tasks_at_once_all_end_and_leave_nothing() {
    let machine = Arc::new(Machine::new());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200 {
        let machine = Arc::clone(&machine);
        tasks.spawn(async move {
            let outcome = machine.run(shell(&format!("sleep 0.05 & echo {number}; wait"))).await;
            (number, outcome)
        });
    }

    let outcomes = tasks.join_all().await;

    assert_eq!(outcomes.len(), 200);
    for (number, outcome) in outcomes {
        assert!(outcome.succeeded(), "{:?}", outcome.failure);
        assert_eq!(outcome.stdout.text, format!("{number}\n"));
    }
    assert_eq!(machine.records(), 0);
    assert_eq!(machine.fabric.machines().remove(0).running, 0);
}

/// In a process of its own, where nobody else has children.
#[tokio::test]
async fn no_child_is_left_uncollected() {
    const ROLE: &str = "CAELUM_TEST_ONLY_PARENT";
    if std::env::var_os(ROLE).is_none() {
        let output = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "command::no_child_is_left_uncollected"])
            .env(ROLE, "1")
            .output()
            .expect("starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let machine = Machine::new();
    let mut spec = task(shell("sleep 1000 & sleep 1000 & wait"));
    spec.run_timeout_ms = 100;

    for _ in 0..5 {
        machine.run(shell("true & false")).await;
        machine.run_task(&spec, CancellationToken::new()).await;
        assert_eq!(zombies(), [""; 0]);
    }
}
