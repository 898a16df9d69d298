//! What every plan must satisfy before anything is done with it: paths, sizes, overlaps. All faults at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Change, Plan, Replacement};
use crate::id::Digest;

/// The longest path in a plan, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// What a plan may hold.
#[derive(Debug, Clone, Copy)]
pub struct PlanLimits {
    /// Edits (default 1,000).
    pub edits_max: usize,
    /// Bytes over all edits (default 4 MiB).
    pub bytes_max: u64,
    /// Findings (default 1,000).
    pub findings_max: usize,
}

impl Default for PlanLimits {
    fn default() -> Self {
        PlanLimits { edits_max: 1_000, bytes_max: 4 * 1024 * 1024, findings_max: 1_000 }
    }
}

/// One fault of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanProblem {
    /// Which edit, from 0; nothing when it is about the whole plan.
    pub edit: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for PlanProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.edit {
            Some(edit) => write!(formatter, "edit {edit}: {}", self.message),
            None => formatter.write_str(&self.message),
        }
    }
}

/// The first edit that touches a path.
struct Touch<'a> {
    first: usize,
    path: &'a str,
    /// Hash of the file whose ranges it replaces; nothing for every other kind of change.
    base: Option<&'a Digest>,
}

/// Returns the ranges that the plan replaces, per file and in their order, over all its edits.
///
/// Several edits may replace ranges of one file, so that a safe edit and one that needs a review can stand apart.
pub fn ranges_by_path(plan: &Plan) -> BTreeMap<&str, Vec<&Replacement>> {
    let mut by_path: BTreeMap<&str, Vec<&Replacement>> = BTreeMap::new();
    for edit in &plan.edits {
        if let Change::Replace { path, ranges, .. } = &edit.change {
            by_path.entry(path).or_default().extend(ranges);
        }
    }
    for ranges in by_path.values_mut() {
        ranges.sort_by_key(|range| (range.start, range.end));
    }
    by_path
}

/// Says what is wrong with a path that should lie beneath a component, or nothing when it is plain.
///
/// A plain path is relative, `/` separated, without empty, `.` or `..` parts, NUL, backslash, control characters or a
/// drive letter. That a plain path does not leave the component through a symbolic link is for the one who opens it.
pub fn check_path(path: &str) -> Result<(), String> {
    let shown = path.escape_debug();
    if path.is_empty() {
        return Err("the path is empty".to_owned());
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("the path has {} bytes; at most {PATH_BYTES_MAX}", path.len()));
    }
    if path.starts_with('/') {
        return Err(format!("`{shown}` is absolute; paths are relative to the component"));
    }
    if path.contains('\\') {
        return Err(format!("`{shown}` has a backslash; separate with `/`"));
    }
    if path.chars().any(char::is_control) {
        return Err(format!("`{shown}` has a control character"));
    }
    if path.as_bytes().get(1) == Some(&b':') {
        return Err(format!("`{shown}` begins with a drive letter"));
    }
    for part in path.split('/') {
        match part {
            ".." => return Err(format!("`{shown}` leaves the component through `..`")),
            "." => return Err(format!("`{shown}` has a `.` part")),
            "" => return Err(format!("`{shown}` has an empty part")),
            _ => {}
        }
    }
    Ok(())
}

/// Checks what can be checked of a plan without seeing the component, and returns every fault.
pub fn check_plan(plan: &Plan, limits: PlanLimits) -> Vec<PlanProblem> {
    let mut problems = Vec::new();
    let whole = |message: String| PlanProblem { edit: None, message };
    if plan.edits.len() > limits.edits_max {
        problems.push(whole(format!(
            "the plan has {} edits; at most {} are allowed",
            plan.edits.len(),
            limits.edits_max
        )));
    }
    if plan.findings.len() > limits.findings_max {
        problems.push(whole(format!(
            "the plan has {} findings; at most {} are allowed",
            plan.findings.len(),
            limits.findings_max
        )));
    }
    let mut bytes = 0_u64;
    // Lower case, so that a plan means the same on a file system that folds case.
    let mut seen: BTreeMap<String, Touch<'_>> = BTreeMap::new();
    let mut files: BTreeSet<&str> = BTreeSet::new();
    for (index, edit) in plan.edits.iter().enumerate() {
        let mut fault = |message: String| {
            problems.push(PlanProblem { edit: Some(index), message });
        };
        for path in edit.change.paths() {
            if let Err(message) = check_path(path) {
                fault(message);
                continue;
            }
            files.insert(path);
            let base = match &edit.change {
                Change::Replace { base_sha256, .. } => Some(base_sha256),
                _ => None,
            };
            match seen.get(&path.to_lowercase()) {
                None => {
                    seen.insert(path.to_lowercase(), Touch { first: index, path, base });
                }
                Some(touch) if touch.base.is_none() || base.is_none() || touch.path != path => {
                    fault(format!("`{path}` is touched by edit {} already", touch.first));
                }
                Some(touch) if touch.base != base => fault(format!(
                    "edit {} replaces ranges of `{path}` in a file of another hash",
                    touch.first
                )),
                Some(_) => {}
            }
        }
        match &edit.change {
            Change::Create { content, .. } => bytes += content.len() as u64,
            Change::Replace { path, ranges, .. } => {
                if ranges.is_empty() {
                    fault(format!("the replacement of `{path}` has no ranges"));
                }
                bytes += ranges.iter().map(|range| range.text.len() as u64).sum::<u64>();
            }
            Change::Delete { .. } | Change::Rename { .. } => {}
        }
    }
    for (path, ranges) in ranges_by_path(plan) {
        for range in &ranges {
            if range.start > range.end {
                problems.push(whole(format!(
                    "the range {}..{} of `{path}` ends before it begins",
                    range.start, range.end
                )));
            }
        }
        for pair in ranges.windows(2) {
            if pair[1].start < pair[0].end || pair[0].start == pair[1].start {
                problems.push(whole(format!(
                    "the ranges {}..{} and {}..{} of `{path}` overlap",
                    pair[0].start, pair[0].end, pair[1].start, pair[1].end
                )));
            }
        }
    }
    for path in &files {
        let mut parent = *path;
        while let Some((above, _)) = parent.rsplit_once('/') {
            if files.contains(above) {
                problems.push(whole(format!(
                    "`{above}` would be a file and the directory of `{path}`"
                )));
            }
            parent = above;
        }
    }
    if bytes > limits.bytes_max {
        problems.push(whole(format!(
            "the plan writes {bytes} bytes; at most {} are allowed",
            limits.bytes_max
        )));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{Edit, Ownership, Replacement, Risk};

    fn plan(changes: Vec<Change>) -> Plan {
        let edits = changes
            .into_iter()
            .map(|change| Edit {
                change,
                ownership: Ownership::Managed,
                risk: Risk::Safe,
                resolves: vec![],
                rationale: String::new(),
            })
            .collect();
        Plan { summary: String::new(), edits, next_steps: vec![], findings: vec![] }
    }

    fn create(path: &str) -> Change {
        Change::Create { path: path.to_owned(), content: b"x".to_vec() }
    }

    fn messages(changes: Vec<Change>) -> Vec<String> {
        check_plan(&plan(changes), PlanLimits::default()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn paths_that_leave_the_component_are_refused() {
        for path in [
            "../x",
            "/etc/passwd",
            "a/../../b",
            "a//b",
            "./a",
            "",
            "a\0b",
            "a\\b",
            "c:/x",
            "a/.",
            "..",
            "a/..",
            "a\nb",
        ] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        for path in ["a", ".caelum/component.json", "a/b c/d", "..a", "a..", "ä/ö"] {
            assert_eq!(check_path(path), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn duplicate_and_case_colliding_paths_are_both_named() {
        assert_eq!(
            messages(vec![create("a"), create("a"), create("A")]),
            [
                "edit 1: `a` is touched by edit 0 already",
                "edit 2: `A` is touched by edit 0 already"
            ]
        );
    }

    #[test]
    fn overlapping_ranges_are_refused() {
        let range = |start, end| Replacement { start, end, text: "t".to_owned() };
        let base_sha256 = Digest::from_bytes(&[0; 32]);
        let replace = |ranges| Change::Replace {
            path: "f".to_owned(),
            base_sha256: base_sha256.clone(),
            ranges,
        };
        assert_eq!(
            messages(vec![replace(vec![range(4, 9), range(0, 5)])]),
            ["the ranges 0..5 and 4..9 of `f` overlap"]
        );
        assert_eq!(
            messages(vec![replace(vec![range(4, 9)]), replace(vec![range(0, 5)])]),
            ["the ranges 0..5 and 4..9 of `f` overlap"]
        );
        assert_eq!(messages(vec![replace(vec![range(0, 4)]), replace(vec![range(4, 9)])]), [""; 0]);
    }

    #[test]
    fn a_file_cannot_be_a_directory_too() {
        assert_eq!(
            messages(vec![create("a"), create("a/b")]),
            ["`a` would be a file and the directory of `a/b`"]
        );
    }
}
