//! Answers as JSON, with everything in them that a caller can see.

use caelum_core::evidence::Verdict;
use caelum_core::finding::Finding;
use caelum_core::pattern::{Assessment, Change, Edit, Plan};
use caelum_core::plugin::Description;
use serde_json::{Value, json};

/// Shows a verdict.
pub(crate) fn verdict(verdict: Verdict) -> Value {
    serde_json::to_value(verdict).expect("a verdict is data")
}

/// Shows an assessment.
pub(crate) fn assessment(assessment: Assessment) -> Value {
    json!({
        "applicability": assessment.applicability,
        "findings": findings(&assessment.findings),
        "passed_rules": assessment.passed_rules,
        "not_applicable_rules": assessment.not_applicable_rules,
    })
}

/// Shows a plan.
pub(crate) fn plan(plan: Plan) -> Value {
    json!({
        "summary": plan.summary,
        "edits": plan.edits.iter().map(edit).collect::<Vec<_>>(),
        "next_steps": plan.next_steps,
        "findings": findings(&plan.findings),
    })
}

/// Shows what a plugin says about itself.
pub(crate) fn description(description: &Description) -> Value {
    json!({
        "name": description.name.as_str(),
        "version": description.version,
        "title": description.title,
        "summary": description.summary,
        "parameters_schema": description.parameters_schema,
        "applies_to": description.applies_to,
        "phases": description.phases,
        "evidence_formats": description.evidence_formats,
        "rules": description.rules.iter().map(|rule| json!({
            "id": rule.id,
            "title": rule.title,
            "severity": rule.severity,
            "fixable": rule.fixable,
            "remediation": rule.remediation,
        })).collect::<Vec<_>>(),
    })
}

fn findings(findings: &[Finding]) -> Value {
    serde_json::to_value(findings).expect("findings are data")
}

fn edit(edit: &Edit) -> Value {
    let change = match &edit.change {
        Change::Create { path, content } => {
            json!({"create": path, "content": String::from_utf8_lossy(content)})
        }
        Change::Replace { path, base_sha256, ranges } => {
            json!({"replace": path, "base_sha256": base_sha256, "ranges": ranges})
        }
        Change::Delete { path, base_sha256 } => {
            json!({"delete": path, "base_sha256": base_sha256})
        }
        Change::Rename { source, destination, base_sha256 } => {
            json!({"rename": source, "to": destination, "base_sha256": base_sha256})
        }
    };
    json!({
        "change": change,
        "ownership": edit.ownership,
        "risk": edit.risk,
        "resolves": edit.resolves,
        "rationale": edit.rationale,
    })
}
