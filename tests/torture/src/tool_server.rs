//! A small MCP server on standard input and output with one tool, which leaves marks with the witness.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::witness::{Door, Mark, Witness, Work};

/// What the server is told.
#[derive(Debug, Args)]
pub(crate) struct ToolServerArguments {
    /// The witness.
    #[arg(long)]
    witness: PathBuf,
    /// How long a call takes, in milliseconds.
    #[arg(long, default_value_t = 20)]
    ms: u64,
}

pub(crate) fn run(arguments: &ToolServerArguments) -> ExitCode {
    let witness = Witness::open(&arguments.witness).expect("the witness can be opened");
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let Ok(request) = serde_json::from_str::<Value>(&line) else { continue };
        let Some(id) = request.get("id").filter(|id| !id.is_null()) else { continue };
        let result = match request["method"].as_str().unwrap_or_default() {
            "initialize" => json!({
                "protocolVersion": request["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "torture", "version": "1"},
            }),
            "tools/list" => json!({"tools": [
                {"name": "work", "inputSchema": {"type": "object"}},
            ]}),
            "tools/call" => {
                work(&witness, &request["params"]["arguments"], arguments.ms);
                json!({"content": [{"type": "text", "text": "done"}], "structuredContent": {"done": true}})
            }
            _ => json!({}),
        };
        let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
        if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn work(witness: &Witness, arguments: &Value, ms: u64) {
    let text = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
    let work = Work {
        door: Door::Tool,
        execution: text("execution"),
        step: text("step"),
        item: None,
        attempt: text("attempt").trim_start_matches('a').parse().unwrap_or_default(),
        epoch: 0,
    };
    witness.mark(&Mark::Begin(work.clone())).expect("the witness can be written");
    std::thread::sleep(Duration::from_millis(ms));
    witness.mark(&Mark::End(work)).expect("the witness can be written");
}
