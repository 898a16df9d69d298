//! Why a use case did not answer. Three origins are kept apart to the end: the caller's mistake, a plugin's fault, and
//! our own failure.

use std::fmt;

use caelum_core::plugin::PluginFailure;
use caelum_core::workflow::command::Refusal;

/// What the caller got wrong, in words for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Stable code, such as `unknown_workflow`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// Every single fault, where there are several; each names its place.
    pub details: Vec<String>,
    /// What would be right, or the next call to make.
    pub hint: Option<String>,
}

impl Mistake {
    /// Builds a mistake without details.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Mistake { code, message: message.into(), details: Vec::new(), hint: None }
    }

    /// Adds what would be right.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds every single fault.
    #[must_use]
    pub fn details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        for detail in &self.details {
            write!(formatter, "\n- {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(formatter, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// Why a use case did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The caller's mistake: the text is for the caller.
    #[error("{0}")]
    Mistake(Mistake),
    /// A plugin's fault: the text names the plugin and its version.
    #[error("plugin `{plugin}`: {failure}")]
    Plugin {
        /// Name and version.
        plugin: String,
        /// How it failed.
        failure: PluginFailure,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] caelum_store::StoreError),
    /// Something of ours failed.
    #[error("{context}")]
    Internal {
        /// What was being done.
        context: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine is being stopped.
    #[error("the server is stopping")]
    Stopping,
}

impl EngineError {
    /// Wraps a failure of ours.
    pub fn internal(
        context: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        EngineError::Internal { context: context.into(), source: source.into() }
    }
}

impl From<Mistake> for EngineError {
    fn from(mistake: Mistake) -> Self {
        EngineError::Mistake(mistake)
    }
}

impl From<Refusal> for EngineError {
    fn from(refusal: Refusal) -> Self {
        EngineError::Mistake(Mistake {
            code: refusal.code,
            message: refusal.message,
            details: Vec::new(),
            hint: refusal.hint,
        })
    }
}
