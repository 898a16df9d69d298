//! Parameters of a call against the schema that the plugin declares: checked by the host before the guest sees them.

mod effort;

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

/// Regular expressions in one schema: with their largest size, 50 MiB.
const PATTERNS_MAX: usize = 50;

/// A schema, ready to check parameters.
#[derive(Debug)]
pub(crate) struct Schema {
    validator: Validator,
    /// What it was made of, to tell how much work a check is.
    document: Value,
    /// The names that the schema knows at its top, for near names.
    names: Vec<String>,
}

impl Schema {
    /// Prepares a schema. A plugin's schema must not make the host wait: references lead nowhere but into the schema,
    /// regular expressions are few and run in linear time, and [`Schema::problems`] knows how much work a check is.
    ///
    /// # Errors
    ///
    /// What is wrong with the schema.
    pub(crate) fn compile(schema: &Value) -> Result<Self, String> {
        if let Some(reference) = effort::outward_reference(schema) {
            return Err(format!(
                "it refers to `{}`; references begin with `#/` and lead into the schema",
                text::line(reference)
            ));
        }
        let patterns = effort::patterns(schema);
        if patterns > PATTERNS_MAX {
            return Err(format!(
                "it has {patterns} regular expressions; at most {PATTERNS_MAX} are allowed"
            ));
        }
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
        Ok(Schema { validator, document: schema.clone(), names })
    }

    /// Returns everything that is wrong with the parameters.
    pub(crate) fn problems(&self, parameters: &Value) -> Vec<ParameterProblem> {
        if !parameters.is_object() {
            return vec![ParameterProblem {
                pointer: String::new(),
                message: "parameters are a JSON object".to_owned(),
            }];
        }
        if !effort::is_affordable(&self.document, parameters) {
            return vec![ParameterProblem {
                pointer: String::new(),
                message: format!(
                    "to check them against the plugin's schema would take more than {} steps",
                    effort::STEPS_MAX
                ),
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
        for reference in ["https://example.com/x.json", "file:///etc/passwd", "x.json", "#anchor"] {
            let told = Schema::compile(&json!({"properties": {"a": {"$ref": reference}}}));
            assert_eq!(
                told.expect_err("it leads out"),
                format!(
                    "it refers to `{reference}`; references begin with `#/` and lead into the schema"
                )
            );
        }

        let slow = json!({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}});
        let schema = Schema::compile(&slow).expect("linear time");
        let hostile = json!({"a": format!("{}!", "a".repeat(50_000))});
        assert_eq!(schema.problems(&hostile).len(), 1);
    }

    /// Each step doubles: forty of them, in three kilobytes, would be a day.
    #[test]
    fn a_schema_that_doubles_at_each_step_is_not_walked() {
        let step = |next: usize| json!({"allOf": [{"$ref": format!("#/$defs/{next}")}, {"$ref": format!("#/$defs/{next}")}]});
        let mut steps: serde_json::Map<String, Value> =
            (0..40).map(|number| (number.to_string(), step(number + 1))).collect();
        steps.insert("40".to_owned(), json!({"type": "object"}));
        let ladder = Schema::compile(&json!({"$defs": steps, "$ref": "#/$defs/0"}));
        // And one that doubles with each level of what it is given.
        let same = json!({"$ref": "#"});
        let deep = json!({"properties": {"a": {"allOf": [same, same]}}});
        let nested = (0..60).fold(json!({}), |inner, _| json!({"a": inner}));
        let spiral = Schema::compile(&deep);

        for (schema, parameters) in [(ladder, json!({})), (spiral, nested)] {
            let problems = schema.expect("it is well-formed").problems(&parameters);

            assert_eq!(
                problems[0].message,
                "to check them against the plugin's schema would take more than 100000 steps"
            );
        }
    }

    #[test]
    fn a_schema_has_a_few_regular_expressions_and_no_more() {
        let with = |count: usize| {
            let properties: serde_json::Map<String, Value> =
                (0..count).map(|number| (number.to_string(), json!({"pattern": "^a"}))).collect();
            Schema::compile(&json!({"properties": properties}))
        };

        assert!(with(50).is_ok());
        assert_eq!(
            with(51).expect_err("one too many"),
            "it has 51 regular expressions; at most 50 are allowed"
        );
    }
}
