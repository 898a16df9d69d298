//! Between the contract's types and the core's: what comes from a guest is checked and cleaned, what goes to one is
//! brought into its form. Every breach of the contract in an answer is found, not only the first.

mod description;
mod evidence;
mod finding;
mod plan;
mod verdict;

use std::collections::BTreeSet;

use caelum_core::plugin::{HostReason, ParameterProblem, PluginFailure};
use serde_json::Value;

use crate::bindings::types;
use crate::text;

pub(crate) use description::{described_pattern, described_validator};
pub(crate) use evidence::guest_evidence;
pub(crate) use plan::plan;
pub(crate) use verdict::verdict;

pub(crate) use finding::assessment;

/// The longest JSON document of a plugin, in bytes (`types.wit`).
const JSON_BYTES_MAX: usize = 1024 * 1024;

/// The deepest JSON document of a plugin (`types.wit`).
const JSON_DEPTH_MAX: usize = 64;

/// How many breaches a message names; the rest is counted.
const BREACHES_SHOWN_MAX: usize = 10;

/// Collects the breaches of the contract in one answer.
#[derive(Debug, Default)]
pub(crate) struct Breaches(Vec<String>);

impl Breaches {
    pub(crate) fn add(&mut self, breach: impl Into<String>) {
        self.0.push(breach.into());
    }

    /// Returns the breaches, the first ones in words.
    pub(crate) fn into_list(self) -> Vec<String> {
        let more = self.0.len().saturating_sub(BREACHES_SHOWN_MAX);
        let mut list: Vec<String> = self.0.into_iter().take(BREACHES_SHOWN_MAX).collect();
        if more > 0 {
            list.push(format!("and {more} more"));
        }
        list
    }

    /// Returns the answer when there was no breach.
    fn finish<T>(self, answer: T) -> Result<T, HostReason> {
        if self.0.is_empty() {
            return Ok(answer);
        }
        Err(HostReason::Contract {
            message: format!("broke the contract: {}", self.into_list().join("; ")),
        })
    }
}

/// Refuses a list that is longer than it may be. Nothing is cut: half an answer is a wrong one.
fn count(what: &str, count: usize, max: u64) -> Result<(), HostReason> {
    if count as u64 > max {
        return Err(HostReason::OutputTooLarge {
            message: format!("returned {count} {what}; at most {max} are allowed"),
        });
    }
    Ok(())
}

/// Parses a JSON document of a plugin. `what` names it in the breach.
fn json(text: &str, what: &str, breaches: &mut Breaches) -> Option<Value> {
    if text.len() > JSON_BYTES_MAX {
        breaches.add(format!("{what} has {} bytes of JSON; at most {JSON_BYTES_MAX}", text.len()));
        return None;
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value) if depth(&value) > JSON_DEPTH_MAX => {
            breaches.add(format!("{what} is nested deeper than {JSON_DEPTH_MAX} levels"));
            None
        }
        Ok(value) => Some(value),
        Err(error) => {
            breaches.add(format!("{what} is not JSON: {error}"));
            None
        }
    }
}

/// Parses a JSON document that must be an object.
fn json_object(text: &str, what: &str, breaches: &mut Breaches) -> Option<Value> {
    let value = json(text, what, breaches)?;
    if !value.is_object() {
        breaches.add(format!("{what} is not a JSON object"));
        return None;
    }
    Some(value)
}

fn depth(value: &Value) -> usize {
    // The parser refuses more than 128 levels, so this recursion ends.
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Cleans every text in a JSON document that is shown to people.
fn clean_json(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text::clean(&text).into_owned()),
        Value::Array(values) => values.into_iter().map(clean_json).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(name, value)| (text::line(&name), clean_json(value))).collect()
        }
        other => other,
    }
}

/// Whether a text has from 1 to `bytes_max` ASCII letters, digits and the letters of `also`.
fn is_word(text: &str, bytes_max: usize, also: &str) -> bool {
    !text.is_empty()
        && text.len() <= bytes_max
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || also.contains(letter))
}

/// Converts the `extensions` slot of a record: checked, names unique, values in compact form.
fn extensions(
    given: Vec<types::Extension>,
    what: &str,
    breaches: &mut Breaches,
) -> Vec<(String, String)> {
    let mut names = BTreeSet::new();
    let mut kept = Vec::with_capacity(given.len());
    for (name, value) in given {
        let shown = text::line(&name);
        if !is_word(&name, 128, "-/") {
            breaches.add(format!(
                "{what} has an extension named `{shown}`; a name is letters, digits, `-` and one `/`"
            ));
            continue;
        }
        if !names.insert(name.clone()) {
            breaches.add(format!("{what} has two extensions named `{shown}`"));
            continue;
        }
        let place = format!("the extension `{shown}` of {what}");
        if let Some(value) = json(&value, &place, breaches) {
            kept.push((name, clean_json(value).to_string()));
        }
    }
    kept
}

/// Converts an error that a plugin returned.
pub(crate) fn plugin_error(error: types::PluginError) -> PluginFailure {
    match error {
        types::PluginError::InvalidParameters(problems) if problems.is_empty() => {
            PluginFailure::Host(HostReason::Contract {
                message:
                    "broke the contract: said that the parameters are invalid and named no problem"
                        .to_owned(),
            })
        }
        types::PluginError::InvalidParameters(problems) => PluginFailure::InvalidParameters(
            problems
                .into_iter()
                .map(|problem| ParameterProblem {
                    pointer: text::line(&problem.pointer),
                    message: text::line(&problem.message),
                })
                .collect(),
        ),
        types::PluginError::NotApplicable(reason) => {
            PluginFailure::NotApplicable(text::paragraph(&reason))
        }
        types::PluginError::Host(reason) => {
            PluginFailure::Own(format!("the host refused: {}", text::paragraph(&reason)))
        }
        types::PluginError::Other(reason) => PluginFailure::Own(text::paragraph(&reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches_of(text: &str) -> Vec<String> {
        let mut breaches = Breaches::default();
        json_object(text, "`metrics`", &mut breaches);
        breaches.into_list()
    }

    #[test]
    fn a_document_is_an_object_within_its_bounds() {
        assert_eq!(breaches_of(r#"{"a":1}"#), [""; 0]);
        assert_eq!(breaches_of("[]"), ["`metrics` is not a JSON object"]);
        assert_eq!(
            breaches_of("{"),
            ["`metrics` is not JSON: EOF while parsing an object at line 1 column 1"]
        );
        let deep = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert_eq!(breaches_of(&deep(64)), [""; 0]);
        assert_eq!(breaches_of(&deep(65)), ["`metrics` is nested deeper than 64 levels"]);
        assert_eq!(breaches_of(&deep(10_000)).len(), 1);
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(JSON_BYTES_MAX));
        assert_eq!(breaches_of(&long), ["`metrics` has 1048584 bytes of JSON; at most 1048576"]);
    }

    #[test]
    fn many_breaches_are_counted_and_the_first_ten_are_named() {
        let mut breaches = Breaches::default();
        for number in 0..12 {
            breaches.add(format!("breach {number}"));
        }

        let Err(HostReason::Contract { message }) = breaches.finish(()) else {
            panic!("there were breaches");
        };

        assert!(message.starts_with("broke the contract: breach 0; breach 1; "), "{message}");
        assert!(message.ends_with("; breach 9; and 2 more"), "{message}");
    }

    #[test]
    fn an_error_of_a_plugin_is_shown_clean() {
        let error = types::PluginError::Other("\u{1b}[2Jno \u{202e}luck".to_owned());
        assert_eq!(plugin_error(error), PluginFailure::Own("no luck".to_owned()));

        let error = types::PluginError::InvalidParameters(vec![]);
        assert!(matches!(plugin_error(error), PluginFailure::Host(HostReason::Contract { .. })));
    }
}
