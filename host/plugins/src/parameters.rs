//! Parameters of a call against the schema that the plugin declares: checked by the host before the guest sees them.

use caelum_core::near::did_you_mean;
use caelum_core::plugin::ParameterProblem;
use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::text;

/// How many problems are told; a document with more is wrong from the ground up.
const PROBLEMS_MAX: usize = 50;

/// Memory that one regular expression of a schema may take when it is compiled.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// A schema, ready to check parameters.
#[derive(Debug)]
pub(crate) struct Schema {
    validator: Validator,
    /// The names that the schema knows at its top, for near names.
    names: Vec<String>,
}

impl Schema {
    /// Prepares a schema. References to other documents are refused, and regular expressions run in linear time: a
    /// plugin's schema must not make the host wait.
    ///
    /// # Errors
    ///
    /// What is wrong with the schema.
    pub(crate) fn compile(schema: &Value) -> Result<Self, String> {
        let patterns =
            PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
        let validator = jsonschema::draft202012::options()
            .offline()
            .with_pattern_options(patterns)
            .build(schema)
            .map_err(|error| error.to_string())?;
        let names = schema
            .get("properties")
            .and_then(Value::as_object)
            .map(|properties| properties.keys().cloned().collect())
            .unwrap_or_default();
        Ok(Schema { validator, names })
    }

    /// Returns everything that is wrong with the parameters.
    pub(crate) fn problems(&self, parameters: &Value) -> Vec<ParameterProblem> {
        if !parameters.is_object() {
            return vec![ParameterProblem {
                pointer: String::new(),
                message: "parameters are a JSON object".to_owned(),
            }];
        }
        self.validator
            .iter_errors(parameters)
            .flat_map(|error| self.explain(&error))
            .take(PROBLEMS_MAX)
            .collect()
    }

    fn explain(&self, error: &ValidationError<'_>) -> Vec<ParameterProblem> {
        let pointer = error.instance_path().as_str().to_owned();
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
                .iter()
                .map(|name| {
                    let hint = pointer
                        .is_empty()
                        .then(|| did_you_mean(name, self.names.iter().map(String::as_str)))
                        .flatten()
                        .map(|hint| format!("; {hint}"))
                        .unwrap_or_default();
                    ParameterProblem {
                        pointer: pointer.clone(),
                        message: format!("`{}` is not known{hint}", text::line(name)),
                    }
                })
                .collect(),
            _ => vec![ParameterProblem { pointer, message: text::line(&error.to_string()) }],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Schema {
        Schema::compile(&json!({
            "type": "object",
            "properties": {
                "interval_s": {"type": "integer", "minimum": 1},
                "path": {"type": "string", "pattern": "^/"},
            },
            "additionalProperties": false,
        }))
        .expect("a schema")
    }

    fn problems(parameters: Value) -> Vec<String> {
        schema()
            .problems(&parameters)
            .into_iter()
            .map(|problem| format!("{}: {}", problem.pointer, problem.message))
            .collect()
    }

    #[test]
    fn right_parameters_have_no_problems() {
        assert_eq!(problems(json!({"interval_s": 3})), [""; 0]);
    }

    #[test]
    fn every_problem_is_named_at_its_place_with_near_names() {
        let mut found = problems(json!({"interval_s": 0, "path": "x", "intervall_s": 1}));
        found.sort();

        assert_eq!(
            found,
            [
                "/interval_s: 0 is less than the minimum of 1",
                "/path: \"x\" does not match \"^/\"",
                ": `intervall_s` is not known; did you mean `interval_s`?",
            ]
        );
        assert_eq!(problems(json!([1])), [": parameters are a JSON object"]);
    }

    #[test]
    fn a_schema_cannot_reach_out_or_make_the_host_wait() {
        assert!(Schema::compile(&json!({"$ref": "https://example.com/x.json"})).is_err());
        assert!(Schema::compile(&json!({"$ref": "file:///etc/passwd"})).is_err());

        let slow = json!({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}});
        let schema = Schema::compile(&slow).expect("linear time");
        let hostile = json!({"a": format!("{}!", "a".repeat(50_000))});
        assert_eq!(schema.problems(&hostile).len(), 1);
    }
}
