//! From lines to instructions: directives, comments, continuations, flags and heredocs.

use super::{Heredoc, INSTRUCTIONS_MAX, Instruction, Problem};
use crate::position::LineIndex;

/// The most heredocs that one instruction may open.
const HEREDOCS_MAX: usize = 32;

/// A heredoc that has been announced: `<<-"EOF"`.
struct Announced {
    delimiter: String,
    strips_tabs: bool,
    expands: bool,
}

struct Lines<'t> {
    text: &'t str,
    at: usize,
}

/// A line without its end, and where it begins and ends.
#[derive(Clone, Copy)]
struct Line<'t> {
    text: &'t str,
    start: usize,
}

impl<'t> Iterator for Lines<'t> {
    type Item = Line<'t>;

    fn next(&mut self) -> Option<Line<'t>> {
        if self.at >= self.text.len() {
            return None;
        }
        let start = self.at;
        let end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        self.at = (end + 1).min(self.text.len());
        let text = self.text[start..end].strip_suffix('\r').unwrap_or(&self.text[start..end]);
        Some(Line { text, start })
    }
}

/// Returns the escape character and all instructions of a file.
pub(super) fn instructions(
    text: &str,
    lines: &LineIndex,
    problems: &mut Vec<Problem>,
) -> (char, Vec<Instruction>) {
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let escape = escape_directive(&text[start..]).unwrap_or('\\');
    let mut found = Vec::new();
    let mut source = Lines { text, at: start };
    while let Some(line) = source.next() {
        let content = line.text.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if found.len() >= INSTRUCTIONS_MAX {
            let message =
                format!("more than {INSTRUCTIONS_MAX} instructions; the rest is not read");
            problems.push(Problem { position: lines.position(text, line.start), message });
            break;
        }
        let begin = line.start + (line.text.len() - content.len());
        let (joined, mut end) = join(line, escape, &mut source);
        let mut instruction = split(&joined);
        let mut heredocs = Vec::new();
        if matches!(instruction.keyword.as_str(), "RUN" | "COPY" | "ADD")
            || (instruction.keyword == "ONBUILD" && joined.contains("<<"))
        {
            for announced in announced(&joined) {
                let (heredoc, closed) = heredoc(announced, &mut source, &mut end);
                if !closed {
                    let message = format!(
                        "the heredoc `{}` is never closed",
                        heredoc.delimiter.chars().take(40).collect::<String>().escape_debug()
                    );
                    problems.push(Problem { position: lines.position(text, begin), message });
                }
                heredocs.push(heredoc);
            }
        }
        instruction.heredocs = heredocs;
        instruction.span = begin..end;
        instruction.position = lines.position(text, begin);
        found.push(instruction);
    }
    (escape, found)
}

/// Returns the character that a directive at the very top chooses for continuations.
fn escape_directive(text: &str) -> Option<char> {
    for line in text.lines() {
        let directive = line.trim().strip_prefix('#')?;
        let (name, value) = directive.split_once('=')?;
        if !name.trim().chars().all(|letter| letter.is_ascii_alphanumeric()) {
            return None;
        }
        if name.trim().eq_ignore_ascii_case("escape") {
            let mut letters = value.trim().chars();
            let letter = letters.next().filter(|letter| matches!(letter, '\\' | '`'));
            return if letters.next().is_none() { letter } else { None };
        }
    }
    None
}

/// Joins a line with those that continue it. Returns the text and where its last line ends.
fn join(first: Line<'_>, escape: char, source: &mut Lines<'_>) -> (String, usize) {
    let mut joined = String::new();
    let mut line = first;
    let mut continued = false;
    loop {
        let mut end = line.start + line.text.len();
        let content = line.text.trim_start();
        // Comments and empty lines between continued lines are skipped.
        let skipped = continued && (content.is_empty() || content.starts_with('#'));
        if !skipped {
            let trimmed = line.text.trim_end();
            match trimmed.strip_suffix(escape) {
                Some(rest) => joined.push_str(rest),
                None => {
                    joined.push_str(line.text);
                    return (joined.trim().to_owned(), end);
                }
            }
        }
        continued = true;
        match source.next() {
            Some(next) => line = next,
            None => {
                end = end.min(source.text.len());
                return (joined.trim().to_owned(), end);
            }
        }
    }
}

/// Takes an instruction's text apart into keyword, flags and arguments.
fn split(joined: &str) -> Instruction {
    let end = joined.find(char::is_whitespace).unwrap_or(joined.len());
    let keyword = joined[..end].to_ascii_uppercase();
    let mut rest = joined[end..].trim_start();
    let mut flags = Vec::new();
    while let Some(flag) = rest.strip_prefix("--") {
        let end = flag.find(char::is_whitespace).unwrap_or(flag.len());
        let (flag, behind) = flag.split_at(end);
        if flag.is_empty() {
            break;
        }
        flags.push(match flag.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (flag.to_owned(), None),
        });
        rest = behind.trim_start();
    }
    Instruction {
        keyword,
        arguments: rest.to_owned(),
        flags,
        heredocs: Vec::new(),
        span: 0..0,
        position: crate::position::Position { line: 1, column: 1 },
    }
}

/// Finds the heredocs that an instruction announces outside of quotes.
fn announced(joined: &str) -> Vec<Announced> {
    let bytes = joined.as_bytes();
    let mut found = Vec::new();
    let mut quote: Option<u8> = None;
    let mut at = 0;
    while at < bytes.len() && found.len() < HEREDOCS_MAX {
        let byte = bytes[at];
        match quote {
            Some(open) => {
                if byte == open {
                    quote = None;
                } else if byte == b'\\' && open == b'"' {
                    at += 1;
                }
            }
            None if byte == b'"' || byte == b'\'' => quote = Some(byte),
            None if byte == b'\\' => at += 1,
            None if bytes[at..].starts_with(b"<<<") => at += 2,
            None if bytes[at..].starts_with(b"<<") => {
                // A descriptor may stand in front (`3<<EOF`); any other letter makes it a shift or the like.
                let free = at == 0
                    || bytes[at - 1].is_ascii_whitespace()
                    || bytes[at - 1].is_ascii_digit();
                if free && let Some((heredoc, length)) = delimiter(&joined[at + 2..]) {
                    found.push(heredoc);
                    at += 2 + length;
                    continue;
                }
                at += 1;
            }
            None => {}
        }
        at += 1;
    }
    found
}

fn delimiter(text: &str) -> Option<(Announced, usize)> {
    let (strips_tabs, word) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let skipped = text.len() - word.len();
    let is_word =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-');
    if let Some(quote) = word.chars().next().filter(|letter| matches!(letter, '"' | '\'')) {
        let end = word[1..].find(quote)?;
        let delimiter = word[1..=end].to_owned();
        let valid = !delimiter.is_empty();
        return valid
            .then_some((Announced { delimiter, strips_tabs, expands: false }, skipped + end + 2));
    }
    let end = word.find(|letter| !is_word(letter)).unwrap_or(word.len());
    let starts_well =
        word.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    (end > 0 && starts_well).then(|| {
        (Announced { delimiter: word[..end].to_owned(), strips_tabs, expands: true }, skipped + end)
    })
}

/// Reads a heredoc's lines up to its delimiter. Says whether that came.
fn heredoc(announced: Announced, source: &mut Lines<'_>, end: &mut usize) -> (Heredoc, bool) {
    let Announced { delimiter, strips_tabs, expands } = announced;
    let mut text = String::new();
    for line in source.by_ref() {
        *end = line.start + line.text.len();
        let content = if strips_tabs { line.text.trim_start_matches('\t') } else { line.text };
        if content == delimiter {
            return (Heredoc { delimiter, text, expands }, true);
        }
        text.push_str(content);
        text.push('\n');
    }
    (Heredoc { delimiter, text, expands }, false)
}
