//! Holds the arguments of a call against the tool's schema and says everything that is wrong with them at once: where
//! (a JSON pointer), what was found, what is allowed.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value};

use super::error::{ToolError, did_you_mean};
use super::schema::drop_absent;

/// How much of a found value a message shows, in characters; enough to recognise it.
const FOUND_CHARS_MAX: usize = 60;

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
            for error in self.validator.iter_errors(value) {
                self.describe(&error, &mut problems);
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

    fn describe(&self, error: &ValidationError<'_>, problems: &mut Vec<String>) {
        let at = error.instance_path().as_str();
        let found = || show(error.instance());
        let problem = match error.kind() {
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                format!("{at}/{name}: required, and missing{}", self.requirement(error, name))
            }
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let known = self.siblings(error);
                for name in unexpected {
                    let near = did_you_mean(name, known.iter().map(String::as_str));
                    problems.push(format!("{at}/{name}: unknown {}{near}", self.member));
                }
                return;
            }
            ValidationErrorKind::Enum { options } => {
                let options: Vec<&Value> =
                    options.as_array().map(|options| options.iter().collect()).unwrap_or_default();
                let allowed: Vec<String> =
                    options.iter().map(|option| option.to_string()).collect();
                let near = error
                    .instance()
                    .as_str()
                    .map(|wanted| {
                        did_you_mean(wanted, options.iter().filter_map(|option| option.as_str()))
                    })
                    .unwrap_or_default();
                format!("{}: found {}, allowed: {}{near}", place(at), found(), allowed.join(", "))
            }
            ValidationErrorKind::Type { kind } => {
                let mut text =
                    format!("{}: found {}, expected {}", place(at), found(), expected(kind));
                if let Some(inner) = error.instance().as_str()
                    && matches!(serde_json::from_str(inner), Ok(Value::Array(_) | Value::Object(_)))
                {
                    text.push_str("; send the JSON value itself, not a string that holds it");
                }
                text
            }
            ValidationErrorKind::OneOfNotValid { context }
            | ValidationErrorKind::AnyOf { context } => {
                self.describe_branches(at, error, context, problems);
                return;
            }
            ValidationErrorKind::OneOfMultipleValid { .. } => {
                format!(
                    "{}: found {}, which fits more than one of the allowed forms",
                    place(at),
                    found()
                )
            }
            ValidationErrorKind::Constant { expected_value } => {
                format!("{}: found {}, expected {expected_value}", place(at), found())
            }
            ValidationErrorKind::Minimum { limit } => {
                format!("{}: found {}, at least {limit} is allowed", place(at), found())
            }
            ValidationErrorKind::Maximum { limit } => {
                format!("{}: found {}, at most {limit} is allowed", place(at), found())
            }
            ValidationErrorKind::ExclusiveMinimum { limit } => {
                format!("{}: found {}, it must be more than {limit}", place(at), found())
            }
            ValidationErrorKind::ExclusiveMaximum { limit } => {
                format!("{}: found {}, it must be less than {limit}", place(at), found())
            }
            ValidationErrorKind::MultipleOf { multiple_of } => {
                format!("{}: found {}, it must be a multiple of {multiple_of}", place(at), found())
            }
            ValidationErrorKind::MinLength { limit } => {
                format!("{}: found {}, at least {limit} characters are needed", place(at), found())
            }
            ValidationErrorKind::MaxLength { limit } => {
                let length = error.instance().as_str().map_or(0, |text| text.chars().count());
                format!("{}: found {length} characters, at most {limit} are allowed", place(at))
            }
            ValidationErrorKind::MinItems { limit } => {
                format!(
                    "{}: found {} items, at least {limit} are needed",
                    place(at),
                    length(error.instance())
                )
            }
            ValidationErrorKind::MaxItems { limit } => {
                format!(
                    "{}: found {} items, at most {limit} are allowed",
                    place(at),
                    length(error.instance())
                )
            }
            ValidationErrorKind::MinProperties { limit } => {
                format!(
                    "{}: found {} members, at least {limit} are needed",
                    place(at),
                    length(error.instance())
                )
            }
            ValidationErrorKind::MaxProperties { limit } => {
                format!(
                    "{}: found {} members, at most {limit} are allowed",
                    place(at),
                    length(error.instance())
                )
            }
            ValidationErrorKind::UniqueItems => {
                format!("{}: the same item is listed more than once", place(at))
            }
            ValidationErrorKind::Pattern { pattern } => {
                format!("{}: found {}, it must match the pattern `{pattern}`", place(at), found())
            }
            ValidationErrorKind::Format { format } => {
                format!("{}: found {}, expected a value of the form `{format}`", place(at), found())
            }
            ValidationErrorKind::PropertyNames { error: inner } => {
                format!(
                    "{}: the member name {} is not allowed: {inner}",
                    place(at),
                    show(inner.instance())
                )
            }
            _ => format!("{}: found {}: {error}", place(at), found()),
        };
        problems.push(problem);
    }

    /// Describes why none of several forms fits: by the form whose tag fits, or else by the tags there are.
    fn describe_branches(
        &self,
        at: &str,
        error: &ValidationError<'_>,
        context: &[Vec<ValidationError<'static>>],
        problems: &mut Vec<String>,
    ) {
        let tag_fails = |branch: &[ValidationError<'static>]| {
            branch.iter().any(|inner| {
                matches!(inner.kind(), ValidationErrorKind::Constant { .. })
                    || matches!(inner.kind(), ValidationErrorKind::Required { property } if self.is_tag(inner, property))
                    || (matches!(inner.kind(), ValidationErrorKind::Type { .. }) && inner.instance_path().as_str() == at)
            })
        };
        let fitting: Vec<&Vec<ValidationError<'static>>> =
            context.iter().filter(|branch| !tag_fails(branch)).collect();
        if let [branch] = fitting.as_slice() {
            for inner in branch.iter() {
                self.describe(inner, problems);
            }
            return;
        }
        let mut tags: Vec<(String, Value)> = Vec::new();
        for inner in context.iter().flatten() {
            if let ValidationErrorKind::Constant { expected_value } = inner.kind() {
                tags.push((
                    inner.instance_path().as_str().to_owned(),
                    expected_value.as_ref().clone(),
                ));
            } else if let ValidationErrorKind::Required { property } = inner.kind()
                && let Some(constant) = self.tag_of(inner, property)
            {
                let name = property.as_str().unwrap_or_default();
                tags.push((format!("{}/{name}", inner.instance_path().as_str()), constant));
            }
        }
        if let Some((pointer, _)) = tags.first() {
            let pointer = pointer.clone();
            let name = pointer.rsplit('/').next().unwrap_or_default();
            let found = error.instance().get(name);
            let names: Vec<&str> = tags.iter().filter_map(|(_, tag)| tag.as_str()).collect();
            let allowed: Vec<String> = tags.iter().map(|(_, tag)| tag.to_string()).collect();
            let near = found
                .and_then(Value::as_str)
                .map(|wanted| did_you_mean(wanted, names))
                .unwrap_or_default();
            let found = found.map_or_else(|| "nothing".to_owned(), show);
            problems
                .push(format!("{pointer}: found {found}, allowed: {}{near}", allowed.join(", ")));
            return;
        }
        let mut forms: Vec<String> = Vec::new();
        for branch in context {
            if let Some(inner) = branch.first() {
                let mut lines = Vec::new();
                self.describe(inner, &mut lines);
                forms.extend(lines);
            }
        }
        forms.dedup();
        let found = show(error.instance());
        problems.push(format!(
            "{}: found {found}, which fits none of the allowed forms ({})",
            place(at),
            forms.join("; ")
        ));
    }

    /// Returns the object schema that the failing keyword belongs to.
    fn owner(&self, error: &ValidationError<'_>) -> Option<&Value> {
        let path = error.schema_path().as_str();
        let owner = path.rsplit_once('/').map_or("", |(owner, _)| owner);
        self.schema.pointer(owner)
    }

    fn siblings(&self, error: &ValidationError<'_>) -> Vec<String> {
        match self.owner(error).and_then(|owner| owner.get("properties")) {
            Some(Value::Object(properties)) => properties.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    fn tag_of(&self, error: &ValidationError<'_>, property: &Value) -> Option<Value> {
        let name = property.as_str()?;
        self.owner(error)?.get("properties")?.get(name)?.get("const").cloned()
    }

    fn is_tag(&self, error: &ValidationError<'_>, property: &Value) -> bool {
        self.tag_of(error, property).is_some()
    }

    fn requirement(&self, error: &ValidationError<'_>, name: &str) -> String {
        let Some(property) = self.owner(error).and_then(|owner| owner.get("properties")?.get(name))
        else {
            return String::new();
        };
        match (
            property.get("type").and_then(Value::as_str),
            property.get("enum").and_then(Value::as_array),
        ) {
            (_, Some(options)) => {
                let options: Vec<String> = options.iter().map(ToString::to_string).collect();
                format!("; one of {}", options.join(", "))
            }
            (Some(kind), None) => format!("; expected {}", article(kind)),
            _ => String::new(),
        }
    }
}

fn place(at: &str) -> &str {
    if at.is_empty() { "/" } else { at }
}

fn length(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    }
}

fn expected(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => article(&kind.to_string()),
        TypeKind::Multiple(kinds) => {
            let kinds: Vec<String> = kinds.iter().map(|kind| article(&kind.to_string())).collect();
            kinds.join(" or ")
        }
    }
}

fn article(kind: &str) -> String {
    match kind {
        "array" | "integer" | "object" => format!("an {kind}"),
        kind => format!("a {kind}"),
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(items) => format!("an array of {} items", items.len()),
        Value::Object(members) => format!("an object with {} members", members.len()),
        scalar => {
            let text = scalar.to_string();
            if text.chars().count() <= FOUND_CHARS_MAX {
                return text;
            }
            let head: String = text.chars().take(FOUND_CHARS_MAX).collect();
            format!("{head}… ({} characters)", text.chars().count())
        }
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
