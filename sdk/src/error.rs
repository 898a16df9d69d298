//! Why a plugin could not answer. A negative answer is not an error: that is an assessment or a verdict.

use std::fmt;

use crate::target::TargetError;

/// One thing that is wrong with the parameters of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterProblem {
    /// Where, as a JSON Pointer: `/ports/0`. Empty means the whole document.
    pub pointer: String,
    /// What was found and what would be right.
    pub message: String,
}

impl ParameterProblem {
    /// Makes a problem at a JSON Pointer.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

/// Why a plugin could not answer.
///
/// Time, memory and traps are no cases here: the host sees those by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PluginError {
    /// The parameters cannot be used; holds all problems, at least one. For the caller to mend.
    InvalidParameters(Vec<ParameterProblem>),
    /// There is nothing here that the plugin could work on, and why. A pattern's `validate` returns
    /// [`Assessment::not_applicable`](crate::Assessment::not_applicable) instead.
    NotApplicable(String),
    /// The host refused something that the plugin cannot do without. For the operator to mend.
    Host(String),
    /// Anything else, for a person to read.
    Other(String),
}

impl PluginError {
    /// Makes the error for one wrong parameter.
    pub fn invalid_parameter(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidParameters(vec![ParameterProblem::new(pointer, message)])
    }

    /// Makes an error that only a person can do something about.
    pub fn other(message: impl Into<String>) -> Self {
        Self::Other(message.into())
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidParameters(problems) => {
                formatter.write_str("invalid parameters: ")?;
                for (index, problem) in problems.iter().enumerate() {
                    let pointer =
                        if problem.pointer.is_empty() { "(all)" } else { &problem.pointer };
                    let separator = if index == 0 { "" } else { "; " };
                    write!(formatter, "{separator}{pointer}: {}", problem.message)?;
                }
                Ok(())
            }
            Self::NotApplicable(why) => write!(formatter, "not applicable: {why}"),
            Self::Host(what) => write!(formatter, "refused by the host: {what}"),
            Self::Other(message) => formatter.write_str(message),
        }
    }
}

impl std::error::Error for PluginError {}

impl From<TargetError> for PluginError {
    fn from(error: TargetError) -> Self {
        Self::Host(error.to_string())
    }
}

impl From<serde_json::Error> for PluginError {
    fn from(error: serde_json::Error) -> Self {
        Self::Other(format!("malformed JSON: {error}"))
    }
}

impl From<String> for PluginError {
    fn from(message: String) -> Self {
        Self::Other(message)
    }
}

impl From<&str> for PluginError {
    fn from(message: &str) -> Self {
        Self::Other(message.to_owned())
    }
}
