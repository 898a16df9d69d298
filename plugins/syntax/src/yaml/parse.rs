//! Builds the nodes of a file from the parser's events.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};

use super::node::{Data, Value};
use super::{BYTES_MAX, DEPTH_MAX, NODES_MAX, YamlError, YamlFile};
use crate::position::LineIndex;

/// A collection whose end has not been seen.
struct Open {
    id: usize,
    /// The key that waits for its value, in a mapping.
    key: Option<usize>,
}

struct Builder<'t> {
    text: &'t str,
    nodes: Vec<Data>,
    roots: Vec<usize>,
    open: Vec<Open>,
    /// Anchor number of the parser to node.
    anchors: BTreeMap<usize, usize>,
}

/// Reads a file.
pub(super) fn parse(text: &str) -> Result<YamlFile, YamlError> {
    if text.len() > BYTES_MAX {
        return Err(YamlError::TooLarge { bytes: text.len() });
    }
    let lines = LineIndex::new(text);
    let options = granit_parser::options! {
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
        emit_unresolved_aliases: true,
    };
    // Byte offsets from the parser count from behind a byte order mark, which it drops.
    let mark = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut builder = Builder {
        text,
        nodes: Vec::new(),
        roots: Vec::new(),
        open: Vec::new(),
        anchors: BTreeMap::new(),
    };
    for next in Parser::new_from_str_with_options(&text[mark..], options) {
        let (event, span) = next.map_err(|error| {
            let offset = error.marker().byte_offset().unwrap_or(0) + mark;
            YamlError::Syntax { at: lines.position(text, offset), message: error.info() }
        })?;
        builder.take(&event, span, mark)?;
    }
    let Builder { nodes, roots, .. } = builder;
    Ok(YamlFile { text: text.to_owned(), lines, nodes, roots })
}

impl Builder<'_> {
    fn take(&mut self, event: &Event<'_>, span: Span, mark: usize) -> Result<(), YamlError> {
        if self.nodes.len() >= NODES_MAX {
            return Err(YamlError::TooManyNodes);
        }
        let clamp = |offset: Option<usize>| (offset.unwrap_or(0) + mark).min(self.text.len());
        let start = clamp(span.start.byte_offset());
        let end = clamp(span.end.byte_offset()).max(start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let end = self.scalar_end(start, end, *style);
                let tag = tag.as_ref().map(|tag| tag.original());
                let value =
                    Value::Scalar { text: text.to_string(), plain: *style == ScalarStyle::Plain };
                self.add(Data { start, end, value, tag }, *anchor);
            }
            Event::Alias(number) => {
                let target = self.anchors.get(number).copied();
                self.add(Data { start, end, value: Value::Alias { target }, tag: None }, 0);
            }
            Event::UnresolvedAlias(_) => {
                self.add(Data { start, end, value: Value::Alias { target: None }, tag: None }, 0);
            }
            Event::SequenceStart(style, anchor, tag) => {
                let value =
                    Value::Sequence { items: Vec::new(), flow: *style == StructureStyle::Flow };
                let tag = tag.as_ref().map(|tag| tag.original());
                let id = self.add(Data { start, end, value, tag }, *anchor);
                self.open.push(Open { id, key: None });
            }
            Event::MappingStart(style, anchor, tag) => {
                let value =
                    Value::Mapping { entries: Vec::new(), flow: *style == StructureStyle::Flow };
                let tag = tag.as_ref().map(|tag| tag.original());
                let id = self.add(Data { start, end, value, tag }, *anchor);
                self.open.push(Open { id, key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(end),
            _ => {}
        }
        Ok(())
    }

    /// Ends a plain or block scalar at its last character that is no white space: what follows belongs to the layout.
    fn scalar_end(&self, start: usize, end: usize, style: ScalarStyle) -> usize {
        match style {
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => end,
            _ => match self.text.get(start..end) {
                Some(text) => start + text.trim_end().len(),
                None => end,
            },
        }
    }

    fn add(&mut self, data: Data, anchor: usize) -> usize {
        let id = self.nodes.len();
        self.nodes.push(data);
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        let Some(parent) = self.open.last_mut() else {
            self.roots.push(id);
            return id;
        };
        match &mut self.nodes[parent.id].value {
            Value::Sequence { items, .. } => items.push(id),
            Value::Mapping { entries, .. } => match parent.key.take() {
                None => parent.key = Some(id),
                Some(key) => entries.push((key, id)),
            },
            Value::Scalar { .. } | Value::Alias { .. } => {}
        }
        id
    }

    /// Ends a collection: a flow collection behind its bracket, a block collection with its last child.
    fn close(&mut self, end: usize) {
        let Some(open) = self.open.pop() else { return };
        let last = match &self.nodes[open.id].value {
            Value::Sequence { items, flow: false } => items.last().copied(),
            Value::Mapping { entries, flow: false } => entries.last().map(|(key, value)| {
                if self.nodes[*value].end > self.nodes[*key].end { *value } else { *key }
            }),
            _ => None,
        };
        let start = self.nodes[open.id].start;
        let end = match last {
            Some(child) => self.nodes[child].end,
            None => end,
        };
        self.nodes[open.id].end = end.max(start);
    }
}
