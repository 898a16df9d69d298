//! Files as they were read: the hash that binds an edit to them, and the lines that findings point to.

use sha2::{Digest, Sha256};

use crate::edit::Edit;
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
    pub fn line_range(&self, line: u32) -> Option<std::ops::Range<usize>> {
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
