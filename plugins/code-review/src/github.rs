//! GitHub's documents: a pull request, and the list of its reviews (REST API, `GET /repos/…/pulls/N` and
//! `…/pulls/N/reviews`).

use caelum_plugin_reviews::{Vote, VoteKind};
use caelum_sdk::Reason;
use serde_json::Value;

/// What a pull request document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PullRequest {
    pub(crate) author: Option<String>,
    pub(crate) head: Option<String>,
    pub(crate) draft: bool,
    pub(crate) path: String,
}

/// A review as GitHub lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostedReview {
    login: String,
    bot: bool,
    state: String,
    commit: Option<String>,
    body: String,
    at: String,
    path: String,
}

/// Reads a pull request; nothing when the document is none.
pub(crate) fn pull_request(document: &Value, path: &str) -> Option<PullRequest> {
    let head = document.get("head")?;
    document.get("base")?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    Some(PullRequest {
        author: text(document.pointer("/user/login")),
        head: text(head.get("sha")),
        draft: document.get("draft").and_then(Value::as_bool).unwrap_or(false),
        path: path.to_owned(),
    })
}

/// Reads a list of reviews; nothing when the document is none. An empty list is one without reviews.
pub(crate) fn reviews(document: &Value, path: &str) -> Option<Vec<HostedReview>> {
    let items = document.as_array()?;
    let mut found = Vec::new();
    for item in items {
        let state = item.get("state")?.as_str()?;
        let user = item.get("user")?;
        // The account of a deleted user is null.
        let login = user.get("login").and_then(Value::as_str).unwrap_or("ghost");
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        found.push(HostedReview {
            login: login.to_owned(),
            bot: user.get("type").and_then(Value::as_str) == Some("Bot")
                || login.ends_with("[bot]"),
            state: state.to_ascii_uppercase(),
            commit: item.get("commit_id").and_then(Value::as_str).map(str::to_owned),
            body: text("body"),
            at: text("submitted_at"),
            path: path.to_owned(),
        });
    }
    Some(found)
}

/// Turns reviews into votes, oldest first, and says which do not count and why.
///
/// A comment changes nothing, a dismissal takes back, and an approval counts only for the commit under review; a
/// request for changes holds until its author takes it back, whatever was pushed since.
pub(crate) fn votes(
    reviews: &[HostedReview],
    head: Option<&str>,
    allow_bots: bool,
) -> (Vec<Vote>, Vec<Reason>) {
    let mut ordered: Vec<&HostedReview> = reviews.iter().collect();
    ordered.sort_by(|left, right| left.at.cmp(&right.at));
    let mut votes: Vec<Vote> = Vec::new();
    let mut set_aside = Vec::new();
    for review in ordered {
        let who = &review.login;
        let note = |code: &str, message: String| Reason::new(code, message).at(&review.path);
        let kind = match review.state.as_str() {
            "APPROVED" => VoteKind::Approve,
            "CHANGES_REQUESTED" => VoteKind::Reject,
            "DISMISSED" => VoteKind::Abstain,
            _ => continue,
        };
        if review.bot && !allow_bots {
            set_aside.push(note("bot", format!("`{who}` is a bot; its review does not count")));
            continue;
        }
        if kind == VoteKind::Approve {
            match (head, review.commit.as_deref()) {
                (None, _) => {
                    let message = format!(
                        "`{who}` approved, and nothing tells which commit is under review; collect the pull request document or set `head_commit`"
                    );
                    set_aside.push(note("head-unknown", message));
                    continue;
                }
                (Some(head), Some(commit)) if commit.eq_ignore_ascii_case(head) => {}
                (Some(head), commit) => {
                    let commit = commit
                        .map_or("an unknown commit", |commit| commit.get(..12).unwrap_or(commit));
                    let head = head.get(..12).unwrap_or(head);
                    let message = format!("`{who}` approved {commit}; under review is {head}");
                    set_aside.push(note("stale-approval", message));
                    continue;
                }
            }
        }
        let reason = match (kind, review.body.trim()) {
            (VoteKind::Reject, "") => "changes requested".to_owned(),
            (_, body) => body.lines().next().unwrap_or_default().chars().take(300).collect(),
        };
        votes.push(Vote { voter: who.clone(), kind, reason, origin: review.path.clone() });
    }
    (votes, set_aside)
}
