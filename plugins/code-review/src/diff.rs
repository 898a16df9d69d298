//! Unified diffs: how much changed, whether the diff is whole, and whether it adds conflict markers.

use caelum_sdk::Reason;

/// What a diff says.
#[derive(Default)]
pub(crate) struct Diff {
    pub(crate) files: u64,
    pub(crate) added: u64,
    pub(crate) removed: u64,
    /// Conflict markers among the added lines.
    pub(crate) conflicts: Vec<Reason>,
    /// Why it is not whole, when it is not.
    pub(crate) cut: Option<String>,
}

/// How many conflict markers are named.
const NAMED_MAX: usize = 20;

/// Reads a text; nothing when it is no unified diff.
pub(crate) fn read(text: &str) -> Option<Diff> {
    let mut diff = Diff::default();
    let mut path: Option<String> = None;
    let (mut old_left, mut new_left) = (0_u64, 0_u64);
    let mut line_number = 0_u64;
    let mut hunks = 0_u64;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if old_left > 0 || new_left > 0 {
            match line.as_bytes().first() {
                Some(b'+') if new_left > 0 => {
                    new_left -= 1;
                    diff.added += 1;
                    conflict(&line[1..], path.as_deref(), line_number, &mut diff);
                    line_number += 1;
                }
                Some(b'-') if old_left > 0 => {
                    old_left -= 1;
                    diff.removed += 1;
                }
                Some(b'\\') => {}
                // Mailers take the blank of an empty line of context away.
                Some(b' ') | None if old_left > 0 && new_left > 0 => {
                    old_left -= 1;
                    new_left -= 1;
                    line_number += 1;
                }
                _ => {
                    diff.cut.get_or_insert_with(|| {
                        format!("a hunk of `{}` breaks off", path.as_deref().unwrap_or("?"))
                    });
                    (old_left, new_left) = (0, 0);
                }
            }
            continue;
        }
        if line.starts_with("--- ")
            && let Some(next) = lines.peek().and_then(|next| next.strip_prefix("+++ "))
        {
            let new = file_name(next);
            path = if new == "/dev/null" { Some(file_name(&line[4..])) } else { Some(new) };
            diff.files += 1;
        } else if let Some((old, new, start)) = hunk(line) {
            (old_left, new_left, line_number) = (old, new, start);
            hunks += 1;
        }
    }
    if old_left > 0 || new_left > 0 {
        diff.cut.get_or_insert_with(|| {
            format!("the last hunk, of `{}`, breaks off", path.as_deref().unwrap_or("?"))
        });
    }
    let begins_one = text.starts_with("diff --git ") || text.contains("\ndiff --git ");
    ((diff.files > 0 && hunks > 0) || begins_one).then_some(diff)
}

fn file_name(text: &str) -> String {
    let name = text.split('\t').next().unwrap_or(text).trim();
    name.strip_prefix("b/").or_else(|| name.strip_prefix("a/")).unwrap_or(name).to_owned()
}

/// Reads `@@ -1,2 +3,4 @@`: how many old and new lines follow, and where the new ones begin.
fn hunk(line: &str) -> Option<(u64, u64, u64)> {
    let inner = line.strip_prefix("@@ -")?.split(" @@").next()?;
    let (old, new) = inner.split_once(" +")?;
    let range = |text: &str| -> Option<(u64, u64)> {
        match text.split_once(',') {
            Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
            None => Some((text.parse().ok()?, 1)),
        }
    };
    let (_, old) = range(old)?;
    let (start, new) = range(new)?;
    Some((old, new, start))
}

fn conflict(added: &str, path: Option<&str>, line: u64, diff: &mut Diff) {
    let marker =
        ["<<<<<<< ", ">>>>>>> ", "||||||| "].iter().any(|marker| added.starts_with(marker));
    if !marker || diff.conflicts.len() >= NAMED_MAX {
        return;
    }
    let shown: String = added.chars().take(40).collect();
    let mut reason =
        Reason::new("conflict-marker", format!("the diff adds the conflict marker `{shown}`"));
    reason.path = path.map(str::to_owned);
    reason.line = u32::try_from(line).ok().filter(|line| *line > 0);
    diff.conflicts.push(reason);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_markers_found() {
        let text = "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1,3 +1,4 @@\n a\n-b\n+<<<<<<< HEAD\n+--- c\n d\n@@ -9 +10,0 @@\n-gone\n\\ No newline at end of file\n";
        let diff = read(text).expect("is a diff");
        assert_eq!((diff.files, diff.added, diff.removed, diff.cut.is_none()), (1, 2, 2, true));
        assert_eq!(
            (diff.conflicts[0].path.as_deref(), diff.conflicts[0].line),
            (Some("x.py"), Some(2))
        );
    }

    #[test]
    fn a_diff_that_breaks_off_is_told() {
        let diff = read("--- a/x\n+++ b/x\n@@ -1,5 +1,5 @@\n a\n").expect("is a diff");
        assert_eq!(diff.cut.as_deref(), Some("the last hunk, of `x`, breaks off"));
        assert!(read("just text\n--- and dashes\n").is_none());
    }
}
