//! `demo`: a real workflow with real gates over a real little service, in a directory of its own, told in plain words.
//! It ends well only when everything happened as it was told.

mod story;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Args;
use serde_json::{Value, json};

use self::story::{COMPONENT, EXAMPLE_FILES, FIX, WORKFLOW, faults};
use super::CommandError;
use super::access::{Access, Reach};
use super::exit::Exit;
use super::follow::follow;
use super::output::{BAD, FAINT, GOOD, Output, STRONG, paint};
use super::pattern::show_diff;
use super::run::keep;
use super::tree;
use crate::config::Config;
use crate::document;
use crate::mcp::tools::execution::ExecutionStarted;
use crate::mcp::tools::status::ExecutionView;
use crate::mcp::tools::step::StepAnswer;
use crate::server::make_private;

/// Who does the work that waits for somebody, and who reviews it: two, because nobody reviews their own work.
const PERFORMER: &str = "demo-developer";
const REVIEWER: &str = "demo-reviewer";

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Keep the directory, to look around in it afterwards.
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(super) async fn run(
        self,
        mut config: Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        need_python().await?;
        let directory = tempfile::Builder::new()
            .prefix("caelum-demo-")
            .tempdir()
            .map_err(|error| CommandError::Failed(format!("no directory for the demo: {error}")))?;
        // Commands see the name that the system gives, and the roots are compared by it.
        let root = directory
            .path()
            .canonicalize()
            .map_err(|error| CommandError::Failed(format!("no directory for the demo: {error}")))?;
        lay_out(&root)?;
        // Compiled plugins are kept where they always are, so that the next command is quick.
        if make_private(&config.data_dir).is_err() {
            config.cache_dir = root.join("cache");
        }
        config.data_dir = root.join("data");
        config.audit.directory = root.join("data/audit");
        config.pattern_dir = root.join("data/plugins");
        config.components_file = root.join("data/components.toml");
        config.roots = vec![root.clone()];
        let outcome =
            Access::within(&config, Reach::Roots, async |access| tell(access, output, &root).await)
                .await;
        if self.keep {
            let path = directory.keep();
            output.line(format!("\nkept: {}", path.display())).map_err(CommandError::Output)?;
        }
        outcome
    }
}

/// Makes sure that the sample service can run.
async fn need_python() -> Result<(), CommandError> {
    let found = tokio::process::Command::new("python3")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    match found {
        Ok(status) if status.success() => Ok(()),
        _ => Err(CommandError::Failed(
            "the sample service needs python3, and there is none; hint: apt-get install python3"
                .to_owned(),
        )),
    }
}

/// Writes the sample service into the demo's directory.
fn lay_out(root: &Path) -> Result<(), CommandError> {
    for (path, text) in EXAMPLE_FILES {
        let path = root.join(COMPONENT).join(path);
        let folder = path.parent().map_or_else(|| root.to_owned(), Path::to_owned);
        std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, text)).map_err(
            |error| {
                CommandError::Failed(format!("`{}` cannot be written: {error}", path.display()))
            },
        )?;
    }
    Ok(())
}

/// Returns a port that nobody listens on.
fn free_port() -> Result<u16, CommandError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| CommandError::Failed(format!("no free port: {error}")))
}

async fn tell(access: &Access, output: &mut Output, root: &Path) -> Result<Exit, CommandError> {
    let say = |output: &mut Output, text: &str| output.line(text).map_err(CommandError::Output);
    let title = |output: &mut Output, text: &str| {
        output.line(format!("\n{}", paint(STRONG, text))).map_err(CommandError::Output)
    };
    title(output, "A service that is not quite in order")?;
    say(
        output,
        &format!(
            "  {} holds a copy of examples/notes-service: a small HTTP service in Python with a compose file,",
            root.join(COMPONENT).display()
        ),
    )?;
    say(
        output,
        "  a Dockerfile and tests. Nothing declares it, nothing watches its health, and one unit test fails.",
    )?;
    title(output, "A workflow that brings it in order")?;
    say(
        output,
        "  examples/workflows/notes-service-v1.yaml: ten steps. Patterns and validators run as WebAssembly components;",
    )?;
    say(
        output,
        "  tests, the fix and the service itself run as real commands. Watch the first gate of `first-tests`: it must refuse.",
    )?;
    say(output, "")?;
    let document = document::read(WORKFLOW).map_err(|error| CommandError::Document {
        path: PathBuf::from("notes-service-v1.yaml"),
        error,
    })?;
    let created = keep(access, document).await?;
    let started: ExecutionStarted = access
        .call(
            "execute_workflow",
            json!({"workflow_id": created.workflow_id, "revision": created.revision,
                   "parameters": {"component": COMPONENT, "port": free_port()?}}),
        )
        .await?;
    let execution_id = started.execution_id.unwrap_or_default();
    let mut view = follow(access, output, &execution_id, None).await?;
    // Two turns: the work, and its review.
    for _ in 0..4 {
        let Some(waiting) = view.waiting_for.first().filter(|_| view.status == "paused") else {
            break;
        };
        let who = if waiting.kind == "review" { REVIEWER } else { PERFORMER };
        title(output, &format!("Step `{}` waits for {}", waiting.step_id, waiting.kind))?;
        say(output, &format!("  {}", waiting.instructions))?;
        say(output, &format!("  {who}, played by this demo, answers.\n"))?;
        speak(access, &execution_id, &waiting.step_id, &waiting.kind).await?;
        view = follow(access, output, &execution_id, Some(view)).await?;
    }
    let question = json!({"execution_id": execution_id, "detail": "full"});
    let whole: ExecutionView = access.call("get_workflow_status", question).await?;
    conclude(output, &whole)
}

/// Says what the scripted developer and the scripted reviewer have to say.
async fn speak(
    access: &Access,
    execution_id: &str,
    step_id: &str,
    kind: &str,
) -> Result<(), CommandError> {
    let (tool, mut arguments) = if kind == "review" {
        (
            "review_step",
            json!({"reviewer": REVIEWER, "decision": "approved",
            "reason": "the diff declares the service and adds health checks, and the tests pass"}),
        )
    } else {
        (
            "complete_step",
            json!({"performer": PERFORMER,
            "summary": "read the diff: a declaration, start-up checks and health checks were added; pages.py was mended"}),
        )
    };
    if let Value::Object(arguments) = &mut arguments {
        arguments.insert("execution_id".to_owned(), json!(execution_id));
        arguments.insert("step_id".to_owned(), json!(step_id));
    }
    access.call::<StepAnswer>(tool, arguments).await?;
    Ok(())
}

/// Shows the tree, the diff and the verdicts, and whether everything happened as it was told.
fn conclude(output: &mut Output, view: &ExecutionView) -> Result<Exit, CommandError> {
    let faults = faults(view);
    let exit = if faults.is_empty() { Exit::Ok } else { Exit::Failed };
    let show = |output: &mut Output| -> std::io::Result<()> {
        if output.result(view)? {
            return Ok(());
        }
        output.line(format!("\n{}", paint(STRONG, "What the steps changed")))?;
        for (step, diff) in changes(view) {
            output.line(paint(FAINT, format!("step {step}:")))?;
            show_diff(output, &diff)?;
        }
        output.line(format!("\n{}", paint(STRONG, "The steps")))?;
        for line in tree::lines(view) {
            output.line(line)?;
        }
        output.line(format!("\n{}", paint(STRONG, "The verdicts")))?;
        for step in &view.steps {
            for gate in &step.gates {
                output.line(format!(
                    "  {:<18} {:<11} {:<19} {}",
                    step.id,
                    gate.gate,
                    gate.validator,
                    tree::verdict(&gate.verdict)
                ))?;
            }
        }
        output.line("")?;
        if faults.is_empty() {
            return output.line(paint(
                GOOD,
                "Everything happened as told: a gate refused, the fix was applied, the gate opened, somebody else approved.",
            ));
        }
        output.line(paint(BAD, "Not everything happened as told:"))?;
        for fault in &faults {
            output.line(format!("  {fault}"))?;
        }
        if let Some(failure) = &view.failure {
            output.line(failure.text())?;
        }
        Ok(())
    };
    show(output).map_err(CommandError::Output)?;
    Ok(exit)
}

/// Returns what each step changed, as a diff of which long new files are only begun.
fn changes(view: &ExecutionView) -> Vec<(&str, String)> {
    let mut changes: Vec<(&str, String)> = Vec::new();
    for step in view.steps.iter().filter(|step| step.status == "completed") {
        if step.id == "mend" {
            changes.push((&step.id, FIX.to_owned()));
        }
        // A plan changes nothing.
        if step.action != "pattern" || step.id == "assess" {
            continue;
        }
        for diff in step.machines.iter().filter_map(|machine| machine.stdout.as_ref()) {
            changes.push((&step.id, shortened(&diff.text)));
        }
    }
    changes
}

/// Keeps the beginning of each file's part of a diff: less of new files, which all look alike, than of changed ones.
fn shortened(diff: &str) -> String {
    const LINES_OF_A_CHANGE: usize = 80;
    const LINES_OF_A_NEW_FILE: usize = 12;
    let mut text = String::new();
    let mut lines = 0;
    let mut max = LINES_OF_A_CHANGE;
    let mut left_out = 0;
    let close = |text: &mut String, left_out: &mut usize| {
        if *left_out > 0 {
            text.push_str(&format!("  … {left_out} more lines\n"));
            *left_out = 0;
        }
    };
    for line in diff.lines() {
        if line.starts_with("diff --git ") {
            close(&mut text, &mut left_out);
            lines = 0;
            max = LINES_OF_A_CHANGE;
        } else if line.starts_with("new file mode ") {
            max = LINES_OF_A_NEW_FILE;
        }
        lines += 1;
        if lines <= max {
            text.push_str(line);
            text.push('\n');
        } else {
            left_out += 1;
        }
    }
    close(&mut text, &mut left_out);
    text
}
