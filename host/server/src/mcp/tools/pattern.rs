//! `list_patterns`, `list_validators`, `validate_pattern_application`, `apply_pattern`, `revert_pattern_application`,
//! `list_pattern_applications`.

mod applications;
mod apply;
mod finding;
mod list;
mod revert;
mod validate;

use super::super::groups::Group;
use super::super::tool::{Annotations, Tool, tool};
use super::Tools;

pub use applications::{ApplicationList, ApplicationRow, DriftView, DriftedFile};
pub use apply::{ApplicationView, NextStepView, ResultsView, WithheldView};
pub use finding::FindingView;
pub use list::{PatternList, PluginView, RefusedView, RuleView, ValidatorList};
pub use revert::RevertedView;
pub use validate::{EditCounts, ValidationView};

pub(super) fn tools(tools: &Tools) -> Vec<Tool> {
    let (listing, validating, applying, reverting) =
        (tools.clone(), tools.clone(), tools.clone(), tools.clone());
    let (validators, applications) = (tools.clone(), tools.clone());
    vec![
        tool(
            "list_patterns",
            "List patterns and validators",
            Annotations::READS,
            move |_, arguments| {
                let tools = listing.clone();
                async move {
                    tools.engine.plugins_loaded().await;
                    list::list(&tools, arguments)
                }
            },
        ),
        tool("list_validators", "List validators", Annotations::READS, move |_, arguments| {
            let tools = validators.clone();
            async move {
                tools.engine.plugins_loaded().await;
                list::list_validators(&tools, arguments)
            }
        })
        // Whoever writes a workflow needs the names of its gates.
        .of(Group::Workflows),
        tool(
            "validate_pattern_application",
            "Check whether a pattern can be applied",
            Annotations::READS,
            move |_, arguments| validate::validate(validating.clone(), arguments),
        ),
        tool("apply_pattern", "Apply a pattern", Annotations::CHANGES, move |call, arguments| {
            apply::apply(applying.clone(), call, arguments)
        }),
        tool(
            "revert_pattern_application",
            "Take an application back",
            Annotations::CHANGES,
            move |call, arguments| revert::revert(reverting.clone(), call, arguments),
        ),
        tool(
            "list_pattern_applications",
            "List applications of patterns",
            Annotations::READS,
            move |_, arguments| applications::list(applications.clone(), arguments),
        ),
    ]
}
