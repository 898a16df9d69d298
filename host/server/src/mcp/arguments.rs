//! Holds the arguments of a call against the tool's schema and says everything that is wrong with them at once: where
//! (a JSON pointer), what was found, what is allowed.

mod problem;

use jsonschema::Validator;
use serde_json::{Map, Value};

use self::problem::Describer;
use super::error::ToolError;
use super::schema::{drop_absent, whole_numbers};

/// A tool's compiled argument schema.
#[derive(Debug)]
pub struct Arguments {
    schema: Value,
    validator: Validator,
    member: &'static str,
}

impl Arguments {
    /// Compiles a schema, once for the life of the tool.
    ///
    /// # Errors
    ///
    /// The reason as text when the schema itself is not one.
    pub fn new(schema: Value) -> Result<Self, String> {
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&schema)
            .map_err(|error| error.to_string())?;
        Ok(Self { schema, validator, member: "argument" })
    }

    /// Returns the same with another word for what a value consists of: documents have fields, calls have arguments.
    #[must_use]
    pub fn calling_members(mut self, member: &'static str) -> Self {
        self.member = member;
        self
    }

    /// Returns the schema that values are held against.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Returns every problem of a value, each with a JSON pointer to its place; none when it fits.
    pub fn problems(&self, value: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        if !self.validator.is_valid(value) {
            let describer = Describer { schema: &self.schema, member: self.member };
            for error in self.validator.iter_errors(value) {
                describer.describe(&error, &mut problems);
            }
            problems.dedup();
        }
        problems
    }

    /// Returns the arguments, with `null` for an optional one counted as absent, or one error with every problem.
    ///
    /// # Errors
    ///
    /// `invalid_arguments`, listing each problem.
    pub fn check(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
    ) -> Result<Map<String, Value>, ToolError> {
        let mut value = Value::Object(arguments);
        drop_absent(&self.schema, &mut value);
        whole_numbers(&self.schema, &mut value);
        let problems = self.problems(&value);
        if problems.is_empty() {
            return Ok(match value {
                Value::Object(arguments) => arguments,
                _ => Map::new(),
            });
        }
        let count = problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        let known: Vec<String> = match self.schema.get("properties") {
            Some(Value::Object(properties)) => {
                properties.keys().map(|name| format!("`{name}`")).collect()
            }
            _ => Vec::new(),
        };
        let hint = if known.is_empty() {
            format!("`{tool}` takes no arguments")
        } else {
            format!("`{tool}` takes {}; its input schema says what each may be", known.join(", "))
        };
        Err(ToolError::new(
            "invalid_arguments",
            format!("{count} {noun} with the arguments of `{tool}`"),
        )
        .problems(problems)
        .hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arguments() -> Arguments {
        Arguments::new(json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["workflow_id"],
            "properties": {
                "workflow_id": {"type": "string", "maxLength": 8},
                "limit": {"type": "integer", "minimum": 1, "maximum": 200},
                "format": {"type": "string", "enum": ["json", "yaml"]},
                "steps": {"type": "array", "items": {
                    "type": "object", "additionalProperties": false, "required": ["id"],
                    "properties": {
                        "id": {"type": "string"},
                        "action": {"oneOf": [
                            {"type": "object", "additionalProperties": false, "required": ["kind", "program"],
                             "properties": {"kind": {"type": "string", "const": "command"}, "program": {"type": "string"}}},
                            {"type": "object", "additionalProperties": false, "required": ["kind"],
                             "properties": {"kind": {"type": "string", "const": "manual"}}}
                        ]}
                    }
                }}
            }
        }))
        .expect("the schema is one")
    }

    fn refused(value: Value) -> String {
        let Value::Object(map) = value else { panic!("arguments are an object") };
        arguments().check("get_workflow", map).expect_err("the arguments are wrong").text()
    }

    #[test]
    fn every_problem_is_named_at_once_with_what_was_found_and_what_is_allowed() {
        let text =
            refused(json!({"limit": 500, "format": "jsn", "stepz": [], "steps": [{"id": 7}]}));

        assert_eq!(
            text.lines().next(),
            Some("invalid_arguments: 5 problems with the arguments of `get_workflow`")
        );
        for line in [
            "- /limit: found 500, at most 200 is allowed",
            "- /format: found \"jsn\", allowed: \"json\", \"yaml\"; did you mean `json`?",
            "- /stepz: unknown argument; did you mean `steps`?",
            "- /steps/0/id: found 7, expected a string",
            "- /workflow_id: required, and missing; expected a string",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_tagged_form_is_judged_by_its_tag() {
        let wrong_inside = refused(
            json!({"workflow_id": "a", "steps": [{"id": "x", "action": {"kind": "command", "progam": "ls"}}]}),
        );
        let wrong_tag = refused(
            json!({"workflow_id": "a", "steps": [{"id": "x", "action": {"kind": "comand"}}]}),
        );
        let no_tag = refused(json!({"workflow_id": "a", "steps": [{"id": "x", "action": {}}]}));

        assert!(
            wrong_inside
                .contains("/steps/0/action/progam: unknown argument; did you mean `program`?"),
            "{wrong_inside}"
        );
        assert!(
            wrong_inside.contains("/steps/0/action/program: required, and missing"),
            "{wrong_inside}"
        );
        assert!(
            wrong_tag.contains("/steps/0/action/kind: found \"comand\", allowed: \"command\", \"manual\"; did you mean `command`"),
            "{wrong_tag}"
        );
        assert!(
            no_tag
                .contains("/steps/0/action/kind: found nothing, allowed: \"command\", \"manual\""),
            "{no_tag}"
        );
    }

    #[test]
    fn null_for_an_optional_argument_counts_as_absent_and_for_a_required_one_does_not() {
        let Value::Object(map) = json!({"workflow_id": "a", "limit": null, "format": null}) else {
            unreachable!()
        };

        let checked =
            arguments().check("get_workflow", map).expect("optional arguments may be null");

        assert_eq!(Value::Object(checked), json!({"workflow_id": "a"}));
        assert!(
            refused(json!({"workflow_id": null}))
                .contains("/workflow_id: found null, expected a string")
        );
    }

    #[test]
    fn a_string_that_holds_json_is_told_to_send_the_value_itself() {
        let text = refused(json!({"workflow_id": "a", "steps": "[{\"id\": \"x\"}]"}));

        assert!(
            text.contains(
                "expected an array; send the JSON value itself, not a string that holds it"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_long_value_is_shown_by_its_beginning() {
        let text = refused(json!({"workflow_id": "x".repeat(5000), "limit": "y".repeat(5000)}));

        assert!(
            text.contains("/workflow_id: found 5000 characters, at most 8 are allowed"),
            "{text}"
        );
        assert!(text.len() < 700, "{text}");
    }
}
