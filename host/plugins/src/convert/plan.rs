//! The plan of a pattern. Paths, overlaps and sizes are checked by the core, which knows the rules of plans.

use caelum_core::id::Digest;
use caelum_core::pattern::{
    Change, Edit, NextStep, Ownership, Plan, PlanLimits, Replacement, Risk, check_plan,
};
use caelum_core::plugin::HostReason;

use crate::bindings::pattern_export as guest;
use crate::text;

use super::finding::findings;
use super::{Breaches, count, extensions, is_word, json_object};

/// Converts what a pattern would change.
///
/// # Errors
///
/// [`HostReason::OutputTooLarge`] for too many edits, findings or next steps or too much text,
/// [`HostReason::Contract`] with all breaches.
pub(crate) fn plan(given: guest::ChangePlan, limits: PlanLimits) -> Result<Plan, HostReason> {
    let most = limits.findings_max as u64;
    count("edits", given.edits.len(), limits.edits_max as u64)?;
    count("findings", given.findings.len(), most)?;
    count("next steps", given.next_steps.len(), most)?;
    let bytes: u64 = given.edits.iter().map(|edit| bytes_of(&edit.change)).sum();
    if bytes > limits.bytes_max {
        return Err(HostReason::OutputTooLarge {
            message: format!(
                "returned a plan with {bytes} bytes of new text; at most {} are allowed",
                limits.bytes_max
            ),
        });
    }
    let mut breaches = Breaches::default();
    let edits = given
        .edits
        .into_iter()
        .enumerate()
        .filter_map(|(index, given)| edit(index, given, &mut breaches))
        .collect();
    let next_steps = given
        .next_steps
        .into_iter()
        .enumerate()
        .map(|(index, given)| next_step(index, given, &mut breaches))
        .collect();
    let findings = findings(given.findings, &mut breaches);
    extensions(given.extensions, "the plan", &mut breaches);
    let plan = Plan { summary: text::line(&given.summary), edits, next_steps, findings };
    for problem in check_plan(&plan, limits) {
        breaches.add(text::line(&problem.to_string()));
    }
    breaches.finish(plan)
}

fn bytes_of(change: &guest::Change) -> u64 {
    match change {
        guest::Change::Create(create) => match &create.content {
            guest::Content::Text(text) => text.len() as u64,
            guest::Content::Bytes(bytes) => bytes.len() as u64,
        },
        guest::Change::Replace(replace) => {
            replace.ranges.iter().map(|range| range.text.len() as u64).sum()
        }
        guest::Change::Delete(_) | guest::Change::Rename(_) => 0,
    }
}

fn edit(index: usize, given: guest::Edit, breaches: &mut Breaches) -> Option<Edit> {
    let mut base = |text: &str| -> Option<Digest> {
        text.parse()
            .map_err(|_| {
                breaches.add(format!(
                    "edit {index} has the `base-sha256` `{}`; expected 64 lower-case hexadecimal digits",
                    text::line(text)
                ));
            })
            .ok()
    };
    let change = match given.change {
        guest::Change::Create(create) => Change::Create {
            path: create.path,
            content: match create.content {
                guest::Content::Text(text) => text.into_bytes(),
                guest::Content::Bytes(bytes) => bytes,
            },
        },
        guest::Change::Replace(replace) => Change::Replace {
            base_sha256: base(&replace.base_sha256)?,
            path: replace.path,
            ranges: replace
                .ranges
                .into_iter()
                .map(|range| Replacement { start: range.start, end: range.end, text: range.text })
                .collect(),
        },
        guest::Change::Delete(delete) => {
            Change::Delete { base_sha256: base(&delete.base_sha256)?, path: delete.path }
        }
        guest::Change::Rename(rename) => Change::Rename {
            base_sha256: base(&rename.base_sha256)?,
            source: rename.source,
            destination: rename.destination,
        },
    };
    for fingerprint in &given.resolves {
        if !is_word(fingerprint, 128, "-_:.") {
            breaches.add(format!(
                "edit {index} resolves `{}`, which is no fingerprint",
                text::line(fingerprint)
            ));
        }
    }
    Some(Edit {
        change,
        ownership: match given.ownership {
            guest::Ownership::Managed => Ownership::Managed,
            guest::Ownership::Block => Ownership::Block,
            guest::Ownership::Seed => Ownership::Seed,
        },
        risk: match given.risk {
            guest::Risk::Safe => Risk::Safe,
            guest::Risk::Review => Risk::Review,
        },
        resolves: given.resolves,
        rationale: text::paragraph(&given.rationale),
    })
}

fn next_step(index: usize, given: guest::NextStep, breaches: &mut Breaches) -> NextStep {
    if !is_word(&given.id, 64, "-_.") {
        breaches.add(format!(
            "next step {index} has the id `{}`; an id is 1 to 64 letters, digits, `-`, `_` and `.`",
            text::line(&given.id)
        ));
    }
    let what = format!("the validator parameters of next step {index}");
    NextStep {
        id: text::line(&given.id),
        title: text::line(&given.title),
        instructions: text::paragraph(&given.instructions),
        blocking: given.blocking,
        validator: given.validator.map(|name| text::line(&name)),
        validator_parameters: given
            .validator_parameters
            .and_then(|parameters| json_object(&parameters, &what, breaches)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(path: &str, text: &str) -> guest::Change {
        guest::Change::Create(guest::CreateFile {
            path: path.to_owned(),
            content: guest::Content::Text(text.to_owned()),
        })
    }

    fn guest_plan(changes: Vec<guest::Change>) -> guest::ChangePlan {
        guest::ChangePlan {
            summary: "adds \u{1b}[1mthings".to_owned(),
            edits: changes
                .into_iter()
                .map(|change| guest::Edit {
                    change,
                    ownership: guest::Ownership::Seed,
                    risk: guest::Risk::Safe,
                    resolves: vec![],
                    rationale: "because".to_owned(),
                })
                .collect(),
            next_steps: vec![],
            findings: vec![],
            extensions: vec![],
        }
    }

    #[test]
    fn the_bytes_of_a_file_are_never_touched() {
        let text = "\u{1b}[31m\u{202e}\u{feff}as it stands\r\n";

        let answer =
            plan(guest_plan(vec![create("a", text)]), PlanLimits::default()).expect("good");

        let Change::Create { content, .. } = &answer.edits[0].change else { panic!("a file") };
        assert_eq!(content, text.as_bytes());
        assert_eq!(answer.summary, "adds things");
    }

    #[test]
    fn every_breach_of_a_plan_is_named() {
        let delete = guest::Change::Delete(guest::DeleteFile {
            path: "b".to_owned(),
            base_sha256: "ABC".to_owned(),
        });

        let error = plan(guest_plan(vec![create("../a", ""), delete]), PlanLimits::default())
            .expect_err("two");

        assert_eq!(
            error.to_string(),
            "broke the contract: edit 1 has the `base-sha256` `ABC`; expected 64 lower-case hexadecimal digits; \
             edit 0: `../a` leaves the component through `..`"
        );
    }

    #[test]
    fn the_last_byte_that_fits_is_accepted_and_the_next_is_not() {
        let limits = PlanLimits { bytes_max: 4, ..PlanLimits::default() };

        assert!(plan(guest_plan(vec![create("a", "12"), create("b", "34")]), limits).is_ok());
        assert_eq!(
            plan(guest_plan(vec![create("a", "12"), create("b", "345")]), limits)
                .expect_err("one more")
                .to_string(),
            "returned a plan with 5 bytes of new text; at most 4 are allowed"
        );
    }

    #[test]
    fn one_edit_too_many_is_refused() {
        let limits = PlanLimits { edits_max: 1, ..PlanLimits::default() };

        assert_eq!(
            plan(guest_plan(vec![create("a", ""), create("b", "")]), limits)
                .expect_err("two")
                .to_string(),
            "returned 2 edits; at most 1 are allowed"
        );
    }
}
