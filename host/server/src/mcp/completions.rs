//! Completes names and ids for people who type: prompt arguments and the variables of resource templates. Matches from
//! the beginning come first, then those within, newest first among equals.

use rmcp::model::{CompleteRequestParams, CompleteResult, CompletionInfo, ErrorData, Reference};
use serde_json::json;

use super::inquiry::{Inquiry, protocol_error, rows, text};
use super::{prompts, resources};

/// How many pages of a list are looked through, each of [`PAGE`] rows: completing is done at every key press.
const PAGES_MAX: usize = 5;

/// How many rows one page holds.
const PAGE: usize = 100;

/// What can be completed: the tools that list it, each with the list in its answer and the member that is completed.
type Source = (&'static str, &'static str, &'static str);

/// Completes what was typed so far.
///
/// # Errors
///
/// There is no such prompt or template; a tool behind it failed. An argument that nothing is known about completes to
/// nothing.
pub(super) async fn complete(
    inquiry: &Inquiry,
    request: &CompleteRequestParams,
) -> Result<CompleteResult, ErrorData> {
    let argument = request.argument.name.as_str();
    let is_known = match &request.r#ref {
        Reference::Prompt(prompt) => {
            prompts::has_argument(inquiry.toolset().groups(), &prompt.name, argument)?
        }
        Reference::Resource(template) => {
            resources::has_template(inquiry.toolset().groups(), &template.uri)?;
            template.uri.contains(&format!("{{{argument}}}"))
        }
        _ => false,
    };
    if !is_known {
        return Ok(CompleteResult::default());
    }
    let typed = request.argument.value.as_str();
    let mut found = Vec::new();
    if argument == "step_id" {
        let earlier =
            request.context.as_ref().and_then(|context| context.get_argument("execution_id"));
        if let Some(execution_id) = earlier {
            found = steps(inquiry, execution_id).await;
        }
    } else {
        if argument == "target_component" && inquiry.has("apply_pattern") {
            found.extend(inquiry.toolset().component_names());
        }
        for (tool, list, member) in sources(argument) {
            if inquiry.has(tool) {
                found.extend(listed(inquiry, (tool, list, member)).await?);
            }
        }
    }
    Ok(CompleteResult::new(ranked(found, typed)))
}

fn sources(argument: &str) -> &'static [Source] {
    match argument {
        "workflow_id" => &[("list_workflows", "workflows", "workflow_id")],
        "execution_id" => &[("list_executions", "executions", "execution_id")],
        "pattern_name" => {
            &[("list_patterns", "patterns", "name"), ("list_validators", "validators", "name")]
        }
        "application_id" => &[("list_pattern_applications", "applications", "application_id")],
        // Components that have no name are directories; those that patterns were used on are the ones people mean.
        "target_component" => &[("list_pattern_applications", "applications", "target_component")],
        _ => &[],
    }
}

async fn listed(inquiry: &Inquiry, (tool, list, member): Source) -> Result<Vec<String>, ErrorData> {
    let mut found = Vec::new();
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let mut arguments = json!({ "limit": PAGE });
        if let Some(cursor) = cursor.take() {
            arguments["cursor"] = cursor;
        }
        let reply = inquiry
            .ask(tool, arguments)
            .await
            .map_err(|error| protocol_error(&error, "completion/complete"))?;
        found.extend(rows(&reply, list).map(|row| text(row, member).to_owned()));
        cursor = reply.structured.get("next_cursor").cloned();
        if cursor.is_none() {
            break;
        }
    }
    Ok(found)
}

/// Returns the steps of an execution; none where there is no such execution, because somebody is still typing.
async fn steps(inquiry: &Inquiry, execution_id: &str) -> Vec<String> {
    let asked = inquiry.ask("get_workflow_status", json!({ "execution_id": execution_id })).await;
    match asked {
        Ok(reply) => rows(&reply, "steps").map(|row| text(row, "id").to_owned()).collect(),
        Err(_) => Vec::new(),
    }
}

/// Keeps what fits, best first, as many as the protocol lets through.
fn ranked(found: Vec<String>, typed: &str) -> CompletionInfo {
    let typed = typed.trim().to_lowercase();
    let mut seen = std::collections::HashSet::new();
    let mut fitting: Vec<(u8, String)> = found
        .into_iter()
        .filter(|value| !value.is_empty() && seen.insert(value.clone()))
        .filter_map(|value| {
            let lower = value.to_lowercase();
            let rank = if lower == typed {
                0
            } else if lower.starts_with(&typed) {
                1
            } else if lower.split(['-', '_', '.', '/']).any(|word| word.starts_with(&typed)) {
                2
            } else if lower.contains(&typed) {
                3
            } else {
                return None;
            };
            Some((rank, value))
        })
        .collect();
    // Stable: among equals the order of the list stays, newest first.
    fitting.sort_by_key(|(rank, _)| *rank);
    let total = fitting.len();
    let values: Vec<String> =
        fitting.into_iter().map(|(_, value)| value).take(CompletionInfo::MAX_VALUES).collect();
    let mut info = CompletionInfo::default();
    info.has_more = Some(total > values.len());
    info.total = u32::try_from(total).ok();
    info.values = values;
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_counts_more_than_the_middle() {
        let found = ["my-deploy", "undeployed", "deploy", "deploy-two", "other", "deploy"];

        let info = ranked(found.map(str::to_owned).to_vec(), "Deploy");

        assert_eq!(info.values, ["deploy", "deploy-two", "my-deploy", "undeployed"]);
        assert_eq!((info.total, info.has_more), (Some(4), Some(false)));
    }

    #[test]
    fn no_more_than_a_hundred_are_named_and_the_rest_is_counted() {
        let info = ranked((0..250).map(|n| format!("flow-{n:03}")).collect(), "");

        assert_eq!((info.values.len(), info.total, info.has_more), (100, Some(250), Some(true)));
        assert_eq!(info.values[0], "flow-000");
    }
}
