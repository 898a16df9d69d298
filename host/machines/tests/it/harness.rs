//! A machine with its own root and data directory, and looks at `/proc` that do not go through the code under test.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use caelum_core::clock::{HandClock, Timestamp};
use caelum_core::evidence::ProbeAnswer;
use caelum_core::id::MachineId;
use caelum_core::task::{
    CommandSpec, IdempotencyKey, Probe, ProbeKind, TaskOutcome, TaskSpec, Work,
};
use caelum_machines::probe::{PortClaim, PortClaims};
use caelum_machines::{CommandPolicy, Fabric, LocalFabric, MachineOptions};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// How long a state may take to come about before a test gives up.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Machine {
    pub(crate) root: TempDir,
    pub(crate) data: TempDir,
    pub(crate) fabric: Arc<LocalFabric>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Machine::with(MachineOptions::default())
    }

    pub(crate) fn with(options: MachineOptions) -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        let data = tempfile::tempdir().expect("temporary directory");
        let fabric = Arc::new(open(root.path(), data.path(), options));
        Machine { root, data, fabric }
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("beneath the root")).expect("creates");
        fs::write(path, text).expect("writes");
    }

    pub(crate) async fn run(&self, command: CommandSpec) -> TaskOutcome {
        self.run_task(&task(command), CancellationToken::new()).await
    }

    pub(crate) async fn run_task(&self, spec: &TaskSpec, cancel: CancellationToken) -> TaskOutcome {
        self.fabric.run(&MachineId::local(), spec, cancel).await
    }

    pub(crate) async fn probe(&self, kind: ProbeKind) -> ProbeAnswer {
        let probe = Probe { name: "p".to_owned(), kind, timeout_ms: 20_000 };
        self.fabric.probe(&MachineId::local(), &probe).await
    }

    /// Waits until a running task has written `text`.
    pub(crate) async fn until_written(&self, spec: &TaskSpec, text: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(output) = self.fabric.output_so_far(&spec.key)
                && output.stdout.text.contains(text)
            {
                return output.stdout.text;
            }
            assert!(start.elapsed() < LIMIT, "nobody wrote {text:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Counts records of running programs.
    pub(crate) fn records(&self) -> usize {
        fs::read_dir(self.data.path().join("tasks")).expect("the folder is there").count()
    }
}

pub(crate) fn open(root: &Path, data: &Path, options: MachineOptions) -> LocalFabric {
    let policy = CommandPolicy::new([root.to_owned()]).expect("the root is there");
    let clock = HandClock::at(Timestamp::from_micros(1_000_000));
    let claims = PortClaims::new(|port| {
        let service = format!("service-{port}");
        Some(PortClaim { service, project: None })
    });
    LocalFabric::open(data, policy, options, BTreeMap::new(), Arc::new(clock), claims)
        .expect("the machine opens")
}

pub(crate) fn program(name: &str, args: &[&str]) -> CommandSpec {
    CommandSpec {
        program: name.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        ..CommandSpec::default()
    }
}

pub(crate) fn shell(line: &str) -> CommandSpec {
    CommandSpec { shell: true, ..program(line, &[]) }
}

pub(crate) fn task(command: CommandSpec) -> TaskSpec {
    TaskSpec {
        version: 1,
        key: IdempotencyKey {
            execution: "exec-1".parse().expect("legal"),
            step: "build".parse().expect("legal"),
            machine: MachineId::local(),
            item: None,
        },
        epoch: 7,
        attempt: 2,
        work: Work::Command(command),
        run_timeout_ms: 60_000,
        queue_timeout_ms: None,
        heartbeat_timeout_ms: None,
        grace_ms: 5_000,
    }
}

/// Returns whether a process is there and has not ended.
pub(crate) fn is_alive(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let (_, after) = stat.rsplit_once(") ").expect("the kernel writes a name in brackets");
    !after.starts_with(['Z', 'X'])
}

/// Waits until a process is gone.
pub(crate) fn until_gone(pid: i32) {
    let start = Instant::now();
    while is_alive(pid) {
        assert!(start.elapsed() < LIMIT, "{pid} is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Lists children of this process that ended and were never collected.
pub(crate) fn zombies() -> Vec<String> {
    let own = std::process::id().to_string();
    fs::read_dir("/proc")
        .expect("there is /proc")
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok())
        .filter(|stat| {
            let fields: Vec<&str> =
                stat.rsplit_once(") ").map_or("", |(_, after)| after).split(' ').collect();
            fields.first() == Some(&"Z") && fields.get(1) == Some(&own.as_str())
        })
        .collect()
}

pub(crate) fn number(text: &str) -> i32 {
    text.trim().parse().unwrap_or_else(|_| panic!("{text:?} is a number"))
}

pub(crate) fn code(outcome: &TaskOutcome) -> &str {
    outcome.failure.as_ref().map_or("", |failure| failure.code.as_str())
}
