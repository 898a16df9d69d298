//! Reads YAML and keeps the position of every node; anchors, aliases, merge keys, flow style and several documents in
//! one file included. It never writes YAML from what it read: see [`insert`] for changes.

pub mod insert;
mod node;
mod parse;

use thiserror::Error;

use crate::position::{LineIndex, Position};

pub use node::{Entry, Kind, Leaf, Node};

/// The largest file that is read, in bytes: the same as one read of a plugin's target gives.
pub const BYTES_MAX: usize = 1024 * 1024;
/// The deepest nesting that is read. Deeper files are refused: nothing a person writes comes near it.
pub const DEPTH_MAX: usize = 64;
/// The most nodes that are read. Larger files are refused: a megabyte of plain configuration stays below it.
pub const NODES_MAX: usize = 200_000;

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum YamlError {
    /// The file is larger than [`BYTES_MAX`].
    #[error("the file has {bytes} bytes; at most {BYTES_MAX} are read")]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// The file has more than [`NODES_MAX`] nodes.
    #[error("the file has more than {NODES_MAX} nodes")]
    TooManyNodes,
    /// The text is no YAML, or nests deeper than [`DEPTH_MAX`].
    #[error("line {}, column {}: {message}", .at.line, .at.column)]
    Syntax {
        /// Where.
        at: Position,
        /// What the parser says.
        message: String,
    },
}

/// One YAML file, read.
#[derive(Debug, Clone)]
pub struct YamlFile {
    text: String,
    lines: LineIndex,
    nodes: Vec<node::Data>,
    roots: Vec<usize>,
}

impl YamlFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`YamlError::TooLarge`], [`YamlError::TooManyNodes`], and [`YamlError::Syntax`] for the first fault of the text.
    pub fn parse(text: &str) -> Result<Self, YamlError> {
        parse::parse(text)
    }

    /// Returns the text that was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the root nodes of the documents in the file, in order. Documents without content are left out.
    pub fn documents(&self) -> impl Iterator<Item = Node<'_>> {
        self.roots.iter().map(|id| Node { file: self, id: *id })
    }

    /// Returns the root node of the first document.
    pub fn root(&self) -> Option<Node<'_>> {
        self.documents().next()
    }

    /// Returns the place of a byte offset.
    pub fn position(&self, offset: usize) -> Position {
        self.lines.position(&self.text, offset)
    }

    /// Returns every scalar and every empty collection with its path, in the order of the file. Aliases are shown as
    /// they are written, not as what they stand for. Two files with equal leaves mean the same.
    pub fn leaves(&self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        for (index, root) in self.documents().enumerate() {
            root.collect_leaves(&format!("{index}"), &mut leaves);
        }
        leaves
    }
}
