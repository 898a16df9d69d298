//! `revert_pattern_application`: the bytes that were there before.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::super::error::ToolError;
use super::super::super::tool::{Answer, Call};
use super::super::failure::refuse;
use super::super::{Tools, actor};

/// Takes an application back: every file gets exactly the bytes it had before. Refused when a file was changed since,
/// so that nobody's work is lost.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevertPatternApplication {
    /// The application's id, from `apply_pattern`.
    application_id: String,
    /// Who takes it back; your client's name when left out.
    #[serde(default)]
    by: Option<String>,
}

/// An application that was taken back.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RevertedView {
    /// The application's id.
    pub application_id: String,
    /// `reverted`.
    pub status: String,
    /// The pattern.
    pub pattern_name: String,
    /// The component.
    pub target_component: String,
    /// Files that have their old bytes again.
    pub restored: Vec<String>,
}

impl Answer for RevertedView {
    fn text(&self) -> String {
        format!(
            "{}: {} of {} on {}; restored: {}",
            self.status,
            self.application_id,
            self.pattern_name,
            self.target_component,
            self.restored.join(", ")
        )
    }
}

pub(super) async fn revert(
    tools: Tools,
    call: Call,
    arguments: RevertPatternApplication,
) -> Result<RevertedView, ToolError> {
    let by = actor(arguments.by.as_ref(), &call);
    let reverted =
        tools.engine.revert_application(&arguments.application_id, by).await.map_err(refuse)?;
    Ok(RevertedView {
        application_id: reverted.application.application_id.to_string(),
        status: reverted.application.status.as_str().to_owned(),
        pattern_name: reverted.application.pattern.name.to_string(),
        target_component: reverted.application.target_component.clone(),
        restored: reverted.restored,
    })
}
