//! Typed parameters: their JSON Schema, and reading them with every problem named at its place.

mod check;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::PluginError;

/// The parameters of a plugin that has none: an empty JSON object. `()` means the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

/// Returns the JSON Schema (draft 2020-12) of parameters, without references where the type is not recursive, because
/// not every client follows them.
pub(crate) fn schema<T: JsonSchema>() -> Value {
    let mut schema = generate::<T>();
    if is_unit(&schema) {
        schema = no_parameters(&schema);
    }
    if let Value::Object(members) = &mut schema {
        // The name of a Rust type means nothing to whoever fills in the form.
        members.remove("title");
    }
    schema
}

fn generate<T: JsonSchema>() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

fn no_parameters(unit: &Value) -> Value {
    json!({"$schema": unit["$schema"], "type": "object", "additionalProperties": false})
}

fn is_unit(schema: &Value) -> bool {
    schema["type"] == "null"
}

/// Reads parameters from JSON text. Export macros and the testing kit do it; plugins need it for JSON of their own.
///
/// # Errors
/// `InvalidParameters` with all problems that the type's schema shows, each with its JSON Pointer; where the schema is
/// content and the type is not (a value that only the type can check), with the type's own message.
pub fn parse_parameters<T: DeserializeOwned + JsonSchema>(json: &str) -> Result<T, PluginError> {
    let invalid = |message: String| PluginError::invalid_parameter("", message);
    let value: Value =
        serde_json::from_str(json).map_err(|error| invalid(format!("not JSON: {error}")))?;
    let schema = generate::<T>();
    let unit = is_unit(&schema);
    let schema = if unit { no_parameters(&schema) } else { schema };
    let problems = check::problems(&schema, &value);
    if !problems.is_empty() {
        return Err(PluginError::InvalidParameters(problems));
    }
    // `()` is read from `null`, and its one valid document is the empty object.
    let value = if unit { Value::Null } else { value };
    serde_json::from_value(value).map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where it listens.
    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        /// The port.
        port: u16,
        mode: Mode,
        names: Vec<String>,
        limit: Option<f64>,
        #[schemars(length(min = 1))]
        title: String,
        nested: Vec<Nested>,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self {
                port: 8080,
                mode: Mode::Fast,
                names: vec![],
                limit: None,
                title: "t".into(),
                nested: vec![],
            }
        }
    }

    #[derive(Debug, PartialEq, Deserialize, JsonSchema, Clone, serde::Serialize)]
    #[serde(deny_unknown_fields)]
    struct Nested {
        path: String,
        reason: Option<String>,
    }

    #[derive(Debug, PartialEq, Deserialize, JsonSchema, Clone, serde::Serialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        /// Quick.
        Fast,
        Careful,
    }

    impl serde::Serialize for Sample {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            json!({"port": self.port, "mode": self.mode, "names": self.names, "limit": self.limit,
                   "title": self.title, "nested": self.nested})
            .serialize(serializer)
        }
    }

    fn problems<T: DeserializeOwned + JsonSchema + std::fmt::Debug>(
        json: &str,
    ) -> Vec<(String, String)> {
        match parse_parameters::<T>(json) {
            Err(PluginError::InvalidParameters(problems)) => {
                problems.into_iter().map(|problem| (problem.pointer, problem.message)).collect()
            }
            other => panic!("expected invalid parameters, found {other:?}"),
        }
    }

    #[test]
    fn defaults_fill_what_is_left_out() {
        assert_eq!(parse_parameters::<Sample>("{}"), Ok(Sample::default()));
        assert_eq!(
            parse_parameters::<Sample>(r#"{"limit":null,"mode":"careful"}"#),
            Ok(Sample { mode: Mode::Careful, ..Sample::default() })
        );
    }

    #[test]
    fn all_problems_come_at_once_with_their_places() {
        let found = problems::<Sample>(
            r#"{"port":70000,"mode":"slow","names":["a",2],"title":"","nested":[{"reason":1}],"prot":1,"limit":"x"}"#,
        );

        let pointers: Vec<_> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(
            pointers,
            [
                "/port",
                "/mode",
                "/names/1",
                "/title",
                "/nested/0",
                "/nested/0/reason",
                "/prot",
                "/limit"
            ]
        );
        let message =
            |at: &str| &found.iter().find(|(pointer, _)| pointer == at).expect("listed").1;
        assert_eq!(message("/port"), "expected at most 65535, found 70000");
        assert_eq!(message("/mode"), "expected one of `careful`, `fast`, found `slow`");
        assert_eq!(message("/names/1"), "expected a string, found the integer 2");
        assert_eq!(message("/nested/0"), "`path` is missing");
        assert_eq!(
            message("/prot"),
            "unknown; known are `port`, `mode`, `names`, `limit`, `title`, `nested`"
        );
    }

    #[test]
    fn text_that_is_not_json_and_documents_that_are_no_objects_are_refused() {
        assert_eq!(problems::<Sample>("{")[0].0, "");
        assert_eq!(
            problems::<Sample>("[]"),
            [(String::new(), "expected an object, found an array".to_owned())]
        );
        assert_eq!(
            problems::<NoParameters>(r#"{"a/b":1}"#),
            [("/a~1b".to_owned(), "unknown; there are none".to_owned())]
        );
    }

    #[test]
    fn unit_and_no_parameters_are_an_empty_object() {
        assert_eq!(parse_parameters::<()>("{}"), Ok(()));
        assert_eq!(parse_parameters::<NoParameters>("{}"), Ok(NoParameters {}));
        assert!(parse_parameters::<()>(r#"{"a":1}"#).is_err());
        for schema in [schema::<()>(), schema::<NoParameters>()] {
            assert_eq!(
                (&schema["type"], &schema["additionalProperties"]),
                (&json!("object"), &json!(false))
            );
        }
    }

    #[test]
    fn schemas_hold_descriptions_and_no_references() {
        let text = schema::<Sample>().to_string();

        assert!(
            !text.contains("$ref")
                && text.contains("The port.")
                && text.contains("Where it listens."),
            "{text}"
        );
        assert!(text.contains("https://json-schema.org/draft/2020-12/schema"), "{text}");
    }

    #[test]
    fn what_only_the_type_knows_is_said_in_its_words() {
        #[derive(Debug, JsonSchema, Deserialize)]
        struct Even {
            #[serde(deserialize_with = "even")]
            n: u32,
        }
        fn even<'de, D: serde::Deserializer<'de>>(input: D) -> Result<u32, D::Error> {
            let n = u32::deserialize(input)?;
            if n % 2 == 0 {
                Ok(n)
            } else {
                Err(serde::de::Error::custom("expected an even number"))
            }
        }

        assert_eq!(
            problems::<Even>(r#"{"n":3}"#),
            [(String::new(), "expected an even number".to_owned())]
        );
        assert_eq!(parse_parameters::<Even>(r#"{"n":4}"#).expect("even").n, 4);
    }
}
