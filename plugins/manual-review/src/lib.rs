//! The validator `manual-review`: enough people have looked at exactly this work, and nobody objects.

use caelum_plugin_reviews::{Ballot, Rules, Standing, votes_of};
use caelum_sdk::{
    About, Evidence, ParameterProblem, PluginError, Target, Validator, Verdict, VerdictKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Judges reviews of a step's work.
#[derive(Debug)]
pub struct ManualReview;

/// What is asked of the reviews.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// How many different people must approve.
    #[schemars(range(min = 1, max = 100))]
    pub approvals: u32,
    /// Who may review, by the names the server knows them by. Empty means everybody but the one who did the work.
    pub reviewers: Vec<String>,
    /// How many characters the reason of an approval must have. A rejection always needs a reason.
    pub approval_reason_min: u32,
    /// What every approval must confirm, each on a line of its reason of the form `[x] item`.
    pub checklist: Vec<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Parameters {
            approvals: 1,
            reviewers: Vec::new(),
            approval_reason_min: 0,
            checklist: Vec::new(),
        }
    }
}

impl Validator for ManualReview {
    type Parameters = Parameters;

    const ABOUT: About = caelum_sdk::about!(
        "manual-review",
        "Manual review",
        "Passes when enough people have approved exactly this work and nobody rejects it; until then the step waits \
         for review_step. Whoever did the work cannot review it, a review of other work does not count, and a \
         rejection needs a reason.",
    );

    const EVIDENCE_FORMATS: &'static [&'static str] = &["review"];

    fn judge(
        evidence: &Evidence,
        _: &dyn Target,
        parameters: &Parameters,
    ) -> Result<Verdict, PluginError> {
        check(parameters)?;
        if evidence.subject_digest.is_empty() {
            return Ok(Verdict::inconclusive(
                "no-subject",
                "the evidence does not say what is judged, so that no review can be about it",
            ));
        }
        let rules = Rules {
            approvals: parameters.approvals,
            voters: parameters.reviewers.clone(),
            approval_reason_min: parameters.approval_reason_min,
            checklist: parameters.checklist.clone(),
        };
        let performers: Vec<&str> = evidence.performer.as_deref().into_iter().collect();
        let (votes, set_aside) = votes_of(evidence);
        let mut ballot = Ballot::count(&votes, &performers, &rules);
        ballot.reasons.extend(set_aside);
        let have = ballot.approving.len();
        let wanted = parameters.approvals;
        let mut verdict = match ballot.standing {
            Standing::Approved => Verdict::pass(format!(
                "approved by {} ({have} of {wanted})",
                ballot.approving.join(", ")
            )),
            Standing::Rejected => Verdict::fail_for(ballot.reasons[0].message.clone(), []),
            Standing::Open => Verdict {
                kind: VerdictKind::NeedsReview,
                ..Verdict::inconclusive_for(
                    waits_for(wanted as usize - have.min(wanted as usize)),
                    [],
                )
            },
        };
        verdict.reasons = if verdict.is_pass() { Vec::new() } else { ballot.reasons };
        Ok(verdict
            .metric("approvals", have)
            .metric("approvals_wanted", wanted)
            .metric("rejections", ballot.rejections)
            .metric("abstentions", ballot.abstentions)
            .metric("reviews", evidence.reviews.len()))
    }
}

/// Says how many approvals are missing; all may be there when a rejection must be explained first.
fn waits_for(missing: usize) -> String {
    match missing {
        0 => "waits for a rejection to be explained".to_owned(),
        1 => "waits for 1 approval".to_owned(),
        missing => format!("waits for {missing} approvals"),
    }
}

fn check(parameters: &Parameters) -> Result<(), PluginError> {
    let mut problems = Vec::new();
    let names: std::collections::BTreeSet<String> =
        parameters.reviewers.iter().map(|name| name.trim().to_lowercase()).collect();
    if !names.is_empty() && (parameters.approvals as usize) > names.len() {
        let (wanted, have) = (parameters.approvals, names.len());
        let message = format!("{wanted} approvals can never come from {have} reviewers");
        problems.push(ParameterProblem::new("/approvals", message));
    }
    for (index, item) in parameters.checklist.iter().enumerate() {
        if item.trim().is_empty() || item.contains('\n') {
            let message = "expected one line of text".to_owned();
            problems.push(ParameterProblem::new(format!("/checklist/{index}"), message));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(PluginError::InvalidParameters(problems)) }
}

caelum_sdk::export_validator!(ManualReview);
