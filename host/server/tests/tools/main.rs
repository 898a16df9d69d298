//! The tools over a real engine, called as every transport calls them: through the tool set.

mod arguments;
// The other client of the plugin host's tests.
#[path = "../../../plugins/tests/host/bystander.rs"]
mod bystander;
mod changes;
mod golden;
mod journeys;
mod large;
mod plugins;
mod sizes;
mod toolsets;
mod waiting;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use caelum_workflow::config::{Config, Flags, Sources};
use caelum_workflow::mcp::error::ToolError;
use caelum_workflow::mcp::tool::{Client, Reply};
use caelum_workflow::mcp::toolset::CallContext;
use caelum_workflow::server::{Core, Unfinished};
use serde_json::{Map, Value, json};

/// An engine with its tools in a directory of its own.
struct World {
    core: Core,
    dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    /// Opens one with further settings.
    async fn with(settings: &[(&'static str, &str)]) -> Self {
        Self::open(settings, &[]).await
    }

    /// Opens one with further limits.
    async fn limited(limits: &[&str]) -> Self {
        Self::open(&[], limits).await
    }

    async fn open(settings: &[(&'static str, &str)], limits: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("root")).expect("a root");
        let flag = |path: PathBuf| vec![path.display().to_string()];
        let mut flags = Flags {
            settings: BTreeMap::from([
                ("data_dir", flag(dir.path().join("data"))),
                ("roots", flag(dir.path().join("root"))),
                // Compiling the bundled plugins takes longer than everything else here.
                ("cache_dir", flag(Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-cache"))),
            ]),
            limits: limits.iter().map(|limit| (*limit).to_owned()).collect(),
            ..Flags::default()
        };
        flags
            .settings
            .extend(settings.iter().map(|(key, value)| (*key, vec![(*value).to_owned()])));
        let sources = Sources::of(flags, BTreeMap::new(), dir.path().to_owned());
        let config = Config::load(&sources).expect("the settings are right");
        let core = Core::open(&config, Unfinished::GoesOn).await.expect("the engine opens");
        Self { core, dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    async fn call(&self, tool: &str, arguments: Value) -> Result<Reply, ToolError> {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        let context = CallContext {
            client: Some(Client { name: "tests".to_owned(), version: "1".to_owned() }),
            ..CallContext::local(&self.core.toolset)
        };
        Arc::clone(&self.core.toolset)
            .call(tool, arguments, context)
            .await
            .expect("the tool is there")
    }

    async fn ok(&self, tool: &str, arguments: Value) -> Value {
        match self.call(tool, arguments.clone()).await {
            Ok(reply) => {
                fits(&self.core, tool, &reply.structured);
                Value::Object(reply.structured)
            }
            Err(error) => panic!("{tool} {arguments}: {}", error.text()),
        }
    }

    async fn refused(&self, tool: &str, arguments: Value) -> String {
        match self.call(tool, arguments.clone()).await {
            Ok(reply) => panic!("{tool} {arguments} was answered: {}", reply.text),
            Err(error) => error.text(),
        }
    }

    async fn settled(&self, execution: &Value) -> Value {
        let question = json!({"execution_id": execution, "wait_s": 30, "wait_until": "settled"});
        let view = self.ok("get_workflow_status", question).await;
        assert_ne!(view["status"], "executing", "{view:#}");
        view
    }
}

/// Holds an answer against the tool's own output schema.
fn fits(core: &Core, tool: &str, answer: &Map<String, Value>) {
    let schema = &core.toolset.tool(tool).expect("the tool is there").output_schema;
    let validator = jsonschema::validator_for(schema).expect("the schema is one");
    let answer = Value::Object(answer.clone());
    let faults: Vec<String> = validator
        .iter_errors(&answer)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(faults, Vec::<String>::new(), "the answer of {tool} does not fit its schema");
}
