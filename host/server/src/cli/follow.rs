//! Follows an execution to its end, or until it needs somebody: a tree that is drawn over on a terminal, plain lines
//! elsewhere.

use std::io;

use serde_json::json;

use super::access::Access;
use super::exit::Exit;
use super::output::{ATTENTION, BAD, Output, complain, paint};
use super::{CommandError, tree};
use crate::mcp::tools::status::ExecutionView;

/// How long one look waits for news, in seconds.
const LOOK_S: u64 = 20;

/// Follows an execution. The first Ctrl-C cancels it and waits for its end; a second one lets it go, and it goes on when
/// the data directory is opened again. What `before` shows is not told again.
pub(super) async fn follow(
    access: &Access,
    output: &mut Output,
    execution_id: &str,
    mut before: Option<ExecutionView>,
) -> Result<ExecutionView, CommandError> {
    let mut cancelled = false;
    let mut looked = false;
    loop {
        // The first look waits for nothing: what is to be shown may have happened already.
        let seen = before.as_ref().filter(|_| looked).map(|view| view.event_count);
        looked = true;
        let mut question = json!({"execution_id": execution_id});
        if let (Some(seen), serde_json::Value::Object(question)) = (seen, &mut question) {
            question.insert("wait_s".to_owned(), json!(LOOK_S));
            question.insert("after_event".to_owned(), json!(seen));
        }
        let view: ExecutionView = tokio::select! {
            view = access.call("get_workflow_status", question) => view?,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.map_err(CommandError::Output)?;
                if cancelled {
                    output.settle(false).map_err(CommandError::Output)?;
                    return before.ok_or(CommandError::Interrupted);
                }
                cancelled = true;
                complain("interrupted: cancelling the execution; press Ctrl-C again to leave it as it is");
                let order = json!({"execution_id": execution_id, "action": "cancel", "reason": "interrupted"});
                access.call::<ExecutionView>("control_execution", order).await?;
                continue;
            }
        };
        show(output, before.as_ref(), &view).map_err(CommandError::Output)?;
        let settled =
            matches!(view.status.as_str(), "completed" | "failed" | "cancelled" | "paused");
        if settled {
            output.settle(false).map_err(CommandError::Output)?;
            return Ok(view);
        }
        before = Some(view);
    }
}

fn show(
    output: &mut Output,
    before: Option<&ExecutionView>,
    view: &ExecutionView,
) -> io::Result<()> {
    if before == Some(view) {
        return Ok(());
    }
    if output.is_live() {
        return output.draw(&tree::lines(view));
    }
    for line in tree::news(before, view) {
        output.line(line)?;
    }
    Ok(())
}

/// Writes how an execution stands at the end of a command, and what is to be done about it.
pub(super) fn conclude(output: &mut Output, view: &ExecutionView) -> io::Result<Exit> {
    let exit = Exit::of_execution(&view.status);
    if output.result(view)? {
        return Ok(exit);
    }
    // On a terminal the tree stands there already.
    if !output.is_live() {
        output.line("")?;
        for line in tree::lines(view) {
            output.line(line)?;
        }
    }
    if let Some(failure) = &view.failure {
        output.line("")?;
        output.line(format!("{} {}", paint(BAD, "failed:"), command_hint(&failure.text())))?;
        output
            .line(format!("  to try again: caelum-workflow control {} retry", view.execution_id))?;
    }
    for waiting in &view.waiting_for {
        output.line("")?;
        let what = format!("step {} waits for {}", waiting.step_id, waiting.kind);
        output.line(format!("{} by {}", paint(ATTENTION, what), waiting.who))?;
        output.line(format!("  {}", waiting.instructions))?;
        let how = match waiting.kind.as_str() {
            "review" => format!(
                "caelum-workflow review {} {} --reviewer NAME --approve --reason WHY",
                view.execution_id, waiting.step_id
            ),
            "work" => format!(
                "caelum-workflow complete {} {} --summary WHAT",
                view.execution_id, waiting.step_id
            ),
            _ => format!(
                "caelum-workflow complete {} {} --decision succeeded|failed|run_again --summary HOW",
                view.execution_id, waiting.step_id
            ),
        };
        output.line(format!("  {how}"))?;
    }
    Ok(exit)
}

/// Says the next step in the command line's own words.
fn command_hint(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("to try again:"))
        .collect::<Vec<_>>()
        .join("\n")
}
