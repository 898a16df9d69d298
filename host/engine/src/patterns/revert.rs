//! Takes applications back, byte for byte.

use caelum_core::pattern::ApplicationStatus;

use super::ask::component_error;
use crate::engine::Engine;
use crate::error::{EngineError, Mistake};
use crate::executions::stored;
use crate::request::Reverted;

impl Engine {
    /// Takes an application back: the files have exactly the bytes that they had before.
    ///
    /// # Errors
    ///
    /// Unknown, not applied, or files that have changed since, all named; then nothing was touched.
    pub async fn revert_application(
        &self,
        application_id: &str,
        by: String,
    ) -> Result<Reverted, EngineError> {
        let mut application = self.application(application_id).await?;
        let hint = match application.status {
            ApplicationStatus::Applied => None,
            ApplicationStatus::Reverted => Some("it was taken back already"),
            _ => Some("it changed nothing, so there is nothing to take back"),
        };
        if let Some(hint) = hint {
            let status = application.status.as_str();
            return Err(Mistake::new(
                "not_applied",
                format!("application `{application_id}` is {status}"),
            )
            .hint(hint)
            .into());
        }
        let components = self.0.components.clone();
        let id = application.application_id.clone();
        let reverted = tokio::task::spawn_blocking(move || components.revert(&id))
            .await
            .map_err(|panicked| EngineError::internal("failed to revert", panicked))?
            .map_err(component_error)?;
        let now = self.now();
        self.0
            .store
            .update_application_status(
                &application.application_id,
                ApplicationStatus::Reverted,
                now,
            )
            .await
            .map_err(stored)?;
        tracing::info!(application = application_id, %by, "application reverted");
        application.status = ApplicationStatus::Reverted;
        let restored = reverted.files.into_iter().map(|file| file.path).collect();
        Ok(Reverted { application, restored })
    }
}
