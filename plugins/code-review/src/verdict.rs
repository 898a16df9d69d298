//! Puts reviews, analyses and diffs together into one verdict.

use caelum_plugin_reviews::{Ballot, Rules, Standing, votes_of};
use caelum_sdk::{Evidence, PluginError, Reason, Target, TargetErrorCode, Verdict, VerdictKind};
use serde_json::Value;

use crate::analysis::{self, Analysis};
use crate::diff::{self, Diff};
use crate::github::{self, HostedReview, PullRequest};
use crate::{Level, Parameters};

/// How many collected files are looked at. The rest is left out and told.
const FILES_MAX: usize = 500;

/// What was found among the collected files.
#[derive(Default)]
struct Found {
    pull_requests: Vec<PullRequest>,
    reviews: Vec<HostedReview>,
    analysis: Option<Analysis>,
    diffs: Vec<(String, Diff)>,
    /// Files that should say something and do not.
    broken: Vec<Reason>,
}

/// Judges.
pub(crate) fn judge(
    evidence: &Evidence,
    target: &dyn Target,
    parameters: &Parameters,
) -> Result<Verdict, PluginError> {
    let found = read_files(evidence, target, parameters.fail_on)?;
    let mut failed = Vec::new();
    let mut unclear = found.broken.clone();
    let mut open = Vec::new();
    analyses(&found, &mut failed, &mut unclear);
    diffs(&found, parameters, &mut failed, &mut unclear);
    let head = head(&found, parameters, &mut unclear);
    let (mut votes, mut set_aside) = votes_of(evidence);
    let (hosted, hosted_aside) =
        github::votes(&found.reviews, head.as_deref(), parameters.allow_bots);
    votes.extend(hosted);
    set_aside.extend(hosted_aside);
    let mut performers: Vec<&str> = evidence.performer.as_deref().into_iter().collect();
    performers.extend(found.pull_requests.iter().filter_map(|pull| pull.author.as_deref()));
    let rules = Rules {
        approvals: parameters.approvals,
        voters: parameters.reviewers.clone(),
        approval_reason_min: 0,
        checklist: Vec::new(),
    };
    let ballot = Ballot::count(&votes, &performers, &rules);
    match ballot.standing {
        Standing::Rejected => failed.extend(ballot.reasons.iter().cloned()),
        Standing::Open => {
            open.extend(ballot.reasons.iter().cloned());
            open.extend(set_aside);
        }
        Standing::Approved => {}
    }
    for pull in found.pull_requests.iter().filter(|pull| pull.draft) {
        open.push(
            Reason::new(
                "draft",
                "the pull request is a draft: its author says that it is not ready",
            )
            .at(&pull.path),
        );
    }
    let nothing = parameters.approvals == 0 && found.analysis.is_none() && found.diffs.is_empty();
    if nothing && unclear.is_empty() {
        let message =
            "no approvals are asked for, and neither an analysis nor a diff was handed in";
        unclear.push(Reason::new("no-evidence", message));
    }
    let summary = |reasons: &[Reason]| match reasons {
        [first, rest @ ..] if !rest.is_empty() => {
            format!("{} (and {} more)", first.message, rest.len())
        }
        [only] => only.message.clone(),
        _ => String::new(),
    };
    let verdict = if !failed.is_empty() {
        Verdict::fail_for(summary(&failed), failed.into_iter().chain(unclear))
    } else if !unclear.is_empty() {
        Verdict::inconclusive_for(summary(&unclear), unclear.into_iter().chain(open))
    } else if !open.is_empty() {
        let kind = VerdictKind::NeedsReview;
        Verdict {
            kind,
            ..Verdict::inconclusive_for(format!("waits for a review: {}", open[0].message), open)
        }
    } else {
        Verdict::pass(counted(&ballot, &found))
    };
    let verdict = verdict
        .metric("approvals", ballot.approving.len())
        .metric("approvals_wanted", parameters.approvals)
        .metric("rejections", ballot.rejections);
    let verdict =
        found.analysis.as_ref().map_or(verdict.clone(), |analysis| analysis.metrics(verdict));
    let changed =
        |count: fn(&Diff) -> u64| found.diffs.iter().map(|(_, diff)| count(diff)).sum::<u64>();
    Ok(match found.diffs.is_empty() {
        true => verdict,
        false => verdict
            .metric("diff_files", changed(|diff| diff.files))
            .metric("lines_added", changed(|diff| diff.added))
            .metric("lines_removed", changed(|diff| diff.removed)),
    })
}

fn counted(ballot: &Ballot, found: &Found) -> String {
    let mut parts = Vec::new();
    if !ballot.approving.is_empty() {
        parts.push(format!("approved by {}", ballot.approving.join(", ")));
    }
    if let Some(analysis) = &found.analysis {
        let (results, runs) = (analysis.results, analysis.runs);
        let analyses = if runs == 1 { "1 analysis".to_owned() } else { format!("{runs} analyses") };
        let results =
            if results == 1 { "1 result".to_owned() } else { format!("{results} results") };
        parts.push(format!("{analyses} with {results}, none of which fails the gate"));
    }
    if !found.diffs.is_empty() {
        let sum =
            |count: fn(&Diff) -> u64| found.diffs.iter().map(|(_, diff)| count(diff)).sum::<u64>();
        let (files, added, removed) =
            (sum(|diff| diff.files), sum(|diff| diff.added), sum(|diff| diff.removed));
        let noun = if files == 1 { "file" } else { "files" };
        parts.push(format!("a diff of {files} {noun} (+{added} -{removed})"));
    }
    parts.join("; ")
}

fn read_files(
    evidence: &Evidence,
    target: &dyn Target,
    fail_on: Level,
) -> Result<Found, PluginError> {
    let mut found = Found::default();
    for (index, path) in evidence.files.iter().enumerate() {
        if index >= FILES_MAX {
            let message =
                format!("more than {FILES_MAX} files were handed in; the rest was not read");
            found.broken.push(Reason::new("too-many-files", message));
            break;
        }
        let bytes = match target.read_all(path) {
            Ok(bytes) => bytes,
            Err(error) if error.code == TargetErrorCode::BudgetExceeded => return Err(error.into()),
            Err(error) => {
                found.broken.push(Reason::new("unreadable-file", error.to_string()).at(path));
                continue;
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let name = path.to_ascii_lowercase();
        let speaks = name.ends_with(".sarif")
            || name.ends_with(".sarif.json")
            || name.ends_with(".diff")
            || name.ends_with(".patch");
        if text.trim().is_empty() {
            if speaks {
                found.broken.push(Reason::new("empty-file", format!("`{path}` is empty")).at(path));
            }
            continue;
        }
        let json = text.trim_start_matches('\u{feff}').trim_start();
        if json.starts_with(['{', '[']) {
            match serde_json::from_str::<Value>(json) {
                Ok(document) => take_document(&document, path, fail_on, speaks, &mut found),
                Err(error) => {
                    let message = format!("`{path}` is no whole JSON document: {error}");
                    found.broken.push(Reason::new("unreadable-file", message).at(path));
                }
            }
        } else if let Some(diff) = diff::read(&text) {
            found.diffs.push((path.clone(), diff));
        } else if speaks {
            let message = format!("`{path}` is neither SARIF nor a unified diff");
            found.broken.push(Reason::new("unknown-format", message).at(path));
        }
    }
    Ok(found)
}

fn take_document(document: &Value, path: &str, fail_on: Level, speaks: bool, found: &mut Found) {
    if let Some(analysis) = analysis::read(document, path, fail_on) {
        found.analysis.get_or_insert_default().merge(analysis);
    } else if let Some(pull) = github::pull_request(document, path) {
        found.pull_requests.push(pull);
    } else if let Some(reviews) = github::reviews(document, path) {
        found.reviews.extend(reviews);
    } else if speaks {
        let message = format!("`{path}` is neither SARIF nor a document of a code host");
        found.broken.push(Reason::new("unknown-format", message).at(path));
    }
}

/// Returns the commit under review, when it is known and unambiguous.
fn head(found: &Found, parameters: &Parameters, unclear: &mut Vec<Reason>) -> Option<String> {
    let mut heads: Vec<&str> =
        found.pull_requests.iter().filter_map(|pull| pull.head.as_deref()).collect();
    heads.sort_unstable();
    heads.dedup();
    if let Some(wanted) = &parameters.head_commit {
        for pull in &found.pull_requests {
            if let Some(head) = &pull.head
                && !head.eq_ignore_ascii_case(wanted)
            {
                let message = format!(
                    "the pull request stands at {head} and the commit under review is {wanted}"
                );
                unclear.push(Reason::new("wrong-commit", message).at(&pull.path));
            }
        }
        return Some(wanted.clone());
    }
    if heads.len() > 1 {
        let message =
            "several pull requests with different heads were handed in; set `head_commit`";
        unclear.push(Reason::new("head-ambiguous", message));
        return None;
    }
    heads.first().map(|head| (*head).to_owned())
}

fn analyses(found: &Found, failed: &mut Vec<Reason>, unclear: &mut Vec<Reason>) {
    let Some(analysis) = &found.analysis else { return };
    failed.extend(analysis.failing.iter().cloned());
    let unnamed = analysis.failing_total.saturating_sub(analysis.failing.len() as u64);
    if unnamed > 0 {
        failed.push(Reason::new("more-results", format!("{unnamed} more results fail the gate")));
    }
    unclear.extend(analysis.broken.iter().cloned());
}

fn diffs(
    found: &Found,
    parameters: &Parameters,
    failed: &mut Vec<Reason>,
    unclear: &mut Vec<Reason>,
) {
    for (path, diff) in &found.diffs {
        failed.extend(diff.conflicts.iter().cloned());
        if let Some(cut) = &diff.cut {
            unclear.push(Reason::new("diff-cut", format!("the diff is not whole: {cut}")).at(path));
        }
        let changed = diff.added + diff.removed;
        if let Some(limit) = parameters.max_changed_lines
            && changed > limit
        {
            let message = format!(
                "the diff changes {changed} lines; at most {limit} are allowed in one review"
            );
            failed.push(Reason::new("change-too-large", message).at(path));
        }
    }
}
