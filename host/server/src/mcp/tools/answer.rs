//! What answers have in common: the next call to make, text cut to size, and answers made to fit a client.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::tool::ANSWER_MAX_BYTES;

/// How large an answer may become before it is made smaller, in bytes of JSON: what is left to the limit is for text
/// around it.
pub(super) const ANSWER_AIM_BYTES: usize = ANSWER_MAX_BYTES - 8 * 1024;

/// The call to make next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NextCall {
    /// The tool.
    pub tool: String,
    /// Its arguments; a value in angle brackets is yours to fill in.
    pub arguments: Map<String, Value>,
}

impl NextCall {
    pub(super) fn new(tool: &str, arguments: Value) -> Self {
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            _ => Map::new(),
        };
        Self { tool: tool.to_owned(), arguments }
    }

    /// Returns the call as one line: the tool and its arguments as JSON.
    pub fn line(&self) -> String {
        format!("{} {}", self.tool, Value::Object(self.arguments.clone()))
    }
}

/// Text of which perhaps only the end is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tail {
    /// The text, or its end.
    pub text: String,
    /// How many bytes there were.
    pub total_bytes: u64,
    /// Whether something is left out.
    pub truncated: bool,
}

impl Tail {
    /// Keeps the last `max` bytes, beginning at a line where there is one.
    pub(super) fn of(text: &str, total_bytes: u64, truncated: bool, max: usize) -> Self {
        if text.len() <= max {
            return Self { text: text.to_owned(), total_bytes, truncated };
        }
        let mut start = text.len() - max;
        while !text.is_char_boundary(start) {
            start += 1;
        }
        let tail = &text[start..];
        let tail = tail.split_once('\n').map_or(tail, |(_, rest)| rest);
        Self { text: tail.to_owned(), total_bytes, truncated: true }
    }
}

/// Keeps the first `max` bytes of a text, ending at a line where there is one; says whether something was cut.
pub(super) fn head(text: &str, max: usize) -> (String, bool) {
    if text.len() <= max {
        return (text.to_owned(), false);
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head = &text[..end];
    let head = head.rfind('\n').map_or(head, |line| &head[..=line]);
    (head.to_owned(), true)
}

/// Keeps a text within so many characters, for one line.
pub(super) fn line(text: &str, max: usize) -> String {
    let first = text.lines().next().unwrap_or_default();
    if first.chars().count() <= max && first.len() == text.trim_end().len() {
        return first.to_owned();
    }
    let mut line: String = first.chars().take(max).collect();
    line.push('…');
    line
}

/// Returns how many bytes a value takes as JSON.
pub(super) fn json_bytes<T: Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}

/// Returns how many of the items, from `first` on, fit into so many bytes of JSON; at least one.
pub(super) fn fitting<T: Serialize>(items: &[T], first: usize, max: usize) -> usize {
    let mut left = max;
    let mut count = 0;
    for item in items.iter().skip(first) {
        let bytes = json_bytes(item) + 1;
        if bytes > left && count > 0 {
            break;
        }
        left = left.saturating_sub(bytes);
        count += 1;
    }
    count
}

/// Writes a span of time for people.
pub(crate) fn span(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{:.1} s", milliseconds as f64 / 1_000.0),
        60_000..3_600_000 => {
            format!("{} min {} s", milliseconds / 60_000, milliseconds % 60_000 / 1_000)
        }
        _ => format!("{} h {} min", milliseconds / 3_600_000, milliseconds % 3_600_000 / 60_000),
    }
}

/// Writes a number with its noun.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_begins_at_a_line_and_says_what_it_left_out() {
        let tail = Tail::of("first\nsecond\nthird\n", 19, false, 10);

        assert_eq!(tail, Tail { text: "third\n".to_owned(), total_bytes: 19, truncated: true });
    }

    #[test]
    fn cutting_never_breaks_a_character() {
        assert_eq!(Tail::of("äöüß", 8, false, 3).text, "ß");
        assert_eq!(head("äöüß", 3), ("ä".to_owned(), true));
        assert_eq!(line("äöüß", 2), "äö…");
    }

    #[test]
    fn one_item_is_given_even_when_it_is_too_large() {
        let items = ["x".repeat(100), "y".to_owned()];

        assert_eq!(fitting(&items, 0, 10), 1);
        assert_eq!(fitting(&items, 1, 10), 1);
        assert_eq!(fitting(&items, 0, 1_000), 2);
    }

    #[test]
    fn spans_are_written_for_people() {
        assert_eq!(
            [5, 1_500, 61_000, 3_720_000].map(span),
            ["5 ms", "1.5 s", "1 min 1 s", "1 h 2 min"]
        );
    }
}
