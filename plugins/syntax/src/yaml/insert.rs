//! New entries for mappings, as splices that follow the indentation, the style and the line ends around them.

use std::fmt::Write;

use super::{Kind, Node, YamlFile};
use crate::position::{line_end, line_start};
use crate::splice::{self, Splice};

/// The indentation of a level when the file shows none.
const STEP_DEFAULT: usize = 2;
/// The widest indentation of a level that is taken over from a file.
const STEP_MAX: usize = 8;

/// A value to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fragment {
    /// A scalar, quoted where it has to be.
    Text(String),
    /// A scalar that is always quoted.
    Quoted(String),
    /// A list of quoted scalars, written on one line.
    Line(Vec<String>),
    /// Keys with values; written as a block where the surroundings are one.
    Map(Vec<(String, Fragment)>),
}

impl Fragment {
    /// Builds a scalar.
    pub fn text(text: impl Into<String>) -> Self {
        Fragment::Text(text.into())
    }

    /// Builds a one-line list.
    pub fn line<I: IntoIterator<Item = S>, S: Into<String>>(items: I) -> Self {
        Fragment::Line(items.into_iter().map(Into::into).collect())
    }

    /// Builds a mapping.
    pub fn map<I: IntoIterator<Item = (S, Fragment)>, S: Into<String>>(entries: I) -> Self {
        Fragment::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    fn write_flow(&self, out: &mut String) {
        match self {
            Fragment::Text(text) => out.push_str(&scalar(text)),
            Fragment::Quoted(text) => out.push_str(&quoted(text)),
            Fragment::Line(items) => {
                let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
                let _ = write!(out, "[{}]", items.join(", "));
            }
            Fragment::Map(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    out.push_str(&scalar(key));
                    out.push_str(": ");
                    value.write_flow(out);
                }
                out.push('}');
            }
        }
    }

    fn write_block(&self, key: &str, indent: usize, step: usize, ending: &str, out: &mut String) {
        out.extend(std::iter::repeat_n(' ', indent));
        out.push_str(&scalar(key));
        out.push(':');
        match self {
            Fragment::Map(entries) if !entries.is_empty() => {
                out.push_str(ending);
                for (key, value) in entries {
                    value.write_block(key, indent + step, step, ending, out);
                }
            }
            _ => {
                out.push(' ');
                self.write_flow(out);
                out.push_str(ending);
            }
        }
    }
}

/// Returns the splice that puts a new entry behind the last one of a mapping, or nothing where that cannot be done
/// without touching something else: the node is an alias or no mapping, or the key is there already.
///
/// The result has been read again: apart from the new entry it means what the file meant before.
pub fn new_entry(mapping: Node<'_>, key: &str, value: &Fragment) -> Option<Splice> {
    new_entries(mapping, &[(key.to_owned(), value.clone())])
}

/// As [`new_entry`], for several entries at once.
pub fn new_entries(mapping: Node<'_>, entries: &[(String, Fragment)]) -> Option<Splice> {
    if mapping.is_alias() || mapping.kind() != Kind::Mapping || entries.is_empty() {
        return None;
    }
    if entries.iter().any(|(key, _)| mapping.own_entry(key).is_some()) {
        return None;
    }
    let splice = if mapping.is_flow() {
        into_flow(mapping, entries)?
    } else {
        into_block(mapping, entries)?
    };
    is_pure_addition(mapping.file(), &splice).then_some(splice)
}

/// Returns how many blanks a level of the file is indented by, as seen at a mapping and its parent or children.
pub fn indent_step(mapping: Node<'_>) -> usize {
    let own = indent_of(mapping);
    for entry in mapping.entries() {
        if entry.value.kind() == Kind::Mapping && !entry.value.is_flow() && !entry.value.is_alias()
        {
            let below = indent_of(entry.value);
            if below > own {
                return (below - own).min(STEP_MAX);
            }
        }
    }
    // The first line above that is indented less is the parent's.
    let text = mapping.file().text();
    let mut at = line_start(text, mapping.span().start);
    while at > 0 {
        at = line_start(text, at - 1);
        let line = &text[at..line_end(text, at)];
        let content = line.trim_start_matches(' ');
        let blank = content.trim().is_empty() || content.starts_with('#');
        let indent = line.len() - content.len();
        if !blank && indent < own {
            return (own - indent).min(STEP_MAX);
        }
    }
    STEP_DEFAULT
}

fn indent_of(node: Node<'_>) -> usize {
    (node.position().column as usize).saturating_sub(1)
}

fn into_block(mapping: Node<'_>, entries: &[(String, Fragment)]) -> Option<Splice> {
    let text = mapping.file().text();
    let indent = indent_of(mapping);
    let step = indent_step(mapping);
    let at = line_end(text, mapping.span().end);
    let last_line = &text[line_start(text, mapping.span().end)..at];
    let ending = if last_line.ends_with("\r\n") {
        "\r\n"
    } else if last_line.ends_with('\n') {
        "\n"
    } else {
        crate::position::line_ending(text)
    };
    let mut added = String::new();
    for (key, value) in entries {
        value.write_block(key, indent, step, ending, &mut added);
    }
    if !last_line.ends_with('\n') {
        // The file ends without a line end; so it shall remain.
        added.truncate(added.len() - ending.len());
        added.insert_str(0, ending);
    }
    Some(Splice::insert(at, added))
}

fn into_flow(mapping: Node<'_>, entries: &[(String, Fragment)]) -> Option<Splice> {
    let mut added = String::new();
    for (key, value) in entries {
        let _ = write!(added, ", {}: ", scalar(key));
        value.write_flow(&mut added);
    }
    match mapping.entries().last() {
        Some(last) => {
            let at = last.value.span().end.max(last.key.span().end);
            Some(Splice::insert(at, added))
        }
        None => Some(Splice::insert(mapping.span().start + 1, added.split_off(2))),
    }
}

/// Returns whether a file means the same after a splice, but for leaves that were added.
fn is_pure_addition(file: &YamlFile, splice: &Splice) -> bool {
    let Ok(changed) = splice::apply(file.text(), std::slice::from_ref(splice)) else {
        return false;
    };
    let Ok(changed) = YamlFile::parse(&changed) else { return false };
    let before = file.leaves();
    let after = changed.leaves();
    // An empty mapping that gets its first entry is a leaf that goes away.
    let kept: Vec<_> =
        before.iter().filter(|leaf| leaf.text != "{}" || after.contains(leaf)).collect();
    let mut rest = after.iter();
    kept.iter().all(|leaf| rest.any(|other| other == *leaf)) && after.len() > kept.len()
}

/// Writes a scalar plainly where every reader takes that for the same text, and quoted otherwise.
pub fn scalar(text: &str) -> String {
    let plain_start =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '/' | '_' | '.');
    let plain = |letter: char| {
        letter.is_ascii_alphanumeric() || matches!(letter, '/' | '_' | '.' | '-' | '@')
    };
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | ".inf" | ".nan"
    );
    if text.chars().next().is_some_and(plain_start) && text.chars().all(plain) && !word {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Writes a scalar in double quotes.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other if other.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(other));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
