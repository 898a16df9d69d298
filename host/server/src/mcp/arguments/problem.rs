//! Puts one error of the schema validator into words: the place, what was found, what is allowed.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

use crate::mcp::error::did_you_mean;

/// How much of a found value a message shows, in characters; enough to recognise it.
const FOUND_CHARS_MAX: usize = 60;

/// Knows the schema that an error came from.
pub(super) struct Describer<'a> {
    /// The schema.
    pub(super) schema: &'a Value,
    /// What a member of the value is called.
    pub(super) member: &'static str,
}

impl Describer<'_> {
    /// Adds a line for each thing an error says is wrong.
    pub(super) fn describe(&self, error: &ValidationError<'_>, problems: &mut Vec<String>) {
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
