//! The document form of a workflow: what authors write in JSON or YAML, what `create_workflow` takes and what an export
//! gives back. Twins of the core's types, so that the wire and the model can change apart. Rules about the graph, the
//! templates and the validators are the core's; here is only what a document may look like.

mod action;
pub(crate) mod history;
mod map;
mod probe;
mod review;
mod step;
mod strategy;
mod text;

use std::fmt;
use std::sync::LazyLock;

use caelum_core::clock::Timestamp;
use caelum_core::id::WorkflowId;
use caelum_core::workflow::{DefinitionStatus, Step, WorkflowDefinition};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use action::{ActionDocument, ActionKind, CommandDocument, ExpectDocument, MethodWord};
pub use map::MapDocument;
pub use probe::{ProbeDocument, ProbeWord};
pub use review::{OnReviewTimeoutWord, ReviewDocument};
pub use step::{
    FailureWord, OnFailureWord, OnValidatorErrorWord, RetryDocument, StepDocument, StepTypeWord,
};
pub use strategy::{StrategyDocument, StrategyWord};
pub use text::{DOCUMENT_BYTES_MAX, Format};

use crate::mcp::arguments::Arguments;
use crate::mcp::schema;

/// Where a workflow stands, as documents say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StatusWord {
    /// Being written; it cannot be executed.
    Draft,
    /// It can be executed.
    Active,
    /// Kept for its history; it cannot be executed.
    Archived,
}

impl From<StatusWord> for DefinitionStatus {
    fn from(word: StatusWord) -> Self {
        match word {
            StatusWord::Draft => DefinitionStatus::Draft,
            StatusWord::Active => DefinitionStatus::Active,
            StatusWord::Archived => DefinitionStatus::Archived,
        }
    }
}

impl From<DefinitionStatus> for StatusWord {
    fn from(status: DefinitionStatus) -> Self {
        match status {
            DefinitionStatus::Draft => StatusWord::Draft,
            DefinitionStatus::Active => StatusWord::Active,
            DefinitionStatus::Archived => StatusWord::Archived,
        }
    }
}

/// A workflow as its author writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkflowDocument {
    /// The workflow's id, chosen by its author: letters, digits, `-`, `_` and `.`.
    pub workflow_id: String,
    /// A few words for people; the id when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the workflow is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The improvement pattern that the workflow follows, as a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Whether it can be executed; `active` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusWord>,
    /// The steps; their order matters only where `dependencies` leave it open.
    pub steps: Vec<StepDocument>,
    /// JSON Schema (an object) of the parameters that an execution takes; its `default`s are filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_schema: Option<Map<String, Value>>,
    /// Anything else that its author wants to keep.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Which revision an export holds; the server counts revisions itself and takes no notice of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    /// When the first revision was made, in an export; the server sets it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// When this revision was made, in an export; the server sets it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// Earlier revisions that executions of an export ran under, each in the form of this document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<Map<String, Value>>,
    /// The executions that an export carries along, newest first, each with its `events`; `import` takes them in as
    /// history, and nothing else reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub executions: Vec<Map<String, Value>>,
}

/// A document that cannot be a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocumentError {
    /// It is larger than any workflow.
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// It is no JSON, or no YAML.
    Syntax {
        /// What it was read as.
        format: Format,
        /// Where and why, in the reader's words.
        message: String,
    },
    /// It is JSON or YAML and no workflow; every fault is listed, each with a JSON pointer to its place.
    Invalid {
        /// The faults.
        problems: Vec<String>,
    },
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes } => {
                write!(f, "the document has {bytes} bytes, at most {DOCUMENT_BYTES_MAX} are read")
            }
            Self::Syntax { format, message } => {
                write!(f, "the document is not {}: {message}", format.name())
            }
            Self::Invalid { problems } => {
                let noun = if problems.len() == 1 { "problem" } else { "problems" };
                write!(f, "the document is no workflow, it has {} {noun}", problems.len())?;
                for problem in problems {
                    write!(f, "\n- {problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for DocumentError {}

/// Collects faults, each with the place it stands at.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<String>);

impl Faults {
    pub(crate) fn add(&mut self, pointer: impl fmt::Display, message: impl fmt::Display) {
        self.0.push(format!("{pointer}: {message}"));
    }

    /// Parses a name; a malformed one becomes a fault.
    pub(crate) fn id<T>(&mut self, pointer: impl fmt::Display, text: &str) -> Option<T>
    where
        T: std::str::FromStr<Err = caelum_core::id::IdError>,
    {
        text.parse().map_err(|error| self.add(pointer, error)).ok()
    }

    pub(crate) fn done<T>(self, value: T) -> Result<T, Vec<String>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// Reads a workflow from JSON or YAML, whichever the text is.
///
/// # Errors
///
/// [`DocumentError`], with every fault of the document at once.
pub fn read(text: &str) -> Result<WorkflowDocument, DocumentError> {
    read_value(text::parse(text)?)
}

/// Reads a workflow from a text that may be larger than a document, because of the history that it carries along.
///
/// # Errors
///
/// [`DocumentError`], with every fault of the document at once.
pub(crate) fn read_large(text: &str, bytes_max: usize) -> Result<WorkflowDocument, DocumentError> {
    read_value(text::parse_within(text, bytes_max)?)
}

fn read_value(value: Value) -> Result<WorkflowDocument, DocumentError> {
    let document = shaped(value)?;
    match checked_steps(&document.workflow_id, &document.steps) {
        Ok(_) => Ok(document),
        Err(problems) => Err(DocumentError::Invalid { problems }),
    }
}

/// Reads a workflow from a value that was JSON or YAML, as far as its shape goes; what its fields hold is looked at by
/// whoever makes a definition of it.
///
/// # Errors
///
/// [`DocumentError::Invalid`], with every fault of the shape at once.
pub(crate) fn shaped(mut value: Value) -> Result<WorkflowDocument, DocumentError> {
    let checker = &*CHECKER;
    schema::drop_absent(checker.schema(), &mut value);
    let problems = checker.problems(&value);
    if !problems.is_empty() {
        return Err(DocumentError::Invalid { problems });
    }
    serde_json::from_value(value)
        .map_err(|error| DocumentError::Invalid { problems: vec![format!("/: {error}")] })
}

static CHECKER: LazyLock<Arguments> = LazyLock::new(|| {
    Arguments::new(schema::input::<WorkflowDocument>())
        .expect("the schema of a document is compiled by a test")
        .calling_members("field")
});

/// Turns the steps of a document into the model's; the document's id is checked along with them.
///
/// # Errors
///
/// Every malformed name and every field that does not fit its kind, each with a JSON pointer.
pub fn checked_steps(workflow_id: &str, steps: &[StepDocument]) -> Result<Vec<Step>, Vec<String>> {
    let mut faults = Faults::default();
    faults.id::<WorkflowId>("/workflow_id", workflow_id);
    let steps = steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| step.to_step(&format!("/steps/{index}"), &mut faults))
        .collect();
    faults.done(steps)
}

impl WorkflowDocument {
    /// Returns the document of a stored definition; reading it back gives the same definition.
    pub fn of(definition: &WorkflowDefinition) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let parameters_schema = match &definition.parameters_schema {
            Some(Value::Object(schema)) => Some(schema.clone()),
            _ => None,
        };
        Self {
            workflow_id: definition.workflow_id.to_string(),
            name: some(&definition.name),
            description: some(&definition.description),
            pattern: some(&definition.pattern),
            created_by: some(&definition.created_by),
            status: Some(definition.status.into()),
            steps: definition.steps.iter().map(StepDocument::of).collect(),
            parameters_schema,
            metadata: definition.metadata.clone(),
            revision: Some(definition.revision),
            created_at: Some(definition.created_at.to_string()),
            updated_at: Some(definition.updated_at.to_string()),
            revisions: Vec::new(),
            executions: Vec::new(),
        }
    }

    /// Returns the definition that the document says, with the revision and the times of an export where it has them;
    /// otherwise it is the first revision, made now.
    ///
    /// # Errors
    ///
    /// Every malformed name, time and field that does not fit its kind, each with a JSON pointer.
    pub fn to_definition(
        &self,
        now: Timestamp,
        by: &str,
    ) -> Result<WorkflowDefinition, Vec<String>> {
        let mut faults = Faults::default();
        let steps = checked_steps(&self.workflow_id, &self.steps).unwrap_or_else(|problems| {
            faults.0.extend(problems);
            Vec::new()
        });
        let mut time = |field: &str, text: Option<&String>| match filled(text) {
            None => now,
            Some(text) => text.parse().unwrap_or_else(|error| {
                faults.add(format_args!("/{field}"), error);
                now
            }),
        };
        let created_at = time("created_at", self.created_at.as_ref());
        let updated_at = time("updated_at", self.updated_at.as_ref());
        if self.revision == Some(0) {
            faults.add("/revision", "found 0, revisions are counted from 1");
        }
        let text = |text: Option<&String>| filled(text).unwrap_or_default().to_owned();
        let Ok(workflow_id) = self.workflow_id.parse() else { return Err(faults.0) };
        faults.done(WorkflowDefinition {
            name: filled(self.name.as_ref()).unwrap_or(&self.workflow_id).to_owned(),
            workflow_id,
            revision: self.revision.unwrap_or(1).max(1),
            description: text(self.description.as_ref()),
            pattern: text(self.pattern.as_ref()),
            steps,
            created_at,
            updated_at,
            created_by: filled(self.created_by.as_ref()).unwrap_or(by).to_owned(),
            status: self.status.map_or(DefinitionStatus::Active, Into::into),
            parameters_schema: self.parameters_schema.clone().map(Value::Object),
            metadata: self.metadata.clone(),
        })
    }

    /// Returns the document as indented JSON, with a line feed at its end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Returns the document as YAML.
    ///
    /// # Errors
    ///
    /// The writer's reason; no document is known to cause one.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::SerializeError> {
        serde_saphyr::to_string(self)
    }

    /// Returns the arguments with which `create_workflow` makes this workflow. What an export carries along stays
    /// behind.
    pub fn into_arguments(mut self) -> Map<String, Value> {
        self.revision = None;
        self.created_at = None;
        self.updated_at = None;
        self.revisions = Vec::new();
        self.executions = Vec::new();
        if self.status == Some(StatusWord::Archived) {
            // What was archived elsewhere is nobody's to run here before somebody says so.
            self.status = Some(StatusWord::Draft);
        }
        match serde_json::to_value(self) {
            Ok(Value::Object(arguments)) => arguments,
            _ => Map::new(),
        }
    }
}

/// Counts an empty text as absent: clients that must fill in every optional argument send one.
pub(crate) fn filled(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests;
