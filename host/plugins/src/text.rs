//! Text from plugins is shown to people and models and never obeyed: what steers a terminal, reverses the reading
//! direction or hides is taken out, and length has a cap.

use std::borrow::Cow;

use anstream::adapter::strip_str;

/// Stands for what was cut off.
const CUT: char = '…';

/// What is shown of one line: a title, a message, a reason.
pub(crate) const LINE_CHARS_MAX: usize = 1_000;

/// What is shown of a text of several lines: instructions, a summary, a remedy.
pub(crate) const PARAGRAPH_CHARS_MAX: usize = 16_000;

/// Returns the text on one line, at most [`LINE_CHARS_MAX`] characters, without anything that is not to be seen.
pub(crate) fn line(text: &str) -> String {
    cut(clean(text).split_whitespace().collect::<Vec<_>>().join(" "), LINE_CHARS_MAX)
}

/// Returns the text with its lines, at most [`PARAGRAPH_CHARS_MAX`] characters, without anything that is not to be
/// seen.
pub(crate) fn paragraph(text: &str) -> String {
    cut(clean(text).trim_end().to_owned(), PARAGRAPH_CHARS_MAX)
}

/// Takes out terminal sequences, control characters other than line feed and tab, characters that change the reading
/// direction, and characters that cannot be seen.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unseen) {
        return Cow::Borrowed(text);
    }
    // Line ends of other systems first, because the parser of terminal sequences would take a lone CR.
    let text = text.replace("\r\n", "\n");
    Cow::Owned(strip_str(&text).to_string().chars().filter(|letter| !is_unseen(*letter)).collect())
}

/// Returns the bytes as clean lines; what is not UTF-8 is shown as U+FFFD.
pub(crate) fn lines(bytes: &[u8]) -> Vec<String> {
    clean(&String::from_utf8_lossy(bytes))
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| cut(line.to_owned(), LINE_CHARS_MAX))
        .collect()
}

fn is_unseen(letter: char) -> bool {
    match letter {
        '\n' | '\t' => false,
        // Direction marks, embeddings, overrides and isolates.
        '\u{200e}'
        | '\u{200f}'
        | '\u{061c}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => true,
        // Zero width, invisible operators, byte order mark, interlinear marks.
        '\u{200b}'
        | '\u{2060}'..='\u{2065}'
        | '\u{180e}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' => true,
        // Line and paragraph separators, which editors and terminals treat differently.
        '\u{2028}' | '\u{2029}' => true,
        // Tags: a second, invisible alphabet.
        '\u{e0000}'..='\u{e007f}' => true,
        _ => letter.is_control(),
    }
}

fn cut(mut text: String, chars_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
        text.push(CUT);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_of_any_language_is_left_as_it_is() {
        for text in ["plain", "two\nlines\tand a tab", "שלום עולם", "日本語", "👩‍👩‍👧 family"]
        {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn terminal_sequences_go_with_their_parameters() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m"), "red");
        assert_eq!(clean("\u{1b}]0;owned\u{7}title"), "title");
        assert_eq!(clean("a\u{9b}31mb\u{8}\u{0}\u{7f}"), "a31mb");
    }

    #[test]
    fn letters_that_deceive_the_eye_are_taken_out() {
        assert_eq!(clean("abc\u{202e}txt.exe"), "abctxt.exe");
        assert_eq!(clean("a\u{200b}b\u{feff}c\u{2066}d\u{e0041}e"), "abcde");
    }

    #[test]
    fn a_line_is_one_line_and_has_an_end() {
        assert_eq!(line("  one\r\n two\u{1b}[2J\tthree "), "one two three");
        assert_eq!(line(&"ä".repeat(2_000)).chars().count(), LINE_CHARS_MAX + 1);
    }

    #[test]
    fn output_becomes_clean_lines() {
        assert_eq!(lines(b"one\r\n\n\x1b[1mtwo\xff\n"), ["one", "two\u{fffd}"]);
    }
}
