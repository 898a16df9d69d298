//! Templates and conditions: `{{ parameters.x }}`, `{{ steps.build.outputs.tag }}`. Values only, never code from
//! outputs; an undefined name is an error; work and size are bounded.

use std::error::Error as _;
use std::fmt;
use std::sync::{LazyLock, OnceLock};

use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value};

use super::{Execution, Step, StepStatus};

/// How many instructions one template may take.
const FUEL: u64 = 100_000;

/// How long one rendered text may become, in bytes.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// A template that does not parse, or does not render with the values at hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template `{template}`: {message}")]
pub struct TemplateError {
    /// The template, shortened.
    pub template: String,
    /// What is wrong with it.
    pub message: String,
}

impl TemplateError {
    fn of(template: &str, error: &minijinja::Error) -> Self {
        let mut message = error.kind().to_string();
        if let Some(detail) = error.detail() {
            message = format!("{message}: {detail}");
        }
        if let Some(source) = error.source() {
            message = format!("{message}: {source}");
        }
        Self::new(template, message)
    }

    fn new(template: &str, message: String) -> Self {
        let mut shown: String = template.chars().take(120).collect();
        if shown.len() < template.len() {
            shown.push('…');
        }
        TemplateError { template: shown, message }
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
}

/// What templates are rendered with; they are compiled and forgotten, so it does not grow.
static RENDERING: LazyLock<Environment<'static>> = LazyLock::new(environment);

/// A value as templates see it, converted once however many templates look: ten thousand items see the same parameters.
/// Whoever changes what it was made from begins a new one; a copy is empty.
#[derive(Default)]
pub(super) struct Shown(OnceLock<minijinja::Value>);

impl Shown {
    fn get(&self, of: &Map<String, Value>) -> minijinja::Value {
        self.0.get_or_init(|| minijinja::value::Serde(of).into()).clone()
    }
}

impl Clone for Shown {
    fn clone(&self) -> Self {
        Shown::default()
    }
}

impl PartialEq for Shown {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Shown")
    }
}

/// Builds what templates see.
type Build<'a> = Box<dyn FnOnce() -> minijinja::Value + Send + 'a>;

/// What templates see, converted once for all of them, and not before one of them looks: most commands hold no template,
/// and an execution with many steps has much to show.
#[derive(Debug)]
pub struct Scope<'a>(LazyLock<minijinja::Value, Build<'a>>);

impl<'a> Scope<'a> {
    /// Builds a scope from a JSON object.
    pub fn of(values: Value) -> Self {
        Self::later(move || minijinja::value::Serde(&values).into())
    }

    fn later(values: impl FnOnce() -> minijinja::Value + Send + 'a) -> Self {
        Scope(LazyLock::new(Box::new(values)))
    }
}

/// Returns what templates of a step see: `parameters`, `steps.<id>.outputs` and `.status`, `step`, `execution`.
///
/// Only steps that this one depends on, directly or not, are sure to have ended; others show what they have so far.
pub fn scope(execution: &Execution, step: usize) -> Scope<'_> {
    Scope::later(move || minijinja::Value::from_pairs(values(execution, step)))
}

/// Returns what templates of a step's action see at one of its targets: the same, and where the step is a map, the item
/// and its position, under the names that the map gives them.
pub fn target_scope(execution: &Execution, step: usize, target: usize) -> Scope<'_> {
    Scope::later(move || {
        let mut values = values(execution, step);
        if let Some(map) = &execution.definition().steps[step].map
            && let Some(target) = execution.step(step).targets.get(target)
            && let Some(item) = &target.item
        {
            values.push((map.name.clone(), minijinja::value::Serde(&item.value).into()));
            values.push((map.index_name(), item.index.into()));
        }
        minijinja::Value::from_pairs(values)
    })
}

fn values(execution: &Execution, step: usize) -> Vec<(String, minijinja::Value)> {
    let pairs = |pairs: [(&str, minijinja::Value); 2]| minijinja::Value::from_pairs(pairs);
    let definition = execution.definition();
    let mut steps: Vec<(String, minijinja::Value)> = Vec::new();
    for (index, other) in definition.steps.iter().enumerate() {
        let state = execution.step(index);
        if state.status() != StepStatus::Pending {
            let shown = pairs([
                ("status", state.status().as_str().into()),
                ("outputs", state.shown_outputs.get(&state.outputs)),
            ]);
            steps.push((other.id.to_string(), shown));
        }
    }
    let own = &definition.steps[step];
    let head = execution.head();
    let step: [(&str, minijinja::Value); 3] = [
        ("id", own.id.as_str().into()),
        ("attempt", execution.step(step).attempt.into()),
        ("parameters", minijinja::value::Serde(&own.parameters).into()),
    ];
    let execution_ids =
        pairs([("id", head.id.as_str().into()), ("workflow_id", head.workflow_id.as_str().into())]);
    vec![
        ("parameters".to_owned(), execution.shown_parameters.get(&head.parameters)),
        ("steps".to_owned(), minijinja::Value::from_pairs(steps)),
        ("step".to_owned(), minijinja::Value::from_pairs(step)),
        ("execution".to_owned(), execution_ids),
    ]
}

fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Returns the expression when the whole text is one `{{ … }}`: its value then keeps its type.
fn whole_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then_some(inner)
}

/// Renders one text; a text without `{{` comes back as it is.
///
/// # Errors
///
/// Says what is undefined or malformed.
pub fn render_text(text: &str, scope: &Scope<'_>) -> Result<String, TemplateError> {
    if !is_template(text) {
        return Ok(text.to_owned());
    }
    let rendered =
        RENDERING.render_str(text, &*scope.0).map_err(|error| TemplateError::of(text, &error))?;
    if rendered.len() > TEXT_BYTES_MAX {
        let message = format!("renders to {} bytes; at most {TEXT_BYTES_MAX}", rendered.len());
        return Err(TemplateError::new(text, message));
    }
    Ok(rendered)
}

/// Renders every string in a JSON value. A string that is one whole `{{ … }}` becomes that value, with its type.
///
/// # Errors
///
/// As [`render_text`].
pub fn render_value(value: &Value, scope: &Scope<'_>) -> Result<Value, TemplateError> {
    Ok(match value {
        Value::String(text) => match whole_expression(text) {
            Some(expression) => as_json(text, &find(text, expression, scope)?)?,
            None => Value::String(render_text(text, scope)?),
        },
        Value::Array(items) => Value::Array(
            items.iter().map(|item| render_value(item, scope)).collect::<Result<_, _>>()?,
        ),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), render_value(value, scope)?)))
                .collect::<Result<_, TemplateError>>()?,
        ),
        plain => plain.clone(),
    })
}

/// Renders every string in a JSON value as text: what must stay a string, such as an argument of a program.
///
/// # Errors
///
/// As [`render_text`].
pub fn render_texts(value: &Value, scope: &Scope<'_>) -> Result<Value, TemplateError> {
    Ok(match value {
        Value::String(text) => Value::String(render_text(text, scope)?),
        Value::Array(items) => Value::Array(
            items.iter().map(|item| render_texts(item, scope)).collect::<Result<_, _>>()?,
        ),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), render_texts(value, scope)?)))
                .collect::<Result<_, TemplateError>>()?,
        ),
        plain => plain.clone(),
    })
}

/// Evaluates a step's `when`.
///
/// # Errors
///
/// Says what is undefined or malformed.
pub fn test_condition(condition: &str, scope: &Scope<'_>) -> Result<bool, TemplateError> {
    let expression = whole_expression(condition).unwrap_or(condition);
    Ok(find(condition, expression, scope)?.is_true())
}

/// Evaluates an expression, with or without `{{ }}` around it.
pub(super) fn evaluate(text: &str, scope: &Scope<'_>) -> Result<Value, TemplateError> {
    let expression = whole_expression(text).unwrap_or(text);
    as_json(text, &find(text, expression, scope)?)
}

/// Evaluates the expression in `text`; what is undefined is an error.
fn find(
    text: &str,
    expression: &str,
    scope: &Scope<'_>,
) -> Result<minijinja::Value, TemplateError> {
    let found = RENDERING
        .compile_expression_owned(expression.to_owned())
        .and_then(|compiled| compiled.eval(&*scope.0))
        .map_err(|error| TemplateError::of(text, &error))?;
    if found.is_undefined() {
        let message = format!("`{}` is undefined", expression.trim());
        return Err(TemplateError::new(text, message));
    }
    Ok(found)
}

fn as_json(text: &str, found: &minijinja::Value) -> Result<Value, TemplateError> {
    serde_json::to_value(found).map_err(|error| TemplateError::new(text, error.to_string()))
}

pub(super) fn check_condition(condition: &str) -> Result<(), TemplateError> {
    let expression = whole_expression(condition).unwrap_or(condition);
    environment()
        .compile_expression(expression)
        .map(drop)
        .map_err(|error| TemplateError::of(condition, &error))
}

/// Returns whether templates can call a value so.
pub(super) fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// Parses every template of a step and returns those that do not parse, each with its place in the step.
pub(super) fn check_templates(step: &Step) -> Vec<(String, TemplateError)> {
    let mut faults = Vec::new();
    let over = step.map.as_ref().map(|map| &map.over);
    if let Some(Value::String(expression)) = over
        && let Err(error) = check_condition(expression)
    {
        faults.push(("map/over".to_owned(), error));
    }
    let literal_list = over.filter(|over| over.is_array()).cloned().unwrap_or_default();
    let parts = [
        ("action", serde_json::to_value(&step.action)),
        ("probes", serde_json::to_value(&step.probes)),
        ("enforcement_parameters", serde_json::to_value(&step.enforcement_parameters)),
        ("validation_parameters", serde_json::to_value(&step.validation_parameters)),
        ("map/over", Ok(literal_list)),
    ];
    for (name, value) in parts {
        let value = value.expect("the parts of a step are plain JSON");
        check_value(&value, name, &mut faults);
    }
    faults
}

fn check_value(value: &Value, pointer: &str, faults: &mut Vec<(String, TemplateError)>) {
    match value {
        Value::String(text) if is_template(text) => {
            if let Err(error) = environment().template_from_str(text) {
                faults.push((pointer.to_owned(), TemplateError::of(text, &error)));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_value(item, &format!("{pointer}/{index}"), faults);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                check_value(field, &format!("{pointer}/{name}"), faults);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_whole_expression_keeps_its_type() {
        let scope = Scope::of(json!({"parameters": {"port": 8113, "list": [1, 2]}}));
        let value =
            json!({"port": "{{ parameters.port }}", "url": "http://x:{{ parameters.port }}/"});
        assert_eq!(
            render_value(&value, &scope),
            Ok(json!({"port": 8113, "url": "http://x:8113/"}))
        );
    }

    #[test]
    fn what_is_undefined_is_named() {
        let error = render_text("{{ parameters.tag }}!", &Scope::of(json!({"parameters": {}})))
            .expect_err("no such parameter");
        assert_eq!(error.template, "{{ parameters.tag }}!");
        assert!(error.message.contains("undefined"), "{error}");
    }

    #[test]
    fn endless_templates_run_out_of_fuel() {
        let text = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(render_text(text, &Scope::of(json!({}))).is_err());
    }

    #[test]
    fn outputs_are_never_read_as_templates() {
        let scope = Scope::of(json!({"parameters": {"evil": "{{ 1 + 1 }}"}}));
        assert_eq!(render_text("<{{ parameters.evil }}>", &scope), Ok("<{{ 1 + 1 }}>".to_owned()));
    }
}
