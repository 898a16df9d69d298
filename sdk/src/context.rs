//! The facts that the host supplies with a pattern's call.

use serde_json::{Map, Value};

use crate::edit::Ownership;
use crate::error::PluginError;

/// The facts that the host supplies. Every one may be absent; those that this version does not know are ignored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The name of the component.
    pub component: Option<String>,
    /// The ids of the rules that are wanted; `None` means all. Ask with [`Context::wants`].
    pub rules: Option<Vec<String>>,
    /// The rows of the port registry; `None` when the host keeps none.
    pub ports: Option<Vec<PortClaim>>,
    /// An earlier application of this pattern to this component.
    pub previous: Option<PreviousApplication>,
}

/// One row of the port registry.
#[derive(Clone, Debug, PartialEq)]
pub struct PortClaim {
    /// The port.
    pub port: u16,
    /// Who has claimed it.
    pub service: String,
    /// What else the registry knows of it.
    pub details: Map<String, Value>,
}

/// What the component's lock file says of an earlier application.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PreviousApplication {
    /// The pattern's version then.
    pub version: String,
    /// The hash of the pattern's file then.
    pub digest: String,
    /// The parameters then.
    pub parameters: Value,
    /// The files it wrote.
    pub files: Vec<PreviousFile>,
}

/// A file that an earlier application wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousFile {
    /// Where.
    pub path: String,
    /// Who looks after it.
    pub ownership: Ownership,
    /// SHA-256 of what stood there before; `None` when nothing did.
    pub base_sha256: Option<String>,
    /// SHA-256 of what was written.
    pub result_sha256: String,
}

impl Context {
    /// Answers whether findings and edits of a rule are wanted.
    #[must_use]
    pub fn wants(&self, rule: &str) -> bool {
        self.rules.as_ref().is_none_or(|rules| rules.iter().any(|wanted| wanted == rule))
    }

    /// Returns who has claimed a port, as far as the host knows.
    #[must_use]
    pub fn port_claim(&self, port: u16) -> Option<&PortClaim> {
        self.ports.as_ref()?.iter().find(|claim| claim.port == port)
    }

    /// Names the component.
    #[must_use]
    pub fn with_component(mut self, name: impl Into<String>) -> Self {
        self.component = Some(name.into());
        self
    }

    /// Restricts the rules that are wanted.
    #[must_use]
    pub fn with_rules<R: Into<String>>(mut self, rules: impl IntoIterator<Item = R>) -> Self {
        self.rules = Some(rules.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a row to the port registry.
    #[must_use]
    pub fn with_port(mut self, port: u16, service: impl Into<String>) -> Self {
        let claim = PortClaim { port, service: service.into(), details: Map::new() };
        self.ports.get_or_insert_default().push(claim);
        self
    }

    /// Sets the earlier application.
    #[must_use]
    pub fn with_previous(mut self, previous: PreviousApplication) -> Self {
        self.previous = Some(previous);
        self
    }

    /// Reads the host's document. Unknown keys are ignored.
    ///
    /// # Errors
    /// `Host`, naming the place, when a known key has another form than the contract says.
    pub fn from_json(json: &str) -> Result<Self, PluginError> {
        let value: Value = serde_json::from_str(json)
            .map_err(|error| host(format!("the context is not JSON: {error}")))?;
        let Value::Object(facts) = value else {
            return Err(host("the context is not a JSON object".to_owned()));
        };
        Ok(Self {
            component: present(&facts, "component")
                .map(|value| text(value, "/component"))
                .transpose()?,
            rules: present(&facts, "rules").map(rules).transpose()?,
            ports: present(&facts, "ports").map(ports).transpose()?,
            previous: present(&facts, "previous").map(previous).transpose()?,
        })
    }
}

fn host(message: String) -> PluginError {
    PluginError::Host(message)
}

fn wrong(pointer: &str, expected: &str) -> PluginError {
    host(format!("the context's `{pointer}` is not {expected}"))
}

/// Returns the value of a key; `null` counts as absent.
fn present<'a>(facts: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    facts.get(key).filter(|value| !value.is_null())
}

fn text(value: &Value, pointer: &str) -> Result<String, PluginError> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong(pointer, "text"))
}

fn array<'a>(value: &'a Value, pointer: &str) -> Result<&'a Vec<Value>, PluginError> {
    value.as_array().ok_or_else(|| wrong(pointer, "an array"))
}

fn rules(value: &Value) -> Result<Vec<String>, PluginError> {
    let rows = array(value, "/rules")?.iter().enumerate();
    rows.map(|(index, rule)| text(rule, &format!("/rules/{index}"))).collect()
}

fn ports(value: &Value) -> Result<Vec<PortClaim>, PluginError> {
    let rows = array(value, "/ports")?.iter().enumerate();
    rows.map(|(index, row)| {
        let pointer = format!("/ports/{index}");
        let row = row.as_object().ok_or_else(|| wrong(&pointer, "an object"))?;
        let port =
            row.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let port = port.ok_or_else(|| wrong(&format!("{pointer}/port"), "a port number"))?;
        let service =
            text(row.get("service").unwrap_or(&Value::Null), &format!("{pointer}/service"))?;
        let details = row.iter().filter(|(key, _)| *key != "port" && *key != "service");
        Ok(PortClaim {
            port,
            service,
            details: details.map(|(key, value)| (key.clone(), value.clone())).collect(),
        })
    })
    .collect()
}

fn previous(value: &Value) -> Result<PreviousApplication, PluginError> {
    let entry = value.as_object().ok_or_else(|| wrong("/previous", "an object"))?;
    let optional_text = |key: &str| match present(entry, key) {
        Some(value) => text(value, &format!("/previous/{key}")),
        None => Ok(String::new()),
    };
    let files = match present(entry, "files") {
        Some(files) => array(files, "/previous/files")?
            .iter()
            .enumerate()
            .map(previous_file)
            .collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    Ok(PreviousApplication {
        version: optional_text("version")?,
        digest: optional_text("digest")?,
        parameters: entry.get("parameters").cloned().unwrap_or_default(),
        files,
    })
}

fn previous_file((index, value): (usize, &Value)) -> Result<PreviousFile, PluginError> {
    let pointer = format!("/previous/files/{index}");
    let field = |key: &str| value.get(key).unwrap_or(&Value::Null);
    let ownership = match field("ownership").as_str() {
        Some("managed") => Ownership::Managed,
        Some("block") => Ownership::Block,
        Some("seed") => Ownership::Seed,
        _ => return Err(wrong(&format!("{pointer}/ownership"), "`managed`, `block` or `seed`")),
    };
    let base = field("base_sha256");
    Ok(PreviousFile {
        path: text(field("path"), &format!("{pointer}/path"))?,
        ownership,
        base_sha256: if base.is_null() {
            None
        } else {
            Some(text(base, &format!("{pointer}/base_sha256"))?)
        },
        result_sha256: text(field("result_sha256"), &format!("{pointer}/result_sha256"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_ignored_and_absent_ones_are_none() {
        let context = Context::from_json(r#"{"weather":"fine","component":"shop","ports":null}"#)
            .expect("a context");

        assert_eq!(context, Context::default().with_component("shop"));
        assert!(context.wants("HC01"));
    }

    #[test]
    fn every_known_key_is_read() {
        let context = Context::from_json(
            r#"{"rules":["HC01"],"ports":[{"port":8113,"service":"caelum","range":"mcp"}],
               "previous":{"version":"0.1.0","digest":"d","parameters":{"a":1},"files":[
                 {"path":"a","ownership":"seed","base_sha256":null,"result_sha256":"r"}]}}"#,
        )
        .expect("a context");

        assert!(context.wants("HC01") && !context.wants("HC02"));
        assert_eq!(context.port_claim(8113).expect("claimed").details["range"], "mcp");
        assert_eq!(context.previous.expect("previous").files[0].ownership, Ownership::Seed);
    }

    #[test]
    fn a_known_key_of_another_form_is_the_hosts_mistake() {
        let error =
            Context::from_json(r#"{"ports":[{"port":99999,"service":"a"}]}"#).expect_err("refused");

        assert_eq!(
            error.to_string(),
            "refused by the host: the context's `/ports/0/port` is not a port number"
        );
    }
}
