//! Reads Dockerfiles: parser directives, continuations, heredocs, build arguments, stages.

mod logical;
mod stage;

use std::ops::Range;

use crate::position::{LineIndex, Position};

pub use stage::{Base, Stage};

/// The largest file that is read, in bytes. Of a larger one, nothing is read and a problem says so.
pub const BYTES_MAX: usize = 1024 * 1024;
/// The most instructions that are read. The rest of the file is left out, and a problem says so.
pub const INSTRUCTIONS_MAX: usize = 10_000;

/// Words that may begin an instruction.
const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Its first word in upper case.
    pub keyword: String,
    /// What follows the keyword and the flags, continuations joined and comments left out.
    pub arguments: String,
    /// The flags (`--from=builder`), without their dashes.
    pub flags: Vec<(String, Option<String>)>,
    /// The texts of its heredocs, in order.
    pub heredocs: Vec<Heredoc>,
    /// The bytes it takes up, heredocs included, without the last line end.
    pub span: Range<usize>,
    /// Where it begins.
    pub position: Position,
}

/// A text that is written into the Dockerfile behind an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub delimiter: String,
    /// Its lines.
    pub text: String,
    /// Whether variables in it are expanded: the delimiter was not quoted.
    pub expands: bool,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub position: Position,
    /// What is wrong.
    pub message: String,
}

/// A Dockerfile, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The character that joins lines: a backslash unless a parser directive says otherwise.
    pub escape: char,
    /// All instructions, in order.
    pub instructions: Vec<Instruction>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

impl Instruction {
    /// Returns the arguments when they are written as a JSON array of strings.
    pub fn exec_form(&self) -> Option<Vec<String>> {
        exec_form(&self.arguments)
    }

    /// Returns the value of a flag.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().find(|(flag, _)| flag == name).and_then(|(_, value)| value.as_deref())
    }

    /// Returns the arguments and the heredocs as one text: everything that a shell may get to see.
    pub fn script(&self) -> String {
        let mut script = self.arguments.clone();
        for heredoc in &self.heredocs {
            script.push('\n');
            script.push_str(&heredoc.text);
        }
        script
    }
}

impl Dockerfile {
    /// Reads a file. Whatever cannot be read becomes a problem; reading goes on behind it.
    pub fn parse(text: &str) -> Self {
        let lines = LineIndex::new(text);
        let mut problems = Vec::new();
        if text.len() > BYTES_MAX {
            let message =
                format!("the file has {} bytes; at most {BYTES_MAX} are read", text.len());
            problems.push(Problem { position: Position { line: 1, column: 1 }, message });
            return Dockerfile {
                escape: '\\',
                instructions: Vec::new(),
                stages: Vec::new(),
                problems,
            };
        }
        let (escape, instructions) = logical::instructions(text, &lines, &mut problems);
        for instruction in &instructions {
            if !KEYWORDS.contains(&instruction.keyword.as_str()) {
                let shown: String = instruction.keyword.chars().take(30).collect();
                let message = format!("`{}` is no instruction", shown.escape_debug());
                problems.push(Problem { position: instruction.position, message });
            }
        }
        let stages = stage::stages(&instructions, &mut problems);
        problems.sort_by_key(|problem| problem.position);
        Dockerfile { escape, instructions, stages, problems }
    }

    /// Returns the stage with a name or a number, as `target` and `--from` name it.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        let named =
            self.stages.iter().rev().find(|stage| {
                stage.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name))
            });
        named.or_else(|| self.stages.get(name.parse::<usize>().ok()?))
    }

    /// Returns the stage that a build ends with: the target, or the last one.
    pub fn final_stage(&self, target: Option<&str>) -> Option<&Stage> {
        match target {
            Some(name) => self.stage(name),
            None => self.stages.last(),
        }
    }

    /// Returns a stage together with the stages that it is built on, itself first.
    pub fn lineage<'d>(&'d self, stage: &'d Stage) -> Vec<&'d Stage> {
        let mut line = vec![stage];
        let mut current = stage;
        while let Base::Stage(index) = current.base
            && let Some(below) = self.stages.get(index)
            && index < current.index
        {
            line.push(below);
            current = below;
        }
        line
    }

    /// Returns the name of the image that a stage is built on in the end, through other stages.
    pub fn base_image<'d>(&'d self, stage: &'d Stage) -> Option<&'d str> {
        match &self.lineage(stage).last()?.base {
            Base::Image(image) => Some(image),
            Base::Stage(_) | Base::Scratch | Base::Unknown => None,
        }
    }

    /// Returns the instructions with a keyword in a stage and those below it, the last one of the file first.
    pub fn inherited<'d>(&'d self, stage: &'d Stage, keyword: &str) -> Vec<&'d Instruction> {
        let mut found = Vec::new();
        for stage in self.lineage(stage) {
            let own = &self.instructions[stage.instructions.clone()];
            found.extend(own.iter().rev().filter(|instruction| instruction.keyword == keyword));
        }
        found
    }

    /// Returns the ports that a stage exposes, without their protocols; ranges and variables are left out.
    pub fn exposed_ports(&self, stage: &Stage) -> Vec<(u16, Position)> {
        let mut ports = Vec::new();
        for instruction in self.inherited(stage, "EXPOSE") {
            for word in instruction.arguments.split_whitespace() {
                let number = word.split('/').next().unwrap_or_default();
                let udp = word.ends_with("/udp");
                if let Ok(port) = number.parse::<u16>()
                    && !udp
                    && !ports.iter().any(|(known, _)| *known == port)
                {
                    ports.push((port, instruction.position));
                }
            }
        }
        ports.sort_unstable();
        ports
    }
}

/// Reads a JSON array of strings; nothing for anything else.
pub fn exec_form(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let mut items = Vec::new();
    let mut letters = inner.chars().peekable();
    loop {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        match letters.next() {
            None if items.is_empty() => return Some(items),
            Some('"') => items.push(string(&mut letters)?),
            _ => return None,
        }
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        match letters.next() {
            None => return Some(items),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

fn string(letters: &mut impl Iterator<Item = char>) -> Option<String> {
    let mut text = String::new();
    loop {
        match letters.next()? {
            '"' => return Some(text),
            '\\' => match letters.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'b' => text.push('\u{8}'),
                'f' => text.push('\u{c}'),
                'u' => {
                    let mut code = 0;
                    for _ in 0..4 {
                        code = code * 16 + letters.next()?.to_digit(16)?;
                    }
                    text.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                }
                letter @ ('"' | '\\' | '/') => text.push(letter),
                _ => return None,
            },
            letter => text.push(letter),
        }
    }
}
