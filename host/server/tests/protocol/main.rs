//! What the protocol offers beside tools, over the wire: resources, subscriptions, prompts, completions, reviews by form,
//! tasks; in both eras, with a real engine behind.

mod apps;
mod idle;
mod prompts;
mod resources;
mod reviews;
mod subscriptions;
mod tasks;
mod toolsets;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use caelum_workflow::config::{Config, Flags, Sources};
use caelum_workflow::server::{Core, Unfinished};
use serde_json::{Value, json};

use self::wire::Wire;

/// An engine with its tools in a directory of its own.
struct World {
    core: Core,
    dir: tempfile::TempDir,
}

/// Which era of the protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Era {
    /// With `initialize`.
    Older,
    /// Every request by itself.
    Newer,
}

const BOTH: [Era; 2] = [Era::Older, Era::Newer];

impl World {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    /// Opens one with further settings.
    async fn with(settings: &[(&'static str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("root")).expect("a root");
        let core = open(dir.path(), settings).await;
        Self { core, dir }
    }

    /// Returns the same world after the server was stopped and started again.
    async fn again(self) -> Self {
        let Self { core, dir } = self;
        core.close().await;
        let core = open(dir.path(), &[]).await;
        Self { core, dir }
    }

    async fn client(&self, era: Era, capabilities: Value) -> Wire {
        Wire::open(&self.core.toolset, era, "tests", capabilities).await
    }
}

async fn open(dir: &Path, settings: &[(&'static str, &str)]) -> Core {
    let flag = |path: PathBuf| vec![path.display().to_string()];
    let mut all = BTreeMap::from([
        ("data_dir", flag(dir.join("data"))),
        ("roots", flag(dir.join("root"))),
        // Compiling the bundled plugins takes longer than everything else here.
        ("cache_dir", flag(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache"))),
    ]);
    all.extend(settings.iter().map(|(name, value)| (*name, vec![(*value).to_owned()])));
    let flags = Flags { settings: all, ..Flags::default() };
    let sources = Sources::of(flags, BTreeMap::new(), dir.to_owned());
    let config = Config::load(&sources).expect("the settings are right");
    Core::open(&config, Unfinished::GoesOn).await.expect("the engine opens")
}

/// A workflow whose one step somebody does and somebody else reviews.
fn by_hand() -> Value {
    json!([{"id": "look", "type": "validation", "validation": "manual-review",
            "action": {"kind": "manual", "instructions": "Look closely."}}])
}

/// A workflow whose one step runs a shell line.
fn command(line: &str) -> Value {
    json!([{"id": "run", "type": "development",
            "action": {"kind": "command", "shell": true, "program": line}}])
}
