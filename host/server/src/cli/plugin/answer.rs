//! What a plugin answered, as JSON: what golden files hold and what `--json` prints. Nothing here changes from one run
//! to the next: no times, no places of this machine.

use caelum_components::StagedPlan;
use caelum_core::evidence::Verdict;
use caelum_core::finding::Finding;
use caelum_core::pattern::{Assessment, Change, Plan};
use caelum_core::plugin::PluginFailure;
use serde_json::{Map, Value, json};

/// Returns a verdict as JSON.
pub(super) fn verdict(verdict: &Verdict) -> Value {
    let reasons: Vec<Value> = verdict
        .reasons
        .iter()
        .map(|reason| {
            object([
                ("code", Some(json!(reason.code))),
                ("message", Some(json!(reason.message))),
                ("path", reason.path.as_ref().map(|path| json!(path))),
                ("line", reason.line.map(|line| json!(line))),
            ])
        })
        .collect();
    object([
        ("kind", Some(json!(verdict.kind.as_str()))),
        ("summary", Some(json!(verdict.summary))),
        ("reasons", Some(Value::Array(reasons))),
        ("metrics", Some(verdict.metrics.clone())),
        ("findings", some_list(findings(&verdict.findings))),
    ])
}

/// Returns an assessment as JSON.
pub(super) fn assessment(assessment: &Assessment) -> Value {
    object([
        ("applicability", serde_json::to_value(assessment.applicability).ok()),
        ("findings", Some(Value::Array(findings(&assessment.findings)))),
        ("passed_rules", Some(json!(assessment.passed_rules))),
        ("not_applicable_rules", Some(json!(assessment.not_applicable_rules))),
    ])
}

/// Returns a plan and what it does to the files as JSON. The bytes are in the diff, one line a string, so that a
/// change of a golden file can be read.
pub(super) fn plan(plan: &Plan, staged: &StagedPlan) -> Value {
    let edits: Vec<Value> = plan
        .edits
        .iter()
        .map(|edit| {
            let (change, destination) = match &edit.change {
                Change::Create { .. } => ("create", None),
                Change::Replace { .. } => ("replace", None),
                Change::Delete { .. } => ("delete", None),
                Change::Rename { destination, .. } => ("rename", Some(json!(destination))),
            };
            object([
                ("change", Some(json!(change))),
                ("path", Some(json!(edit.change.paths()[0]))),
                ("destination", destination),
                ("ownership", serde_json::to_value(edit.ownership).ok()),
                ("risk", serde_json::to_value(edit.risk).ok()),
                ("rationale", Some(json!(edit.rationale))),
                ("resolves", Some(json!(edit.resolves))),
            ])
        })
        .collect();
    let diff: Vec<Value> = staged.diff().text.lines().map(|line| json!(line)).collect();
    object([
        ("summary", Some(json!(plan.summary))),
        ("edits", Some(Value::Array(edits))),
        ("next_steps", some_list(plan.next_steps.iter().map(|step| json!(step)).collect())),
        ("diff", Some(Value::Array(diff))),
    ])
}

/// Returns why there is no answer as JSON.
pub(super) fn failure(failure: &PluginFailure) -> Value {
    let (kind, message) = match failure {
        PluginFailure::InvalidParameters(problems) => {
            let problems: Vec<Value> = problems
                .iter()
                .map(|problem| json!({"pointer": problem.pointer, "message": problem.message}))
                .collect();
            return json!({"kind": "invalid_parameters", "problems": problems});
        }
        PluginFailure::NotApplicable(message) => ("not_applicable", message.clone()),
        PluginFailure::Own(message) => ("plugin", message.clone()),
        PluginFailure::Host(reason) => {
            let reason = serde_json::to_value(reason).unwrap_or_default();
            return json!({"kind": "host", "reason": reason["reason"], "message": failure.to_string()});
        }
    };
    json!({"kind": kind, "message": message})
}

fn findings(findings: &[Finding]) -> Vec<Value> {
    let shown = findings.iter().map(|finding| {
        let extensions = finding.extensions.iter().map(|(name, value)| {
            (name.clone(), serde_json::from_str(value).unwrap_or_else(|_| json!(value)))
        });
        let extensions: Map<String, Value> = extensions.collect();
        object([
            ("rule", Some(json!(finding.rule))),
            ("severity", Some(json!(finding.severity.as_str()))),
            ("message", Some(json!(finding.message))),
            ("place", finding.place().map(|place| json!(place))),
            ("remediation", finding.remediation.as_ref().map(|text| json!(text))),
            ("fingerprint", Some(json!(finding.fingerprint))),
            ("extensions", (!extensions.is_empty()).then_some(Value::Object(extensions))),
        ])
    });
    shown.collect()
}

fn some_list(list: Vec<Value>) -> Option<Value> {
    (!list.is_empty()).then_some(Value::Array(list))
}

/// Makes an object of what is there, in this order.
fn object<const COUNT: usize>(members: [(&str, Option<Value>); COUNT]) -> Value {
    let members = members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(members.collect())
}
