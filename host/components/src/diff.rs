//! Unified diffs in git's form, which `git apply` and `patch -p1` read.

use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use crate::plan::{Image, StagedFile};

/// Lines shown around a change.
const CONTEXT: usize = 3;

/// How long the search for the smallest diff of one file may take; then a larger one will do.
const PATIENCE: Duration = Duration::from_secs(2);

/// A unified diff and what it adds up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// The diff; empty when nothing changes.
    pub text: String,
    /// Files that change; a moved file counts once.
    pub files: usize,
    /// Lines that are added.
    pub added: usize,
    /// Lines that are removed.
    pub removed: usize,
}

/// Writes the diff of files that are sorted by path.
pub(crate) fn unified(files: &[StagedFile]) -> Diff {
    let mut diff = Diff::default();
    let moved: Vec<&str> = files.iter().filter_map(|file| file.renamed_from.as_deref()).collect();
    for file in files {
        if moved.contains(&file.path.as_str()) {
            continue;
        }
        diff.files += 1;
        if let Some(source) = &file.renamed_from {
            rename(&mut diff, source, &file.path);
        } else {
            change(&mut diff, file);
        }
    }
    diff
}

fn rename(diff: &mut Diff, source: &str, path: &str) {
    let (from, to) = (quoted("a/", source), quoted("b/", path));
    let text = &mut diff.text;
    line(text, format_args!("diff --git {from} {to}"));
    line(text, format_args!("similarity index 100%"));
    line(text, format_args!("rename from {}", quoted("", source)));
    line(text, format_args!("rename to {}", quoted("", path)));
}

fn change(diff: &mut Diff, file: &StagedFile) {
    let (from, to) = (quoted("a/", &file.path), quoted("b/", &file.path));
    line(&mut diff.text, format_args!("diff --git {from} {to}"));
    let (old, new) = match (&file.before, &file.after) {
        (None, after) => {
            let mode = after.as_ref().map_or("100644", |after| mode_of_new(&after.bytes));
            line(&mut diff.text, format_args!("new file mode {mode}"));
            ("/dev/null".to_owned(), with_tab(to.clone()))
        }
        (Some(_), None) => {
            line(&mut diff.text, format_args!("deleted file mode 100644"));
            (with_tab(from.clone()), "/dev/null".to_owned())
        }
        (Some(_), Some(_)) => (with_tab(from.clone()), with_tab(to.clone())),
    };
    let (Some(before), Some(after)) = (text_of(&file.before), text_of(&file.after)) else {
        let (old, new) = (old.trim_end(), new.trim_end());
        line(&mut diff.text, format_args!("Binary files {old} and {new} differ"));
        return;
    };
    let (before, after) = (lines(before), lines(after));
    if before.is_empty() && after.is_empty() {
        return;
    }
    line(&mut diff.text, format_args!("--- {old}"));
    line(&mut diff.text, format_args!("+++ {new}"));
    hunks(diff, &before, &after);
}

/// Writes the changed places with the lines around them.
///
/// Not by `similar`'s own writer: it takes a lone carriage return for the end of a line, git does not.
fn hunks(diff: &mut Diff, before: &[&str], after: &[&str]) {
    let changes = TextDiff::configure().timeout(PATIENCE).diff_slices(before, after);
    for group in changes.grouped_ops(CONTEXT) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            continue;
        };
        let old = place(first.old_range().start..last.old_range().end);
        let new = place(first.new_range().start..last.new_range().end);
        line(&mut diff.text, format_args!("@@ -{old} +{new} @@"));
        for change in group.iter().flat_map(|op| changes.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Insert => '+',
                ChangeTag::Delete => '-',
            };
            diff.added += usize::from(sign == '+');
            diff.removed += usize::from(sign == '-');
            diff.text.push(sign);
            diff.text.push_str(change.value());
            if !change.value().ends_with('\n') {
                diff.text.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
}

/// Writes a range of lines as a hunk's head names it: the first line from 1, or the line before an empty range.
fn place(lines: Range<usize>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => format!("{}", lines.start + 1),
        count => format!("{},{count}", lines.start + 1),
    }
}

/// Returns the mode that a new file gets: a script is executable.
pub(crate) fn mode_of_new(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(b"#!") { "100755" } else { "100644" }
}

/// Returns the text of a side; a side that is not there is empty text. Nothing when it is binary: git's rule, a NUL
/// byte, or bytes that are not UTF-8.
fn text_of(image: &Option<Image>) -> Option<&str> {
    let Some(image) = image else {
        return Some("");
    };
    std::str::from_utf8(&image.bytes).ok().filter(|text| !text.contains('\0'))
}

/// Splits at newlines alone: a lone carriage return is no end of a line for git.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Git ends a name that has a space with a tab, so that it is told from a time.
fn with_tab(mut name: String) -> String {
    if name.contains(' ') && !name.starts_with('"') {
        name.push('\t');
    }
    name
}

/// Git writes a name with a quotation mark as a C string. Paths have no backslash and no control characters.
fn quoted(prefix: &str, path: &str) -> String {
    if path.contains('"') {
        format!("\"{prefix}{}\"", path.replace('"', "\\\""))
    } else {
        format!("{prefix}{path}")
    }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use caelum_core::pattern::Ownership;

    fn file(path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> StagedFile {
        let image = |bytes: &[u8]| Image::new(bytes.to_vec());
        StagedFile {
            path: path.to_owned(),
            ownership: Ownership::Managed,
            before: before.map(image),
            after: after.map(image),
            renamed_from: None,
        }
    }

    #[test]
    fn a_change_has_gits_heads_and_says_where_the_newline_is_missing() {
        let diff = unified(&[file("a/b.txt", Some(b"one\ntwo\n"), Some(b"one\n2"))]);

        assert_eq!(
            diff.text,
            "diff --git a/a/b.txt b/a/b.txt\n--- a/a/b.txt\n+++ b/a/b.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n\\ No newline at end of file\n"
        );
        assert_eq!((diff.files, diff.added, diff.removed), (1, 1, 1));
    }

    #[test]
    fn new_and_deleted_files_are_against_nothing() {
        let diff =
            unified(&[file("gone", Some(b"x\n"), None), file("new", None, Some(b"#!/bin/sh\n"))]);

        assert_eq!(
            diff.text,
            "diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\
             diff --git a/new b/new\nnew file mode 100755\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+#!/bin/sh\n"
        );
    }

    #[test]
    fn binary_files_are_named_and_not_shown() {
        let diff = unified(&[file("image", Some(b"\x89PNG\0"), Some(b"\xff\xfe"))]);

        assert_eq!(
            diff.text,
            "diff --git a/image b/image\nBinary files a/image and b/image differ\n"
        );
    }

    #[test]
    fn a_moved_file_is_shown_once() {
        let mut to = file("z", None, Some(b"x\n"));
        to.renamed_from = Some("a".to_owned());

        let diff = unified(&[file("a", Some(b"x\n"), None), to]);

        assert_eq!(
            diff.text,
            "diff --git a/a b/z\nsimilarity index 100%\nrename from a\nrename to z\n"
        );
        assert_eq!(diff.files, 1);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(unified(&[]), Diff::default());
    }
}
