//! Votes, the rules for them, and their count.

use caelum_plugin_moment::is_before;
use caelum_sdk::{Decision, Evidence, Reason};

/// What a vote says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteKind {
    /// It may go on.
    Approve,
    /// It may not go on.
    Reject,
    /// Looked at, not decided.
    Abstain,
}

/// One vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Who.
    pub voter: String,
    /// What they say.
    pub kind: VoteKind,
    /// Why, in their words.
    pub reason: String,
    /// Where it was found: `review` or the path of a file.
    pub origin: String,
}

/// Who may vote and how many must approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How many different voters must approve.
    pub approvals: u32,
    /// Who may vote; empty means everybody but the performer.
    pub voters: Vec<String>,
    /// How many characters an approval's reason must have.
    pub approval_reason_min: u32,
    /// What an approval must confirm, each on a line of its reason as `[x] item`.
    pub checklist: Vec<String>,
}

/// What the votes add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Enough approvals, no rejection.
    Approved,
    /// Somebody rejects.
    Rejected,
    /// Not decided: more votes, or reasons for them, are wanted.
    Open,
}

/// The count of the current votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballot {
    /// What they add up to.
    pub standing: Standing,
    /// Who approves.
    pub approving: Vec<String>,
    /// How many reject.
    pub rejections: u32,
    /// How many abstain.
    pub abstentions: u32,
    /// Why it stands as it does, votes that do not count included.
    pub reasons: Vec<Reason>,
}

/// Returns the votes among the reviews of the evidence that are about the work at hand, and why the others are not.
pub fn votes_of(evidence: &Evidence) -> (Vec<Vote>, Vec<Reason>) {
    let mut votes = Vec::new();
    let mut set_aside = Vec::new();
    for review in &evidence.reviews {
        let who = &review.reviewer;
        if review.subject_digest != evidence.subject_digest {
            let message = format!(
                "the review by `{who}` is about other work than what is judged; it does not count"
            );
            set_aside.push(Reason::new("wrong-subject", message));
        } else if is_before(&review.at, &evidence.started_at) {
            let message = format!(
                "the review by `{who}` ({}) is older than the attempt; it does not count",
                review.at
            );
            set_aside.push(Reason::new("review-expired", message));
        } else {
            let kind = match review.decision {
                Decision::Approved => VoteKind::Approve,
                Decision::Rejected => VoteKind::Reject,
                Decision::Abstained => VoteKind::Abstain,
            };
            let reason = review.reason.clone();
            votes.push(Vote { voter: who.clone(), kind, reason, origin: "review".to_owned() });
        }
    }
    (votes, set_aside)
}

/// Two names of one voter differ in case and blanks at most.
fn same(left: &str, right: &str) -> bool {
    left.trim().to_lowercase() == right.trim().to_lowercase()
}

impl Ballot {
    /// Counts votes, oldest first. `performers` are those who did the work.
    pub fn count(votes: &[Vote], performers: &[&str], rules: &Rules) -> Self {
        let mut ballot = Ballot {
            standing: Standing::Open,
            approving: Vec::new(),
            rejections: 0,
            abstentions: 0,
            reasons: Vec::new(),
        };
        let mut unexplained = false;
        for (index, vote) in votes.iter().enumerate() {
            let later = votes[index + 1..].iter().any(|other| same(&other.voter, &vote.voter));
            if later {
                continue;
            }
            if let Some(reason) = ineligible(vote, performers, rules) {
                ballot.reasons.push(reason);
                continue;
            }
            let who = &vote.voter;
            match vote.kind {
                VoteKind::Abstain => ballot.abstentions += 1,
                VoteKind::Reject if vote.reason.trim().is_empty() => {
                    unexplained = true;
                    let message =
                        format!("`{who}` rejects without a reason; a rejection says what is wrong");
                    ballot.reasons.push(Reason::new("reason-missing", message));
                }
                VoteKind::Reject => {
                    ballot.rejections += 1;
                    let message = format!("`{who}` rejects: {}", vote.reason.trim());
                    ballot.reasons.push(Reason::new("rejected", message));
                }
                VoteKind::Approve => match incomplete(vote, rules) {
                    Some(reason) => ballot.reasons.push(reason),
                    None => ballot.approving.push(who.clone()),
                },
            }
        }
        let have = u32::try_from(ballot.approving.len()).unwrap_or(u32::MAX);
        ballot.standing = if ballot.rejections > 0 {
            // What rejects comes first.
            ballot.reasons.sort_by_key(|reason| reason.code != "rejected");
            Standing::Rejected
        } else if unexplained {
            Standing::Open
        } else if have >= rules.approvals {
            Standing::Approved
        } else {
            let wanted = rules.approvals;
            let who = match rules.voters.as_slice() {
                [] => "anybody who did not do the work".to_owned(),
                voters => voters.join(", "),
            };
            let message =
                format!("{have} of {wanted} approvals are there; they may come from {who}");
            ballot.reasons.insert(0, Reason::new("approvals-missing", message));
            Standing::Open
        };
        ballot
    }
}

fn ineligible(vote: &Vote, performers: &[&str], rules: &Rules) -> Option<Reason> {
    let who = &vote.voter;
    if who.trim().is_empty() {
        return Some(Reason::new(
            "no-reviewer",
            "a review does not say whose it is; it does not count",
        ));
    }
    if performers.iter().any(|performer| same(performer, who)) {
        let message =
            format!("`{who}` did the work and cannot review it; the review does not count");
        return Some(Reason::new("reviewer-is-performer", message));
    }
    if !rules.voters.is_empty() && !rules.voters.iter().any(|voter| same(voter, who)) {
        let message = format!(
            "`{who}` is not among the reviewers ({}); the review does not count",
            rules.voters.join(", ")
        );
        return Some(Reason::new("not-a-reviewer", message));
    }
    None
}

fn incomplete(vote: &Vote, rules: &Rules) -> Option<Reason> {
    let who = &vote.voter;
    let length = vote.reason.trim().chars().count();
    if length < rules.approval_reason_min as usize {
        let wanted = rules.approval_reason_min;
        let message = format!(
            "`{who}` approves with a reason of {length} characters; at least {wanted} are wanted"
        );
        return Some(Reason::new("reason-missing", message));
    }
    let missing: Vec<&str> = rules
        .checklist
        .iter()
        .filter(|item| !confirms(&vote.reason, item))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        let message = format!(
            "`{who}` approves without confirming `{}`; write `[x] {}` into the reason",
            missing.join("`, `"),
            missing[0]
        );
        return Some(Reason::new("checklist-open", message));
    }
    None
}

fn confirms(reason: &str, item: &str) -> bool {
    reason.lines().any(|line| {
        let line = line.trim().trim_start_matches(['-', '*', ' ']).to_lowercase();
        line.strip_prefix("[x]").is_some_and(|rest| rest.trim() == item.trim().to_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(voter: &str, kind: VoteKind, reason: &str) -> Vote {
        Vote { voter: voter.into(), kind, reason: reason.into(), origin: "review".into() }
    }

    fn rules(approvals: u32) -> Rules {
        Rules { approvals, voters: vec![], approval_reason_min: 0, checklist: vec![] }
    }

    #[test]
    fn the_last_vote_of_a_voter_counts_under_any_spelling() {
        let votes = [
            vote("ada", VoteKind::Reject, "no tests"),
            vote("Ada ", VoteKind::Approve, ""),
            vote("bob", VoteKind::Approve, ""),
            vote("BOB", VoteKind::Abstain, ""),
        ];
        let ballot = Ballot::count(&votes, &[], &rules(1));
        assert_eq!(
            (ballot.standing, ballot.approving.len(), ballot.abstentions),
            (Standing::Approved, 1, 1)
        );
        assert_eq!(Ballot::count(&votes, &[], &rules(2)).standing, Standing::Open);
    }

    #[test]
    fn a_rejection_wins_and_must_be_explained() {
        let approve = vote("ada", VoteKind::Approve, "");
        let ballot = Ballot::count(
            &[approve.clone(), vote("bob", VoteKind::Reject, "leaks")],
            &[],
            &rules(1),
        );
        assert_eq!(
            (ballot.standing, ballot.reasons[0].message.as_str()),
            (Standing::Rejected, "`bob` rejects: leaks")
        );
        let ballot = Ballot::count(&[approve, vote("bob", VoteKind::Reject, " ")], &[], &rules(1));
        assert_eq!(
            (ballot.standing, ballot.reasons[0].code.as_str()),
            (Standing::Open, "reason-missing")
        );
    }

    #[test]
    fn performers_and_strangers_do_not_count() {
        let votes = [
            vote("ada", VoteKind::Approve, ""),
            vote("eve", VoteKind::Reject, "x"),
            vote("", VoteKind::Approve, ""),
        ];
        let rules = Rules { voters: vec!["ada".into(), "bob".into()], ..rules(1) };
        let ballot = Ballot::count(&votes, &["ADA"], &rules);
        let codes: Vec<_> = ballot.reasons.iter().map(|reason| reason.code.as_str()).collect();
        assert_eq!(
            codes,
            ["approvals-missing", "reviewer-is-performer", "not-a-reviewer", "no-reviewer"]
        );
        assert_eq!(ballot.standing, Standing::Open);
    }

    #[test]
    fn a_checklist_must_be_confirmed_item_by_item() {
        let rules = Rules { checklist: vec!["Rollback tested".into(), "Docs".into()], ..rules(1) };
        let partly = vote("ada", VoteKind::Approve, "- [x] rollback tested\n- [ ] docs");
        assert_eq!(Ballot::count(&[partly], &[], &rules).reasons[1].code, "checklist-open");
        let fully = vote("ada", VoteKind::Approve, "- [x] rollback tested\n[X] docs");
        assert_eq!(Ballot::count(&[fully], &[], &rules).standing, Standing::Approved);
    }
}
