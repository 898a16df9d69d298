//! The grammar of `.env` files, as compose reads them: names, quotes over several lines, comments.

use std::ops::Range;

use crate::position::{LineIndex, Position};

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, quotes and escapes taken away; nothing when the line only names it (`NAME` without `=`).
    pub value: Option<String>,
    /// The bytes of the name.
    pub name_span: Range<usize>,
    /// Where the name stands.
    pub position: Position,
}

/// A line that is neither assignment nor comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub position: Position,
    /// What is wrong.
    pub message: String,
}

/// A `.env` file, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dotenv {
    /// The assignments, in the order of the file; names may repeat, the last one counts.
    pub variables: Vec<Variable>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

impl Dotenv {
    /// Reads a file. Lines that make no sense become problems; reading goes on behind them.
    pub fn parse(text: &str) -> Self {
        let lines = LineIndex::new(text);
        let mut found = Dotenv::default();
        let mut at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        while at < text.len() {
            at = found.line(text, at, &lines);
        }
        found
    }

    /// Returns the last value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().rev().find(|variable| variable.name == name)?;
        found.value.as_deref()
    }

    /// Reads the line at an offset and returns where the next one begins.
    fn line(&mut self, text: &str, start: usize, lines: &LineIndex) -> usize {
        let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let next = (end + 1).min(text.len()).max(start + 1);
        let line = text[start..end].trim_end_matches('\r');
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            return next;
        }
        let mut name_start = start + (line.len() - content.len());
        let mut content = content;
        if let Some(rest) = content.strip_prefix("export")
            && rest.starts_with([' ', '\t'])
        {
            let trimmed = rest.trim_start();
            name_start += content.len() - trimmed.len();
            content = trimmed;
        }
        let name_length = content.find(|letter: char| !is_name(letter)).unwrap_or(content.len());
        let name = &content[..name_length];
        let position = lines.position(text, name_start);
        let rest = content[name_length..].trim_start();
        let starts_with_digit = name.starts_with(|letter: char| letter.is_ascii_digit());
        if name.is_empty()
            || starts_with_digit
            || !(rest.is_empty() || rest.starts_with(['=', '#']))
        {
            let shown: String = content.chars().take(20).collect();
            let message = format!("expected `NAME=value`, found `{}`", shown.escape_debug());
            self.problems.push(Problem { position, message });
            return next;
        }
        let name_span = name_start..name_start + name_length;
        let push = |value| {
            self.variables.push(Variable { name: name.to_owned(), value, name_span, position });
        };
        let Some(value) = rest.strip_prefix('=') else {
            push(None);
            return next;
        };
        let value = value.trim_start();
        let Some(quote) = value.chars().next().filter(|letter| matches!(letter, '"' | '\'')) else {
            push(Some(unquoted(value)));
            return next;
        };
        // The value may go on over line ends up to its closing quote.
        let value_start = start + line.len() - value.len() + 1;
        match closing(&text[value_start..], quote) {
            Some((value, length)) => {
                push(Some(value));
                let behind = value_start + length;
                text[behind..].find('\n').map_or(text.len(), |at| behind + at + 1)
            }
            None => {
                let message = format!("the quote {quote} of `{name}` is never closed");
                push(None);
                self.problems.push(Problem { position, message });
                next
            }
        }
    }
}

fn unquoted(value: &str) -> String {
    let mut end = value.len();
    for (at, letter) in value.char_indices() {
        let after_blank = at == 0 || value[..at].ends_with([' ', '\t']);
        if letter == '#' && after_blank {
            end = at;
            break;
        }
    }
    value[..end].trim_end().to_owned()
}

/// Returns the value in front of the closing quote, and the length of the text up to and with that quote.
fn closing(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            letter if letter == quote => return Some((value, at + 1)),
            '\\' if quote == '"' => match letters.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_quotes_and_comments_are_read() {
        let text = "# c\nA=1\nexport B = two # note\nC=\"a\\n\nb\" # c\r\nD='$x'\nE\nF=a#b\n1X=2\nG=\"open\nH=1\nA=9\n";

        let file = Dotenv::parse(text);

        let pairs: Vec<_> =
            file.variables.iter().map(|one| (one.name.as_str(), one.value.as_deref())).collect();
        assert_eq!(
            pairs,
            [
                ("A", Some("1")),
                ("B", Some("two")),
                ("C", Some("a\n\nb")),
                ("D", Some("$x")),
                ("E", None),
                ("F", Some("a#b")),
                ("G", None),
                ("H", Some("1")),
                ("A", Some("9")),
            ]
        );
        assert_eq!(file.get("A"), Some("9"));
        assert_eq!(file.variables[1].position, Position { line: 3, column: 8 });
        let problems: Vec<_> = file.problems.iter().map(|one| one.message.as_str()).collect();
        assert_eq!(
            problems,
            ["expected `NAME=value`, found `1X=2`", "the quote \" of `G` is never closed"]
        );
    }
}
