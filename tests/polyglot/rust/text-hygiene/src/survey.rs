//! What lies in the tree, as far as the rules are about it. Reads, and judges nothing.

use std::collections::BTreeSet;
use std::ops::Range;

use caelum_sdk::{FileRef, PluginError, SourceFile, Target, TargetError, TargetErrorCode};

use crate::Parameters;

/// How many files one glob may match; more are not tidied by a plan that people can read.
const FILES_MAX: u32 = 1_000;

/// A text file and what is untidy about it.
pub(crate) struct Text {
    pub(crate) file: SourceFile,
    pub(crate) lacks_line_end: bool,
    /// White space at the ends of lines: the line, from 1, and the bytes.
    pub(crate) spaces: Vec<(u32, Range<usize>)>,
}

impl Text {
    fn new(file: SourceFile) -> Self {
        let bytes = file.text().as_bytes();
        let lacks_line_end = bytes.last().is_some_and(|last| *last != b'\n');
        let spaces = spaces(bytes);
        Self { lacks_line_end, spaces, file }
    }

    /// Returns the number of the last line, from 1.
    pub(crate) fn last_line(&self) -> u32 {
        self.file.position(self.file.text().len()).0
    }
}

/// Finds white space at the ends of lines.
fn spaces(bytes: &[u8]) -> Vec<(u32, Range<usize>)> {
    let mut found = Vec::new();
    let mut start = 0;
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let is_last = start + line.len() == bytes.len();
        let content = match line.strip_suffix(b"\r") {
            Some(content) if !is_last => content,
            _ => line,
        };
        let kept = without_blanks(content);
        if kept < content.len() {
            found.push((number, start + kept..start + content.len()));
        }
        start += line.len() + 1;
    }
    found
}

/// Returns how many bytes are left without blanks and tabs at the end.
fn without_blanks(content: &[u8]) -> usize {
    content.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(0, |last| last + 1)
}

/// What was found in a tree. Files are sorted by path.
pub(crate) struct Survey {
    pub(crate) texts: Vec<Text>,
    /// Files that should be text and are not UTF-8.
    pub(crate) foreign: Vec<String>,
    pub(crate) leftovers: Vec<FileRef>,
    pub(crate) has_editorconfig: bool,
    pub(crate) licence: Option<FileRef>,
    pub(crate) has_license: bool,
}

impl Survey {
    /// Looks at a tree.
    ///
    /// # Errors
    /// What cannot be read, and globs that match too many files.
    pub(crate) fn of(target: &dyn Target, parameters: &Parameters) -> Result<Self, PluginError> {
        let (mut texts, mut foreign) = (Vec::new(), Vec::new());
        for path in matching(target, &parameters.files)? {
            match SourceFile::read(target, &path) {
                Ok(file) => texts.push(Text::new(file)),
                Err(TargetError { code: TargetErrorCode::NotUtf8, .. }) => foreign.push(path),
                Err(error) => return Err(error.into()),
            }
        }
        let leftovers = matching(target, &["**/*.orig".to_owned()])?
            .iter()
            .map(|path| FileRef::read(target, path))
            .collect::<Result<_, _>>()?;
        let licence = match target.is_file("LICENCE")? {
            true => Some(FileRef::read(target, "LICENCE")?),
            false => None,
        };
        Ok(Self {
            texts,
            foreign,
            leftovers,
            has_editorconfig: target.is_file(".editorconfig")?,
            licence,
            has_license: target.is_file("LICENSE")?,
        })
    }

    /// Whether there is no text file, so that nothing here is of this pattern's concern.
    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.foreign.is_empty()
    }
}

fn matching(target: &dyn Target, globs: &[String]) -> Result<BTreeSet<String>, PluginError> {
    let mut paths = BTreeSet::new();
    for glob in globs {
        let found = target.glob(glob, FILES_MAX)?;
        if found.len() == FILES_MAX as usize {
            let message =
                format!("`{glob}` matches {FILES_MAX} files or more; name fewer in `files`");
            return Err(PluginError::other(message));
        }
        paths.extend(found.into_iter().map(|entry| entry.path));
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_found_by_their_bytes() {
        assert_eq!(spaces(b""), []);
        assert_eq!(spaces("ä \r\nb\t\n".as_bytes()), [(1, 2..3), (2, 6..7)]);
        assert_eq!(spaces(b"a\r"), []);
        assert_eq!(spaces(b" \n\n "), [(1, 0..1), (3, 3..4)]);
    }
}
