//! Parameters as they are typed: `--param key=value`, read by what the schema says the value is, and
//! `--param-json key=JSON` for everything else.

use clap::Args;
use serde_json::{Map, Value};

use super::CommandError;

/// Parameters of a workflow or a pattern.
#[derive(Debug, Default, Args)]
pub(super) struct Parameters {
    /// A parameter; a number or switch where the schema wants one, else text. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    param: Vec<String>,
    /// A parameter as JSON. May be repeated.
    #[arg(long, value_name = "KEY=JSON")]
    param_json: Vec<String>,
}

impl Parameters {
    /// Says whether there are any whose reading depends on a schema.
    pub(super) fn need_schema(&self) -> bool {
        !self.param.is_empty()
    }

    /// Reads the parameters, in the light of a schema where there is one.
    pub(super) fn read(
        &self,
        schema: Option<&Map<String, Value>>,
    ) -> Result<Map<String, Value>, CommandError> {
        let mut parameters = Map::new();
        let mut problems = Vec::new();
        for entry in &self.param {
            match entry.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    let kind = schema.and_then(|schema| {
                        schema.get("properties")?.get(key)?.get("type")?.as_str()
                    });
                    parameters.insert(key.to_owned(), typed(value, kind));
                }
                _ => problems.push(format!("--param: `{entry}` is no KEY=VALUE")),
            }
        }
        for entry in &self.param_json {
            match entry.split_once('=') {
                Some((key, value)) if !key.is_empty() => match serde_json::from_str(value) {
                    Ok(value) => {
                        parameters.insert(key.to_owned(), value);
                    }
                    Err(error) => {
                        problems.push(format!(
                            "--param-json: the value of `{key}` is no JSON: {error}"
                        ));
                    }
                },
                _ => problems.push(format!("--param-json: `{entry}` is no KEY=JSON")),
            }
        }
        if problems.is_empty() {
            Ok(parameters)
        } else {
            Err(CommandError::Usage(problems.join("\n")))
        }
    }
}

/// Reads a value as the schema wants it; what does not fit stays text, and the schema check says so.
fn typed(value: &str, kind: Option<&str>) -> Value {
    let read = || serde_json::from_str::<Value>(value).ok();
    let fits = |value: &Value| match kind {
        Some("integer" | "number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    read().filter(fits).unwrap_or_else(|| Value::from(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_read_as_the_schema_wants_it() {
        let Value::Object(schema) = json!({"properties": {
            "port": {"type": "integer"}, "tag": {"type": "string"}, "on": {"type": "boolean"}, "list": {"type": "array"}}})
        else {
            unreachable!()
        };
        let parameters = Parameters {
            param: ["port=8093", "tag=1.0", "on=true", "list=[1]", "free=7", "a=b=c"]
                .map(str::to_owned)
                .to_vec(),
            param_json: vec!["exact={\"a\": 1}".to_owned()],
        };

        let read = parameters.read(Some(&schema)).unwrap();

        assert_eq!(
            Value::Object(read),
            json!({"port": 8093, "tag": "1.0", "on": true, "list": [1], "free": "7", "a": "b=c", "exact": {"a": 1}})
        );
    }

    #[test]
    fn everything_that_is_no_parameter_is_named_at_once() {
        let parameters = Parameters {
            param: vec!["port".to_owned()],
            param_json: vec!["x={".to_owned(), "=1".to_owned()],
        };

        let text = parameters.read(None).unwrap_err().to_string();

        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("--param: `port` is no KEY=VALUE"), "{text}");
    }
}
