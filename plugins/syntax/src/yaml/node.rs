//! One node of a file and how to look into it.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{DEPTH_MAX, YamlFile};
use crate::position::Position;

/// The most mappings that one merge key may bring in. More are ignored: nobody writes so many by hand.
const MERGES_MAX: usize = 64;

/// What is kept of a node.
#[derive(Debug, Clone)]
pub(super) struct Data {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) value: Value,
    pub(super) tag: Option<String>,
}

/// The content of a node.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar { text: String, plain: bool },
    Sequence { items: Vec<usize>, flow: bool },
    Mapping { entries: Vec<(usize, usize)>, flow: bool },
    Alias { target: Option<usize> },
}

/// What a node is, aliases followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: an absent value, `~` or `null`, or an alias without a target.
    Null,
    /// Text, a number or a flag.
    Scalar,
    /// A list.
    Sequence,
    /// Keys with values.
    Mapping,
}

/// A node of a file.
#[derive(Debug, Clone, Copy)]
pub struct Node<'f> {
    pub(super) file: &'f YamlFile,
    pub(super) id: usize,
}

/// A key with its value.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'f> {
    /// The key.
    pub key: Node<'f>,
    /// The value.
    pub value: Node<'f>,
}

/// A scalar, an empty collection or an alias, with the path that leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Number of the document and the keys and indexes below it, `/` between them and escaped as in a JSON Pointer.
    pub path: String,
    /// What stands there.
    pub text: String,
}

impl<'f> Node<'f> {
    fn data(self) -> &'f Data {
        &self.file.nodes[self.id]
    }

    fn at(self, id: usize) -> Node<'f> {
        Node { file: self.file, id }
    }

    /// Follows an alias to what it stands for. Targets lie before their aliases and are no aliases themselves.
    fn target(self) -> Option<Node<'f>> {
        match self.data().value {
            Value::Alias { target } => target.map(|id| self.at(id)),
            _ => Some(self),
        }
    }

    /// Returns the file that the node stands in.
    pub fn file(self) -> &'f YamlFile {
        self.file
    }

    /// Returns the bytes that the node takes up: of an alias those of the alias itself, of a block collection those
    /// from its first key or dash to the end of its last value, of a block text (`|`, `>`) those of its lines.
    pub fn span(self) -> Range<usize> {
        self.data().start..self.data().end
    }

    /// Returns where the node begins.
    pub fn position(self) -> Position {
        self.file.position(self.data().start)
    }

    /// Returns where the node ends: the place behind its last character.
    pub fn end_position(self) -> Position {
        self.file.position(self.data().end)
    }

    /// Returns whether the node is an alias of another.
    pub fn is_alias(self) -> bool {
        matches!(self.data().value, Value::Alias { .. })
    }

    /// Returns whether the node is a collection in flow style, written with brackets or braces.
    pub fn is_flow(self) -> bool {
        matches!(
            self.data().value,
            Value::Sequence { flow: true, .. } | Value::Mapping { flow: true, .. }
        )
    }

    /// Returns the explicit tag of the node as it is written, such as `!reset`.
    pub fn tag(self) -> Option<&'f str> {
        self.data().tag.as_deref()
    }

    /// Returns what the node is, aliases followed.
    pub fn kind(self) -> Kind {
        let Some(target) = self.target() else { return Kind::Null };
        match &target.data().value {
            Value::Scalar { text, plain: true }
                if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") =>
            {
                if target.tag().is_some_and(|tag| tag == "!!str") {
                    Kind::Scalar
                } else {
                    Kind::Null
                }
            }
            Value::Scalar { .. } => Kind::Scalar,
            Value::Sequence { .. } => Kind::Sequence,
            Value::Mapping { .. } => Kind::Mapping,
            Value::Alias { .. } => Kind::Null,
        }
    }

    /// Returns the text of a scalar, whatever type YAML gives it; nothing for null and collections.
    pub fn as_str(self) -> Option<&'f str> {
        if self.kind() != Kind::Scalar {
            return None;
        }
        match &self.target()?.data().value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Returns the value of a plain flag, in the words of YAML 1.1 and 1.2.
    pub fn as_bool(self) -> Option<bool> {
        let target = self.target()?;
        let Value::Scalar { text, plain: true } = &target.data().value else { return None };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    /// Returns the value of a scalar that is a whole number.
    pub fn as_u64(self) -> Option<u64> {
        self.as_str()?.parse().ok()
    }

    /// Returns the items of a sequence; none for anything else.
    pub fn items(self) -> Vec<Node<'f>> {
        match self.target().map(|target| &target.data().value) {
            Some(Value::Sequence { items, .. }) => items.iter().map(|id| self.at(*id)).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the entries of a mapping that are written in it, merge keys left out; none for anything else.
    pub fn entries(self) -> Vec<Entry<'f>> {
        self.all_entries().into_iter().filter(|entry| !entry.is_merge()).collect()
    }

    /// Returns the entries of a mapping together with those that merge keys (`<<`) bring in, the nearest first. A key
    /// appears once.
    pub fn merged_entries(self) -> Vec<Entry<'f>> {
        let mut found = Vec::new();
        let mut keys = BTreeSet::new();
        let mut visited = BTreeSet::new();
        let mut queue: Vec<Node<'f>> = vec![self];
        while let Some(mapping) = queue.pop() {
            let Some(target) = mapping.target() else { continue };
            if !visited.insert(target.id) || visited.len() > MERGES_MAX {
                continue;
            }
            let mut merges = Vec::new();
            for entry in target.all_entries() {
                if entry.is_merge() {
                    match entry.value.kind() {
                        Kind::Sequence => merges.extend(entry.value.items()),
                        _ => merges.push(entry.value),
                    }
                } else if keys.insert(entry.key.as_str().unwrap_or_default()) {
                    found.push(entry);
                }
            }
            queue.extend(merges.into_iter().rev());
        }
        found
    }

    fn all_entries(self) -> Vec<Entry<'f>> {
        match self.target().map(|target| &target.data().value) {
            Some(Value::Mapping { entries, .. }) => entries
                .iter()
                .map(|(key, value)| Entry { key: self.at(*key), value: self.at(*value) })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the entry of a key in a mapping, merge keys included.
    pub fn entry(self, key: &str) -> Option<Entry<'f>> {
        let own = self.own_entry(key);
        if own.is_some() {
            return own;
        }
        self.merged_entries().into_iter().find(|entry| entry.key.as_str() == Some(key))
    }

    /// Returns the entry of a key that is written in the mapping itself.
    pub fn own_entry(self, key: &str) -> Option<Entry<'f>> {
        self.entries().into_iter().find(|entry| entry.key.as_str() == Some(key))
    }

    /// Returns the value of a key in a mapping, merge keys included.
    pub fn get(self, key: &str) -> Option<Node<'f>> {
        self.entry(key).map(|entry| entry.value)
    }

    /// Returns the value that a path of keys leads to.
    pub fn path(self, keys: &[&str]) -> Option<Node<'f>> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    pub(super) fn collect_leaves(self, path: &str, leaves: &mut Vec<Leaf>) {
        let depth = path.matches('/').count();
        if depth > 2 * DEPTH_MAX {
            return;
        }
        let mut leaf = |text: String| leaves.push(Leaf { path: path.to_owned(), text });
        match &self.data().value {
            Value::Scalar { text, plain } => {
                leaf(if *plain { text.clone() } else { format!("\"{text}\"") })
            }
            Value::Alias { .. } => {
                leaf(self.file.text.get(self.span()).unwrap_or_default().to_owned())
            }
            Value::Sequence { items, .. } if items.is_empty() => leaf("[]".to_owned()),
            Value::Mapping { entries, .. } if entries.is_empty() => leaf("{}".to_owned()),
            Value::Sequence { items, .. } => {
                for (index, id) in items.iter().enumerate() {
                    self.at(*id).collect_leaves(&format!("{path}/{index}"), leaves);
                }
            }
            Value::Mapping { entries, .. } => {
                for (key, value) in entries {
                    let name = match &self.at(*key).data().value {
                        Value::Scalar { text, .. } => text.replace('~', "~0").replace('/', "~1"),
                        _ => format!("?{key}"),
                    };
                    self.at(*value).collect_leaves(&format!("{path}/{name}"), leaves);
                }
            }
        }
    }
}

impl Entry<'_> {
    fn is_merge(&self) -> bool {
        matches!(&self.key.data().value, Value::Scalar { text, plain: true } if text == "<<")
    }
}
