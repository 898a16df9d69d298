//! Health checks of services.

use super::duration::duration_ms;
use crate::yaml::{Kind, Node};

/// What a health check runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthcheckTest {
    /// A program with its arguments: `["CMD", "pg_isready"]`.
    Exec(Vec<String>),
    /// A line for the image's shell: `["CMD-SHELL", "…"]`, or plain text.
    Shell(String),
    /// Switched off: `["NONE"]` or `disable: true`.
    Off,
    /// There is none, so that of the image counts.
    Inherited,
    /// Something that no compose file may hold.
    Malformed,
}

impl HealthcheckTest {
    /// Reads the value of `test`.
    pub fn read(node: Node<'_>) -> Self {
        match node.kind() {
            Kind::Scalar => HealthcheckTest::Shell(node.as_str().unwrap_or_default().to_owned()),
            Kind::Sequence => {
                let items: Option<Vec<&str>> = node.items().into_iter().map(Node::as_str).collect();
                match items.as_deref() {
                    Some(["NONE", ..]) => HealthcheckTest::Off,
                    Some(["CMD", rest @ ..]) if !rest.is_empty() => {
                        HealthcheckTest::Exec(rest.iter().map(|item| (*item).to_owned()).collect())
                    }
                    Some(["CMD-SHELL", line, ..]) => HealthcheckTest::Shell((*line).to_owned()),
                    _ => HealthcheckTest::Malformed,
                }
            }
            Kind::Mapping => HealthcheckTest::Malformed,
            Kind::Null => HealthcheckTest::Inherited,
        }
    }

    /// Returns the test as one line, as far as a shell would see one.
    pub fn line(&self) -> String {
        match self {
            HealthcheckTest::Exec(words) => words.join(" "),
            HealthcheckTest::Shell(line) => line.clone(),
            _ => String::new(),
        }
    }
}

/// A service's health check.
#[derive(Debug, Clone)]
pub struct Healthcheck<'f> {
    /// What it runs.
    pub test: HealthcheckTest,
    /// Where `test` stands.
    pub test_node: Option<Node<'f>>,
    /// Milliseconds between two checks, where given and readable.
    pub interval_ms: Option<u64>,
    /// Milliseconds that a check may take, where given and readable.
    pub timeout_ms: Option<u64>,
    /// The keys that the mapping holds.
    pub keys: Vec<String>,
    /// The whole mapping.
    pub node: Node<'f>,
}

impl<'f> Healthcheck<'f> {
    /// Reads the value of `healthcheck`; nothing unless it is a mapping.
    pub fn read(node: Node<'f>) -> Option<Self> {
        if node.kind() != Kind::Mapping {
            return None;
        }
        let test_node = node.get("test");
        let off = node.get("disable").and_then(Node::as_bool) == Some(true);
        let test = match test_node {
            _ if off => HealthcheckTest::Off,
            Some(test) => HealthcheckTest::read(test),
            None => HealthcheckTest::Inherited,
        };
        let duration = |key: &str| node.get(key).and_then(Node::as_str).and_then(duration_ms);
        let keys = node.merged_entries();
        Some(Healthcheck {
            test,
            test_node,
            interval_ms: duration("interval"),
            timeout_ms: duration("timeout"),
            keys: keys.iter().filter_map(|entry| entry.key.as_str().map(str::to_owned)).collect(),
            node,
        })
    }

    /// Returns whether a key is given.
    pub fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|own| own == key)
    }
}
