//! Breaks writing off at every single step, by a panic, by an error and by SIGKILL, and looks at what is left.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use caelum_core::id::ApplicationId;
use caelum_core::pattern::{Change, Edit, Ownership, Plan, Replacement, Risk};
use tempfile::TempDir;

use crate::content::digest_of;
use crate::error::ComponentsError;
use crate::lock;
use crate::plan::{StageLimits, StagedPlan, stage};
use crate::provenance::Source;
use crate::resolve::{Component, Components};

/// Everything beneath a directory: mode, and bytes where it is a file.
type Snapshot = BTreeMap<String, (u32, Option<Vec<u8>>)>;

struct Sample {
    root: TempDir,
    data: TempDir,
}

impl Sample {
    fn new() -> Self {
        let sample = Sample {
            root: tempfile::tempdir().expect("temporary directory"),
            data: tempfile::tempdir().expect("temporary directory"),
        };
        fill(sample.root.path());
        sample
    }

    fn open(&self) -> (Components, Component) {
        open(self.root.path(), self.data.path())
    }

    fn snapshot(&self) -> Snapshot {
        snapshot(self.root.path())
    }

    fn nothing_is_open(&self) -> bool {
        fs::read_dir(self.data.path().join("journal/open")).expect("is there").next().is_none()
    }
}

fn fill(root: &Path) {
    fs::create_dir_all(root.join("app/only")).expect("creates");
    for (path, text, mode) in [
        ("app/main.py", "print('one')\n", 0o640),
        ("run.sh", "#!/bin/sh\nexit 0\n", 0o750),
        ("old.txt", "old\n", 0o600),
        ("app/only/here.txt", "moves\n", 0o604),
    ] {
        fs::write(root.join(path), text).expect("writes");
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).expect("chmod");
    }
}

fn open(root: &Path, data: &Path) -> (Components, Component) {
    let components = Components::open(&[root.to_owned()], None, data).expect("opens");
    let component = components.resolve(".").expect("is there");
    (components, component)
}

fn snapshot(root: &Path) -> Snapshot {
    let mut snapshot = Snapshot::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("lists") {
            let path = entry.expect("lists").path();
            let metadata = fs::symlink_metadata(&path).expect("is there");
            let bytes = metadata.is_file().then(|| fs::read(&path).expect("reads"));
            let name =
                path.strip_prefix(root).expect("beneath").to_str().expect("UTF-8").to_owned();
            snapshot.insert(name, (metadata.permissions().mode() & 0o7777, bytes));
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    snapshot
}

/// A plan with everything that a plan can do.
fn staged(component: &Component) -> StagedPlan {
    let edit = |change, ownership| Edit {
        change,
        ownership,
        risk: Risk::Safe,
        resolves: vec![],
        rationale: String::new(),
    };
    let create = |path: &str, text: &str| Change::Create {
        path: path.to_owned(),
        content: text.as_bytes().to_vec(),
    };
    let edits = vec![
        edit(create("deep/er/new.txt", "new\n"), Ownership::Managed),
        edit(create("deep/check.sh", "#!/bin/sh\n"), Ownership::Seed),
        edit(
            Change::Replace {
                path: "app/main.py".to_owned(),
                base_sha256: digest_of(b"print('one')\n"),
                ranges: vec![Replacement { start: 7, end: 10, text: "two".to_owned() }],
            },
            Ownership::Block,
        ),
        edit(
            Change::Delete { path: "old.txt".to_owned(), base_sha256: digest_of(b"old\n") },
            Ownership::Managed,
        ),
        edit(
            Change::Rename {
                source: "app/only/here.txt".to_owned(),
                destination: "moved/there.txt".to_owned(),
                base_sha256: digest_of(b"moves\n"),
            },
            Ownership::Managed,
        ),
    ];
    let plan = Plan { summary: String::new(), edits, next_steps: vec![], findings: vec![] };
    stage(&*component.tree(), &plan, &StageLimits::default()).expect("a good plan")
}

fn source() -> Source {
    Source {
        pattern: "sample".parse().expect("legal"),
        version: "1.0.0".to_owned(),
        digest: digest_of(b"plugin"),
        parameters: serde_json::Map::new(),
    }
}

fn id(text: &str) -> ApplicationId {
    text.parse().expect("legal")
}

fn apply(
    components: &Components,
    component: &Component,
    name: &str,
) -> Result<(), ComponentsError> {
    components.apply(component, &id(name), &source(), &staged(component)).map(drop)
}

/// The component before and after the plan, and the steps of applying and of reverting it.
struct Known {
    before: Snapshot,
    after: Snapshot,
    apply_steps: Vec<String>,
    revert_steps: Vec<String>,
}

fn known() -> Known {
    let sample = Sample::new();
    let before = sample.snapshot();
    let watched = |act: &dyn Fn(&Components, &Component)| {
        let (components, component) = sample.open();
        let steps = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&steps);
        components.0.journal.watch(move |step| {
            seen.lock().expect("no panic here").push(step.to_owned());
            Ok(())
        });
        act(&components, &component);
        let steps = steps.lock().expect("no panic here");
        steps.clone()
    };
    let apply_steps =
        watched(&|components, component| apply(components, component, "a").expect("applies"));
    let after = sample.snapshot();
    let revert_steps =
        watched(&|components, _| drop(components.revert(&id("a")).expect("reverts")));
    assert_eq!(sample.snapshot(), before, "reverting gives back exactly what was there");
    Known { before, after, apply_steps, revert_steps }
}

/// Lets step number `at` and, when told so, all later ones fail or panic.
fn break_at(components: &Components, at: usize, how: Break) {
    let count = AtomicUsize::new(0);
    components.0.journal.watch(move |step| {
        let now = count.fetch_add(1, Ordering::SeqCst);
        match how {
            Break::Crash if now >= at => panic!("breaks off at {step}"),
            Break::FailOnce if now == at => Err(io::Error::other("no space")),
            Break::FailForEver if now >= at => Err(io::Error::other("no space")),
            _ => Ok(()),
        }
    });
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    Crash,
    FailOnce,
    FailForEver,
}

fn quietly<T>(act: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(act)).ok()
}

#[test]
fn a_crash_at_any_step_of_applying_leaves_the_component_whole() {
    let known = known();
    assert!(known.apply_steps.len() > 30, "{:?}", known.apply_steps);
    for (at, step) in known.apply_steps.iter().enumerate() {
        let sample = Sample::new();
        let (components, component) = sample.open();
        break_at(&components, at, Break::Crash);
        assert!(quietly(|| apply(&components, &component, "a")).is_none(), "{step}");
        drop((components, component));

        let (components, component) = sample.open();

        assert_eq!(sample.snapshot(), known.before, "after a crash before `{step}`");
        assert!(sample.nothing_is_open(), "{step}");
        assert!(components.recovered().iter().all(|one| one.error.is_none()), "{step}");
        apply(&components, &component, "a").unwrap_or_else(|error| panic!("{step}: {error}"));
        assert_eq!(sample.snapshot(), known.after, "{step}");
    }
}

#[test]
fn a_crash_at_any_step_of_reverting_leaves_the_component_whole() {
    let known = known();
    for (at, step) in known.revert_steps.iter().enumerate() {
        let sample = Sample::new();
        let (components, component) = sample.open();
        apply(&components, &component, "a").expect("applies");
        break_at(&components, at, Break::Crash);
        assert!(quietly(|| components.revert(&id("a"))).is_none(), "{step}");
        drop((components, component));

        let (components, _) = sample.open();

        assert!(sample.nothing_is_open(), "{step}");
        if step == "forget the application" {
            // The revert counted already; only the journal had still to be told.
            assert_eq!(sample.snapshot(), known.before, "{step}");
            let again = components.revert(&id("a")).expect_err("reverted");
            assert!(matches!(again, ComponentsError::AlreadyReverted(_)), "{again}");
            continue;
        }
        assert_eq!(sample.snapshot(), known.after, "after a crash before `{step}`");
        components.revert(&id("a")).unwrap_or_else(|error| panic!("{step}: {error}"));
        assert_eq!(sample.snapshot(), known.before, "{step}");
    }
}

#[test]
fn a_crash_while_undoing_a_crash_is_undone_as_well() {
    let known = known();
    // After everything was written and right before it would have counted: the most there is to undo.
    let worst = known.apply_steps.iter().position(|step| step == "commit").expect("there is one");
    for at in 0.. {
        let sample = Sample::new();
        let (components, component) = sample.open();
        break_at(&components, worst, Break::Crash);
        quietly(|| apply(&components, &component, "a"));
        drop((components, component));

        // Recovery runs before a watcher could be set, so it is called by hand here, on the same journal.
        let data = sample.data.path();
        let journal = crate::journal::Journal::open(data).expect("opens");
        let record = journal.read_open("a").expect("is under way");
        let root = sample.root.path().canonicalize().expect("is there");
        let folder = crate::folder::Folder::ambient(&root).expect("opens");
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        journal.watch(move |step| {
            assert!(counter.fetch_add(1, Ordering::SeqCst) < at, "breaks off at {step}");
            Ok(())
        });
        let through = quietly(|| crate::transaction::undo(&journal, &folder, &record)).is_some();

        let (components, _) = sample.open();
        assert_eq!(sample.snapshot(), known.before, "after a second crash at step {at}");
        assert!(sample.nothing_is_open());
        assert_eq!(components.recovered().len(), usize::from(!through));
        if through {
            assert!(at > 10, "undoing has many steps");
            return;
        }
    }
}

#[test]
fn an_error_at_any_step_puts_everything_back_at_once() {
    let known = known();
    for (at, step) in known.apply_steps.iter().enumerate() {
        let sample = Sample::new();
        let (components, component) = sample.open();
        break_at(&components, at, Break::FailOnce);

        let error = apply(&components, &component, "a").expect_err(step);

        assert!(!matches!(error, ComponentsError::HalfDone { .. }), "{step}: {error}");
        assert_eq!(sample.snapshot(), known.before, "after an error at `{step}`");
        assert!(sample.nothing_is_open(), "{step}");
        apply(&components, &component, "a").unwrap_or_else(|error| panic!("{step}: {error}"));
        assert_eq!(sample.snapshot(), known.after, "{step}");
    }
}

#[test]
fn when_putting_back_fails_too_the_next_start_does_it() {
    let known = known();
    let begin = known.apply_steps.iter().position(|step| step == "begin").expect("there is one");
    for (at, step) in known.apply_steps.iter().enumerate() {
        let sample = Sample::new();
        let (components, component) = sample.open();
        break_at(&components, at, Break::FailForEver);

        let error = apply(&components, &component, "a").expect_err(step);

        let half_done = matches!(error, ComponentsError::HalfDone { .. });
        assert_eq!(half_done, at > begin, "{step}: {error}");
        drop((components, component));
        sample.open();
        assert_eq!(sample.snapshot(), known.before, "{step}");
        assert!(sample.nothing_is_open(), "{step}");
    }
}

#[test]
fn what_somebody_changed_meanwhile_is_left_alone_by_recovery() {
    let known = known();
    let sample = Sample::new();
    let (components, component) = sample.open();
    let worst = known.apply_steps.iter().position(|step| step == "commit").expect("there is one");
    break_at(&components, worst, Break::Crash);
    quietly(|| apply(&components, &component, "a"));
    drop((components, component));
    fs::write(sample.root.path().join("app/main.py"), "mine\n").expect("writes");

    let (components, _) = sample.open();

    assert_eq!(components.recovered()[0].left, ["app/main.py"]);
    assert_eq!(components.recovered()[0].error, None);
    let mut now = sample.snapshot();
    assert_eq!(now.remove("app/main.py").expect("is there").1.as_deref(), Some(&b"mine\n"[..]));
    let mut expected = known.before;
    expected.remove("app/main.py");
    assert_eq!(now, expected);
    assert!(sample.nothing_is_open());
}

const ROLE: &str = "CAELUM_TEST_DOOMED_WRITER";

/// Plays the server that is killed, in a process of its own: started by the test below through this test's name. Run as
/// a test it has nothing to do.
#[test]
fn a_writer_that_is_about_to_be_killed() {
    let Some(folder) = std::env::var_os(ROLE) else {
        return;
    };
    let folder = Path::new(&folder);
    let (components, component) = open(&folder.join("root"), &folder.join("data"));
    components.0.journal.watch(|step| {
        use std::io::Write;
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "step {step}")?;
        stdout.flush()
    });
    for round in 0.. {
        let name = format!("{}-{round}", std::process::id());
        apply(&components, &component, &name).expect("applies");
        components.revert(&id(&name)).expect("reverts");
    }
}

#[test]
fn a_writer_killed_at_any_moment_leaves_the_component_whole() {
    let known = known();
    let folder = tempfile::tempdir().expect("temporary directory");
    for name in ["root", "data"] {
        fs::create_dir(folder.path().join(name)).expect("creates");
    }
    let (root, data) = (folder.path().join("root"), folder.path().join("data"));
    fill(&root);
    let steps = known.apply_steps.len() + known.revert_steps.len();
    // Every seventh step, over a whole round and a little more: a different place of the round each time.
    for lines in (1..steps + 10).step_by(7) {
        let mut writer = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "torture::a_writer_that_is_about_to_be_killed", "--nocapture"])
            .env(ROLE, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let stdout = BufReader::new(writer.stdout.take().expect("piped"));
        let seen = stdout
            .lines()
            .map_while(Result::ok)
            .filter(|line| line.starts_with("step "))
            .take(lines)
            .count();
        assert_eq!(seen, lines, "the writer ended by itself");
        writer.kill().expect("kills");
        writer.wait().expect("collects");

        let (components, _) = open(&root, &data);

        assert!(
            components.recovered().iter().all(|one| one.error.is_none() && one.left.is_empty())
        );
        let now = snapshot(&root);
        let is_after = now == known.after;
        assert!(is_after || now == known.before, "after {lines} steps: {:?}", now.keys());
        if is_after {
            // Whatever was applied can be taken back: the journal knows which it was.
            let applied = fs::read_dir(data.join("journal"))
                .expect("lists")
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".json").map(id))
                .filter(|id| !components.0.journal.is_reverted(id))
                .collect::<Vec<_>>();
            assert_eq!(applied.len(), 1, "{applied:?}");
            components.revert(&applied[0]).expect("reverts");
            assert_eq!(snapshot(&root), known.before);
        }
    }
}

#[test]
fn two_writers_take_turns_and_a_third_who_cannot_wait_is_told() {
    let sample = Sample::new();
    let (components, component) = sample.open();
    let held = lock::exclusive(&component).expect("free");

    let parent = components.resolve(".").expect("is there");
    let child = components.resolve("app").expect("is there");
    for other in [&parent, &child] {
        let start = Instant::now();
        let busy = lock::exclusive_within(other, Duration::from_millis(60)).expect_err("held");
        assert!(matches!(busy, ComponentsError::Busy { .. }), "{busy}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    drop(held);

    let below = lock::exclusive(&child).expect("free");
    let above = lock::exclusive_within(&parent, Duration::from_millis(60)).expect_err("held below");
    assert!(matches!(above, ComponentsError::Busy { .. }), "{above}");
    drop(below);
    lock::exclusive(&parent).expect("free again");
}

#[test]
fn many_writers_at_once_end_in_one_of_the_states() {
    let known = known();
    let sample = Sample::new();
    let (components, component) = sample.open();
    let plan = staged(&component);
    let results: Vec<Result<(), ComponentsError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let (components, component, plan) = (&components, &component, &plan);
                scope.spawn(move || {
                    let name = id(&format!("a{number}"));
                    components.apply(component, &name, &source(), plan).map(drop)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });

    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error, ComponentsError::Conflict(_)), "{error}");
    }
    assert_eq!(sample.snapshot(), known.after);
}
