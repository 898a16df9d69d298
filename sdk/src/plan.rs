//! Plans: what would bring a component in line.

use serde_json::Value;

use crate::edit::Edit;
use crate::finding::{Extensions, Finding};
use crate::pattern::Assessment;

/// What would bring a component in line: edits for the host to apply, and steps for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What the plan does, in one sentence.
    pub summary: String,
    /// The changes. Several may change parts of one file as long as their ranges do not overlap.
    pub edits: Vec<Edit>,
    /// What is left to people.
    pub next_steps: Vec<NextStep>,
    /// The findings that the plan was made for.
    pub findings: Vec<Finding>,
    /// Further facts.
    pub extensions: Extensions,
}

impl Plan {
    /// Begins a plan that changes nothing.
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), ..Self::default() }
    }

    /// Takes over the findings of an assessment.
    #[must_use]
    pub fn findings_of(mut self, assessment: &Assessment) -> Self {
        self.findings = assessment.findings().to_vec();
        self
    }

    /// Adds a change. One that would change nothing is left out.
    pub fn edit(&mut self, edit: Edit) {
        if !edit.is_empty() {
            self.edits.push(edit);
        }
    }

    /// Adds a step for people.
    pub fn next_step(&mut self, step: NextStep) {
        self.next_steps.push(step);
    }

    /// Answers whether nothing would be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Returns the changes of one path.
    pub fn edits_of<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Edit> {
        self.edits.iter().filter(move |edit| edit.path() == path)
    }
}

/// Something that a person or an agent has to do, because the pattern cannot.
#[derive(Clone, Debug, PartialEq)]
pub struct NextStep {
    /// Names the step among those of the plan.
    pub id: String,
    /// What to do, in a few words.
    pub title: String,
    /// How to do it, and how to see that it is done.
    pub instructions: String,
    /// Whether the improvement is incomplete without it.
    pub blocking: bool,
    /// The validator that can judge whether it was done.
    pub validator: Option<String>,
    /// Parameters for that validator: a JSON object.
    pub validator_parameters: Option<Value>,
}

impl NextStep {
    /// Makes a step that is good to do.
    pub fn new(
        id: impl Into<String>,
        title: impl Into<String>,
        instructions: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            instructions: instructions.into(),
            blocking: false,
            validator: None,
            validator_parameters: None,
        }
    }

    /// Says that the improvement is incomplete without it.
    #[must_use]
    pub fn blocking(mut self) -> Self {
        self.blocking = true;
        self
    }

    /// Names the validator that can judge it, and its parameters (a JSON object).
    #[must_use]
    pub fn judged_by(mut self, validator: impl Into<String>, parameters: Value) -> Self {
        self.validator = Some(validator.into());
        self.validator_parameters = Some(parameters);
        self
    }
}
