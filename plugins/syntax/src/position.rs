//! Where something stands in a text: byte offsets turned into lines and columns.

/// A place in a text, both counted from 1; the column in Unicode scalar values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// The beginnings of the lines of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineIndex {
    starts: Vec<usize>,
}

impl LineIndex {
    /// Builds the index of a text. A line ends with LF or CRLF.
    pub fn new(text: &str) -> Self {
        let mut starts = vec![0];
        starts.extend(
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1),
        );
        LineIndex { starts }
    }

    /// Returns the place of a byte offset in the text that the index was built from. Offsets beyond the end, or inside
    /// a character, are moved back to the nearest place that exists.
    pub fn position(&self, text: &str, offset: usize) -> Position {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.starts[line].min(offset);
        let before = text[start..offset].trim_start_matches('\u{feff}');
        let column = before.chars().count();
        Position { line: saturating(line + 1), column: saturating(column + 1) }
    }

    /// Returns the number of lines; an empty text has one.
    pub fn line_count(&self) -> usize {
        self.starts.len()
    }
}

/// Returns the offset at which the line of an offset begins.
pub fn line_start(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1)
}

/// Returns the offset after the line of an offset: behind its LF, or the end of the text.
pub fn line_end(text: &str, offset: usize) -> usize {
    let offset = offset.min(text.len());
    text.as_bytes()[offset..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(text.len(), |at| offset + at + 1)
}

/// Returns the line end that a text uses: that of its first line, LF when it has only one.
pub fn line_ending(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

fn saturating(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_end_at_lf_or_crlf() {
        let text = "ä: 1\r\nü: é2\n";
        let index = LineIndex::new(text);

        let second = index.position(text, text.find('2').expect("is there"));

        assert_eq!(second, Position { line: 2, column: 5 });
        assert_eq!(index.position(text, 0), Position { line: 1, column: 1 });
        assert_eq!(index.position(text, 10_000).line, 3);
        assert_eq!(line_ending(text), "\r\n");
    }

    #[test]
    fn offsets_inside_a_character_move_back() {
        let text = "é";
        assert_eq!(LineIndex::new(text).position(text, 1), Position { line: 1, column: 1 });
    }

    #[test]
    fn lines_are_found_around_an_offset() {
        let text = "a\nbc\nd";
        assert_eq!((line_start(text, 3), line_end(text, 3)), (2, 5));
        assert_eq!((line_start(text, 5), line_end(text, 5)), (5, 6));
    }
}
