//! From instructions to stages: what each is built on, with build arguments put in.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Instruction, Problem};
use crate::image::interpolate;
use crate::position::Position;

/// What a stage is built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// An image, by its name with build arguments put in.
    Image(String),
    /// An earlier stage, by its number.
    Stage(usize),
    /// Nothing: `scratch`.
    Scratch,
    /// Something that only a build with arguments decides.
    Unknown,
}

/// One stage of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its number, from 0.
    pub index: usize,
    /// Its name, when it has one.
    pub name: Option<String>,
    /// What it is built on.
    pub base: Base,
    /// Which instructions of the file are its own, `FROM` included.
    pub instructions: Range<usize>,
    /// Where its `FROM` stands.
    pub position: Position,
}

/// Returns the stages of a file.
pub(super) fn stages(instructions: &[Instruction], problems: &mut Vec<Problem>) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut arguments: BTreeMap<String, String> = BTreeMap::new();
    for (at, instruction) in instructions.iter().enumerate() {
        match instruction.keyword.as_str() {
            "ARG" if stages.is_empty() => declare(&mut arguments, &instruction.arguments),
            "FROM" => {
                if let Some(last) = stages.last_mut() {
                    last.instructions.end = at;
                }
                let stage = stage(instruction, at, &stages, &arguments, problems);
                stages.push(stage);
            }
            keyword if stages.is_empty() && super::KEYWORDS.contains(&keyword) => {
                let message = format!("`{keyword}` stands before the first FROM");
                problems.push(Problem { position: instruction.position, message });
            }
            _ => {}
        }
    }
    match stages.last_mut() {
        Some(last) => last.instructions.end = instructions.len(),
        None => problems.push(Problem {
            position: Position { line: 1, column: 1 },
            message: "there is no FROM".to_owned(),
        }),
    }
    stages
}

fn declare(arguments: &mut BTreeMap<String, String>, text: &str) {
    for word in text.split_whitespace() {
        let Some((name, default)) = word.split_once('=') else { continue };
        let default = default.trim_matches(['"', '\'']);
        let value = interpolate(default, &|name| arguments.get(name).cloned());
        if let Some(value) = value {
            arguments.insert(name.to_owned(), value);
        }
    }
}

fn stage(
    instruction: &Instruction,
    at: usize,
    earlier: &[Stage],
    arguments: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Stage {
    let mut words = instruction.arguments.split_whitespace();
    let image = words.next().unwrap_or_default().trim_matches(['"', '\'']);
    let name = match (words.next(), words.next()) {
        (Some(word), Some(name)) if word.eq_ignore_ascii_case("as") => Some(name.to_owned()),
        (None, _) => None,
        (Some(word), _) => {
            let shown: String = word.chars().take(30).collect();
            let message =
                format!("expected `AS name` behind the image, found `{}`", shown.escape_debug());
            problems.push(Problem { position: instruction.position, message });
            None
        }
    };
    let resolved = interpolate(image, &|name| arguments.get(name).cloned());
    let base = match resolved.as_deref() {
        None | Some("") => Base::Unknown,
        Some(text) if text.eq_ignore_ascii_case("scratch") => Base::Scratch,
        Some(text) => {
            let stage = earlier.iter().rev().find(|stage| {
                stage.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(text))
            });
            match stage {
                Some(stage) => Base::Stage(stage.index),
                None if text.contains("{{") || text.contains("}}") => Base::Unknown,
                None => Base::Image(text.to_owned()),
            }
        }
    };
    if image.is_empty() {
        let message = "FROM names no image".to_owned();
        problems.push(Problem { position: instruction.position, message });
    }
    Stage {
        index: earlier.len(),
        name,
        base,
        instructions: at..at + 1,
        position: instruction.position,
    }
}
