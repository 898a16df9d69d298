//! A witness outside the server: a file to which steps append a line each time they really run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The file. What it holds was written by programs that ran, whatever the server remembers of them.
#[derive(Debug, Clone)]
pub struct Witness(PathBuf);

impl Witness {
    /// Makes an empty file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        fs::write(&path, "").expect("a file in a new directory can be written");
        Self(path)
    }

    /// Returns where it lies.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the action of a step that leaves a word here, after a while of this many milliseconds. A line this
    /// short is appended by one write, so that lines never mix.
    pub fn action(&self, word: &str, milliseconds: u32) -> Value {
        let seconds = f64::from(milliseconds) / 1_000.0;
        json!({
            "kind": "command",
            "program": "/bin/sh",
            "args": [
                "-c",
                format!("echo '{word}' >> \"$WITNESS\"; sleep {seconds}"),
            ],
            "env": {"WITNESS": self.0.display().to_string()},
        })
    }

    /// Returns the words left so far, in order.
    pub fn words(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.0).expect("the witness is there");
        text.lines().map(str::to_owned).collect()
    }

    /// Returns how often each word was left.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for word in self.words() {
            *counts.entry(word).or_default() += 1;
        }
        counts
    }
}
