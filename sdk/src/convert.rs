//! Between the generated types and the ones authors see. The only module that knows both; it decides nothing, except
//! that lists are sorted and bounded as the contract asks.

pub(crate) mod pattern;
pub(crate) mod validator;

use serde_json::Value;

use crate::about::About;
use crate::bindings::pattern::caelum::plugin::types as wit;
use crate::error::PluginError;
use crate::finding::{Extensions, Finding, Location, Severity};

/// How many findings, reasons and edits an answer may hold. The contract's limit; the host refuses more.
pub(crate) const LIST_MAX: usize = 1_000;

/// The extension that says how many findings were left out.
const OMITTED: &str = "findings-omitted";

pub(crate) fn description(about: &About, schema: &Value) -> wit::Description {
    let mut extensions = Vec::new();
    if !about.licence.is_empty() {
        extensions.push(("licence".to_owned(), Value::from(about.licence).to_string()));
    }
    wit::Description {
        id: about.id.to_owned(),
        version: about.version.to_owned(),
        title: about.title.to_owned(),
        summary: about.summary.to_owned(),
        parameters_schema: schema.to_string(),
        extensions,
    }
}

pub(crate) fn severity(severity: Severity) -> wit::Severity {
    match severity {
        Severity::Advice => wit::Severity::Advice,
        Severity::Warning => wit::Severity::Warning,
        Severity::Blocking => wit::Severity::Blocking,
    }
}

fn location(location: Location) -> wit::Location {
    wit::Location {
        path: location.path,
        line: location.line,
        column: location.column,
        end_line: location.end_line,
        end_column: location.end_column,
    }
}

fn finding(finding: Finding) -> wit::Finding {
    let fingerprint = finding.fingerprint();
    wit::Finding {
        rule: finding.rule,
        severity: severity(finding.severity),
        message: finding.message,
        location: finding.location.map(location),
        remediation: finding.remediation,
        fingerprint,
        extensions: extensions(finding.extensions),
    }
}

/// Keeps the findings that matter most when there are more than an answer may hold, and records how many were left
/// out. The order stays.
pub(crate) fn findings(mut findings: Vec<Finding>, facts: &mut Extensions) -> Vec<wit::Finding> {
    let omitted = findings.len().saturating_sub(LIST_MAX);
    if omitted > 0 {
        let mut order: Vec<usize> = (0..findings.len()).collect();
        // Stable: among equally important ones, the first stay.
        order.sort_by_key(|index| std::cmp::Reverse(findings[*index].severity));
        let mut kept = vec![false; findings.len()];
        order.into_iter().take(LIST_MAX).for_each(|index| kept[index] = true);
        let mut kept = kept.into_iter();
        findings.retain(|_| kept.next().unwrap_or(false));
        facts.insert(OMITTED.to_owned(), omitted.into());
    }
    findings.into_iter().map(finding).collect()
}

pub(crate) fn extensions(extensions: Extensions) -> Vec<(String, String)> {
    extensions.into_iter().map(|(name, value)| (name, value.to_string())).collect()
}

/// Reads a JSON document of the host's.
pub(crate) fn host_json(json: &str, what: &str) -> Result<Value, PluginError> {
    serde_json::from_str(json)
        .map_err(|error| PluginError::Host(format!("{what} is not JSON: {error}")))
}

pub(crate) fn error(error: PluginError) -> wit::PluginError {
    match error {
        PluginError::InvalidParameters(problems) => wit::PluginError::InvalidParameters(
            problems
                .into_iter()
                .map(|problem| wit::ParameterProblem {
                    pointer: problem.pointer,
                    message: problem.message,
                })
                .collect(),
        ),
        PluginError::NotApplicable(why) => wit::PluginError::NotApplicable(why),
        PluginError::Host(what) => wit::PluginError::Host(what),
        PluginError::Other(message) => wit::PluginError::Other(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_findings_lose_the_least_important_ones() {
        let mut all: Vec<_> =
            (0..LIST_MAX).map(|n| Finding::new("A", Severity::Advice, n.to_string())).collect();
        all.push(Finding::new("B", Severity::Blocking, "last"));
        let mut facts = Extensions::new();

        let kept = findings(all, &mut facts);

        assert_eq!(kept.len(), LIST_MAX);
        assert_eq!(kept.last().expect("kept").message, "last");
        assert!(!kept.iter().any(|finding| finding.message == "999"));
        assert_eq!(facts["findings-omitted"], 1);
    }

    #[test]
    fn a_thousand_findings_are_all_kept() {
        let all =
            (0..LIST_MAX).map(|n| Finding::new("A", Severity::Advice, n.to_string())).collect();
        let mut facts = Extensions::new();

        assert_eq!(findings(all, &mut facts).len(), LIST_MAX);
        assert!(facts.is_empty());
    }
}
