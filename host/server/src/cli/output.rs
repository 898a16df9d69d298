//! Where the command line writes: results to standard output, everything about how it went to standard error. A reader
//! that has gone away is no error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::Value;

/// Styles by meaning.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const ACTIVE: Style = AnsiColor::Cyan.on_default();
pub(super) const ATTENTION: Style = AnsiColor::Yellow.on_default();
pub(super) const FAINT: Style = Style::new().dimmed();
pub(super) const STRONG: Style = Style::new().bold();

/// Writes a text in a style, when colours are wanted.
pub(super) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Standard output, for one command.
pub(super) struct Output {
    out: AutoStream<io::Stdout>,
    json: bool,
    live: bool,
    /// How many lines of a live view stand on the screen.
    drawn: usize,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        let live = !json
            && io::stdout().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self { out: AutoStream::auto(io::stdout()), json, live, drawn: 0 }
    }

    /// Says whether results are wanted as JSON.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Says whether lines may be drawn over.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// Writes a line for people; nothing when JSON is wanted.
    pub(super) fn line(&mut self, text: impl Display) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(self.out, "{}", harmless(&text.to_string()))
    }

    /// Writes text as it is, whatever is wanted: the result itself.
    pub(super) fn raw(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Writes the result as JSON when that is wanted, and says whether it was.
    pub(super) fn result(&mut self, value: &impl Serialize) -> io::Result<bool> {
        if !self.json {
            return Ok(false);
        }
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        let mut text = serde_json::to_string_pretty(&value).unwrap_or_default();
        text.push('\n');
        self.raw(&text)?;
        Ok(true)
    }

    /// Draws lines over those that were drawn before.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let (width, height) = terminal_size::terminal_size()
            .map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)));
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A\x1b[J", self.drawn));
        }
        // What has left the screen cannot be drawn over, so no more is drawn than it holds.
        let room = height.saturating_sub(2).max(4);
        let skipped = lines.len().saturating_sub(room);
        for line in &lines[skipped..] {
            text.push_str(&clipped(&harmless(line), width));
            text.push('\n');
        }
        self.drawn = lines.len() - skipped;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Lets what was drawn stand, or takes it away.
    pub(super) fn settle(&mut self, erase: bool) -> io::Result<()> {
        if erase && self.drawn > 0 {
            write!(self.out, "\x1b[{}A\x1b[J", self.drawn)?;
        }
        self.drawn = 0;
        self.out.flush()
    }
}

/// Writes an error to standard error, its hint in a line of its own.
pub(super) fn complain(text: &str) {
    let mut err = AutoStream::auto(io::stderr()).lock();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    // One-line errors carry their hint behind a semicolon.
    let (first, hint) = match first.split_once("; hint: ") {
        Some((first, hint)) => (first, Some(hint)),
        None => (first, None),
    };
    let mut out = format!("{} {first}\n", paint(BAD, "error:"));
    for line in lines {
        match line.strip_prefix("hint: ") {
            Some(hint) => out.push_str(&format!("{} {hint}\n", paint(ATTENTION, "hint:"))),
            None => out.push_str(&format!("  {line}\n")),
        }
    }
    if let Some(hint) = hint {
        out.push_str(&format!("{} {hint}\n", paint(ATTENTION, "hint:")));
    }
    // Nobody is left to be told when this fails.
    err.write_all(harmless(&out).as_bytes()).ok();
}

/// Takes everything out of a text that a terminal would obey, colours excepted: names, outputs and findings are written
/// by others, and a title or a cursor is nobody's to move but ours.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let colour = rest.strip_prefix("\u{1b}[").and_then(|body| {
            let end = body.find(|part: char| !part.is_ascii_digit() && part != ';')?;
            body[end..].starts_with('m').then_some(2 + end + 1)
        });
        let taken = match colour {
            Some(length) => {
                out.push_str(&rest[..length]);
                length
            }
            None => {
                let is_bidi = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
                let is_obeyed =
                    (letter.is_control() && letter != '\n' && letter != '\t') || is_bidi;
                out.push(if is_obeyed { '\u{fffd}' } else { letter });
                letter.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

/// Cuts a line to a width on the screen; escape sequences take none.
fn clipped(line: &str, width: usize) -> String {
    let mut out = String::with_capacity(line.len());
    let mut left = width.saturating_sub(1);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            out.push(letter);
            for inner in letters.by_ref() {
                out.push(inner);
                if inner.is_ascii_alphabetic() {
                    break;
                }
            }
        } else if left > 0 {
            out.push(letter);
            left -= 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_taken_out_and_colours_stay() {
        let text = format!("{}\u{1b}]0;title\u{7}\u{1b}[2J\u{202e}end\n", paint(GOOD, "ok"));

        let clean = harmless(&text);

        assert_eq!(
            clean,
            format!("{}\u{fffd}]0;title\u{fffd}\u{fffd}[2J\u{fffd}end\n", paint(GOOD, "ok"))
        );
    }

    #[test]
    fn a_line_is_cut_to_the_screen_and_keeps_its_colours() {
        let line = format!("{} rest", paint(GOOD, "green"));

        let cut = clipped(&line, 4);

        assert_eq!(cut, format!("{}", paint(GOOD, "gre")));
    }
}
