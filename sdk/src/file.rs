//! Files as they were read: the hash that binds an edit to them, and the lines that findings point to.

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::edit::Edit;
use crate::finding::Location;
use crate::target::{Target, TargetError, TargetErrorCode};

/// Returns the SHA-256 of bytes as 64 lower-case hexadecimal digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}

/// A file of the tree and the hash of what it held when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// Where it is.
    pub path: String,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

impl FileRef {
    /// Reads a file of any kind and length to learn its hash.
    ///
    /// # Errors
    /// Those of [`Target::read_all`].
    pub fn read(target: &dyn Target, path: &str) -> Result<Self, TargetError> {
        let bytes = target.read_all(path)?;
        Ok(Self { path: path.to_owned(), sha256: sha256_hex(&bytes) })
    }
}

/// One line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Which one, counted from 1.
    pub number: u32,
    /// Its bytes in the file, without the line end.
    pub range: Range<usize>,
    /// Its text, without the line end.
    pub text: &'a str,
}

impl<'a> Line<'a> {
    /// Returns the spaces and tabs that the line begins with.
    #[must_use]
    pub fn indentation(&self) -> &'a str {
        let end = self.text.find(|letter| letter != ' ' && letter != '\t');
        &self.text[..end.unwrap_or(self.text.len())]
    }
}

/// A text file of the tree as it was read, with its hash. The start of every edit that changes a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// What the text holds, byte for byte.
    text: String,
    /// Where it is and the hash of the text.
    base: FileRef,
    /// Where each line begins, in bytes. Derived from the text, so both are private.
    line_starts: Vec<usize>,
}

impl SourceFile {
    /// Reads a text file of any length.
    ///
    /// # Errors
    /// Those of [`Target::read_all`]; `NotUtf8` when it is not text.
    pub fn read(target: &dyn Target, path: &str) -> Result<Self, TargetError> {
        let bytes = target.read_all(path)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| TargetError::new(path, TargetErrorCode::NotUtf8))?;
        Ok(Self::new(path, text))
    }

    /// Reads a text file that need not be there: `None` when it is not.
    ///
    /// # Errors
    /// Those of [`SourceFile::read`] except `NotFound`.
    pub fn read_if_present(target: &dyn Target, path: &str) -> Result<Option<Self>, TargetError> {
        match Self::read(target, path) {
            Ok(file) => Ok(Some(file)),
            Err(TargetError { code: TargetErrorCode::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes one from text that was read already. The text must be the whole file, unchanged.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let base = FileRef { path: path.into(), sha256: sha256_hex(text.as_bytes()) };
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, base, line_starts }
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.base.path
    }

    /// Returns what it holds.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns path and hash, for [`Edit::delete`] and [`Edit::rename`].
    #[must_use]
    pub fn base(&self) -> &FileRef {
        &self.base
    }

    /// Begins an edit of this file. Positions are bytes of the text as it was read.
    #[must_use]
    pub fn edit(&self) -> Edit {
        Edit::replace(&self.base)
    }

    /// Returns line and column of a byte, both counted from 1; the column in Unicode scalar values. A byte at or
    /// beyond the end, or inside a character, is taken to the nearest one before.
    #[must_use]
    pub fn position(&self, byte: usize) -> (u32, u32) {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        let line = self.line_starts.partition_point(|start| *start <= byte);
        let column = self.text[self.line_starts[line - 1]..byte].chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    /// Returns the bytes at which a line begins and at which its text ends (before the line end), or `None` when there
    /// are fewer lines. Lines are counted from 1.
    #[must_use]
    pub fn line_range(&self, line: u32) -> Option<Range<usize>> {
        let index = usize::try_from(line).ok()?.checked_sub(1)?;
        let start = *self.line_starts.get(index)?;
        let end = self.line_starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        let end = if self.text[start..end].ends_with('\r') { end - 1 } else { end };
        Some(start..end)
    }

    /// Returns the byte after a line and its line end: where a new line may be inserted. Lines are counted from 1.
    #[must_use]
    pub fn after_line(&self, line: u32) -> Option<usize> {
        let index = usize::try_from(line).ok()?;
        self.line_starts.get(index.checked_sub(1)?)?;
        Some(self.line_starts.get(index).copied().unwrap_or(self.text.len()))
    }

    /// Returns the lines of the file, without a last one that is empty because the file ends with a line end.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        (1_u32..).map_while(|number| {
            let range = self.line_range(number)?;
            let after_the_end = range.start == self.text.len() && number > 1;
            let text = &self.text[range.clone()];
            (!after_the_end).then_some(Line { number, range, text })
        })
    }

    /// Returns the place of bytes of the file, as findings name it: lines and columns, the end not included. Takes
    /// bytes beyond the end as the end.
    #[must_use]
    pub fn location(&self, range: Range<usize>) -> Location {
        let (line, column) = self.position(range.start);
        let (end_line, end_column) = self.position(range.end.max(range.start));
        Location::lines(self.path(), line, end_line).columns(column, end_column)
    }

    /// Returns text whose line ends are those of the file, for insertions that are written with `\n`.
    #[must_use]
    pub fn in_line_ends(&self, text: &str) -> String {
        text.replace("\r\n", "\n").replace('\n', self.line_end())
    }

    /// Begins an edit that inserts whole lines after a line, in the file's own line ends. Lines are counted from 1; 0
    /// inserts before the first. A last line without a line end gets one first.
    ///
    /// `None` when the file has fewer lines.
    ///
    /// ```
    /// use caelum_sdk::SourceFile;
    /// let file = SourceFile::new("compose.yml", "services:\r\n  db: {}");
    /// let edit = file.insert_lines(2, "  cache: {}").expect("there is a second line");
    /// # let target = caelum_sdk::testing::FakeTarget::new().file("compose.yml", file.text());
    /// # let mut plan = caelum_sdk::Plan::new("x");
    /// # plan.edit(edit);
    /// # let after = target.apply(&plan).expect("applied");
    /// assert_eq!(after.text("compose.yml"), "services:\r\n  db: {}\r\n  cache: {}\r\n");
    /// ```
    #[must_use]
    pub fn insert_lines(&self, after: u32, text: &str) -> Option<Edit> {
        let at = if after == 0 { 0 } else { self.after_line(after)? };
        let mut inserted = self.in_line_ends(text);
        if !inserted.is_empty() && !inserted.ends_with('\n') {
            inserted.push_str(self.line_end());
        }
        if at > 0 && !self.text[..at].ends_with('\n') {
            inserted.insert_str(0, self.line_end());
        }
        Some(self.edit().insert(at, inserted))
    }

    /// Returns the line end that the file uses: `"\r\n"` when its first line ends so, otherwise `"\n"`. Inserted lines
    /// should use it.
    #[must_use]
    pub fn line_end(&self) -> &'static str {
        match self.text.find('\n') {
            Some(at) if self.text[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256() {
        assert_eq!(
            sha256_hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let file = SourceFile::new("a", "eins\nzwölf\r\n\ndrei");

        assert_eq!(file.position(0), (1, 1));
        assert_eq!(file.position(4), (1, 5));
        assert_eq!(file.position(5), (2, 1));
        assert_eq!(file.position(9), (2, 4));
        assert_eq!(file.position(8), (2, 3));
        assert_eq!(file.position(999), (4, 5));
    }

    #[test]
    fn lines_come_with_their_places() {
        let file = SourceFile::new("a", "one\r\n\ttwo\n\n  end\n");

        let lines: Vec<_> =
            file.lines().map(|line| (line.number, line.range.clone(), line.text)).collect();

        assert_eq!(
            lines,
            [(1, 0..3, "one"), (2, 5..9, "\ttwo"), (3, 10..10, ""), (4, 11..16, "  end")]
        );
        let indentations: Vec<_> = file.lines().map(|line| line.indentation()).collect();
        assert_eq!(indentations, ["", "\t", "", "  "]);
        assert_eq!(SourceFile::new("a", "").lines().count(), 1);
        assert_eq!(SourceFile::new("a", "x").lines().count(), 1);
    }

    #[test]
    fn places_of_bytes_are_lines_and_columns() {
        let file = SourceFile::new("a", "eins\nzwölf\n");

        let location = file.location(5..9);

        assert_eq!((location.line, location.column), (Some(2), Some(1)));
        assert_eq!((location.end_line, location.end_column), (Some(2), Some(4)));
    }

    #[test]
    fn whole_lines_are_inserted_anywhere_in_the_files_own_line_ends() {
        let file = SourceFile::new("a", "one\r\ntwo");
        let inserted = |after| {
            let edit = file.insert_lines(after, "new\nlines").expect("a line");
            let crate::Change::Replace { ranges, .. } = edit.change else {
                panic!("a replacement")
            };
            (ranges[0].range.start, ranges[0].text.clone())
        };

        assert_eq!(inserted(0), (0, "new\r\nlines\r\n".to_owned()));
        assert_eq!(inserted(1), (5, "new\r\nlines\r\n".to_owned()));
        assert_eq!(inserted(2), (8, "\r\nnew\r\nlines\r\n".to_owned()));
        assert_eq!(file.insert_lines(3, "x"), None);
    }

    #[test]
    fn line_ranges_leave_the_line_end_out() {
        let file = SourceFile::new("a", "one\r\ntwo\n\nend");

        assert_eq!(file.line_range(1), Some(0..3));
        assert_eq!(file.line_range(2), Some(5..8));
        assert_eq!(file.line_range(3), Some(9..9));
        assert_eq!(file.line_range(4), Some(10..13));
        assert_eq!(file.line_range(5), None);
        assert_eq!(file.line_range(0), None);
        assert_eq!(
            (file.after_line(1), file.after_line(4), file.after_line(5)),
            (Some(5), Some(13), None)
        );
        assert_eq!(file.line_end(), "\r\n");
    }
}
