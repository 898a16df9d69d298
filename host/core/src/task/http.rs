//! One HTTP request as work: what to send and what to expect of the answer. Stored and sent, so fields are added and
//! never changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The methods that a request may have.
pub const HTTP_METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A request to send.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpSpec {
    /// The method; empty means `GET`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Where: an absolute `http` or `https` URL.
    pub url: String,
    /// Header lines to send. Their values are never logged and never part of an outcome.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body: a string is sent as it is, any other value as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// What the answer has to be.
    #[serde(default, skip_serializing_if = "HttpExpect::is_default")]
    pub expect: HttpExpect,
}

/// What an answer has to be for the work to have succeeded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpExpect {
    /// Status codes that are good; empty means 200 to 299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
    /// Text that the body holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// What the body holds at least, as JSON: see [`holds`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
}

impl HttpExpect {
    fn is_default(&self) -> bool {
        *self == HttpExpect::default()
    }

    /// Returns whether a status code is good.
    pub fn accepts(&self, status: u16) -> bool {
        if self.status.is_empty() {
            (200..300).contains(&status)
        } else {
            self.status.contains(&status)
        }
    }
}

/// Says where `found` does not hold what is `expected`; nothing when it does.
///
/// Objects are compared member by member and may hold more, numbers by their value, everything else exactly.
pub fn holds(expected: &Value, found: &Value) -> Result<(), String> {
    compare(expected, found, &mut String::new())
}

fn compare(expected: &Value, found: &Value, at: &mut String) -> Result<(), String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, wanted) in expected {
                let length = at.len();
                at.push('/');
                at.push_str(&name.replace('~', "~0").replace('/', "~1"));
                match found.get(name) {
                    Some(value) => compare(wanted, value, at)?,
                    None => return Err(format!("`{at}` is not there")),
                }
                at.truncate(length);
            }
            Ok(())
        }
        (Value::Number(wanted), Value::Number(number)) if wanted.as_f64() == number.as_f64() => {
            Ok(())
        }
        _ if expected == found => Ok(()),
        _ => {
            let place = if at.is_empty() { "the body".to_owned() } else { format!("`{at}`") };
            Err(format!("{place} is {}; expected {}", shortened(found), shortened(expected)))
        }
    }
}

fn shortened(value: &Value) -> String {
    const SHOWN_MAX: usize = 120;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_may_hold_more_than_is_expected_and_not_less() {
        let found = json!({"status": "up", "count": 3, "parts": [{"a": 1}]});
        assert_eq!(holds(&json!({"status": "up", "count": 3.0}), &found), Ok(()));
        assert_eq!(
            holds(&json!({"status": "down"}), &found),
            Err("`/status` is \"up\"; expected \"down\"".to_owned())
        );
        assert_eq!(holds(&json!({"no": {"b/c": 1}}), &found), Err("`/no` is not there".to_owned()));
        assert!(holds(&json!({"parts": []}), &found).is_err(), "lists are compared exactly");
        assert!(holds(&json!([]), &json!({})).is_err());
    }

    #[test]
    fn the_default_accepts_every_success_and_a_list_only_itself() {
        let any = HttpExpect::default();
        assert!(any.accepts(204) && !any.accepts(302) && !any.accepts(404));
        let one = HttpExpect { status: vec![404], ..HttpExpect::default() };
        assert!(one.accepts(404) && !one.accepts(200));
    }
}
