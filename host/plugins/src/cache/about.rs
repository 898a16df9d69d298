//! The form in which a description lies in the cache: a twin of the core's type, with a version.

use caelum_core::finding::Severity;
use caelum_core::id::Digest;
use caelum_core::plugin::{Description, Phase, PluginKind, Rule};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::About;

/// Raised when a field is added or what is checked at loading changes: older entries are then made again.
const VERSION: u32 = 2;

#[derive(Serialize, Deserialize)]
struct StoredAbout {
    version: u32,
    kind: PluginKind,
    essence: Digest,
    name: String,
    plugin_version: String,
    title: String,
    summary: String,
    parameters_schema: Value,
    rules: Vec<StoredRule>,
    applies_to: Vec<String>,
    phases: Vec<Phase>,
    evidence_formats: Vec<String>,
    licence: Option<String>,
    homepage: Option<String>,
    authors: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredRule {
    id: String,
    title: String,
    severity: Severity,
    fixable: bool,
    remediation: Option<String>,
}

pub(super) fn render(about: &About) -> String {
    let description = &about.description;
    let stored = StoredAbout {
        version: VERSION,
        kind: about.kind,
        essence: about.essence.clone(),
        name: description.name.to_string(),
        plugin_version: description.version.clone(),
        title: description.title.clone(),
        summary: description.summary.clone(),
        parameters_schema: description.parameters_schema.clone(),
        rules: description
            .rules
            .iter()
            .map(|rule| StoredRule {
                id: rule.id.clone(),
                title: rule.title.clone(),
                severity: rule.severity,
                fixable: rule.fixable,
                remediation: rule.remediation.clone(),
            })
            .collect(),
        applies_to: description.applies_to.clone(),
        phases: description.phases.clone(),
        evidence_formats: description.evidence_formats.clone(),
        licence: description.licence.clone(),
        homepage: description.homepage.clone(),
        authors: description.authors.clone(),
    };
    serde_json::to_string(&stored).expect("plain data always becomes JSON")
}

/// Returns nothing for an entry of another version.
pub(super) fn parse(json: &str) -> Option<About> {
    let stored: StoredAbout = serde_json::from_str(json).ok()?;
    if stored.version != VERSION {
        return None;
    }
    Some(About {
        kind: stored.kind,
        essence: stored.essence,
        description: Description {
            name: stored.name.parse().ok()?,
            version: stored.plugin_version,
            title: stored.title,
            summary: stored.summary,
            parameters_schema: stored.parameters_schema,
            rules: stored
                .rules
                .into_iter()
                .map(|rule| Rule {
                    id: rule.id,
                    title: rule.title,
                    severity: rule.severity,
                    fixable: rule.fixable,
                    remediation: rule.remediation,
                })
                .collect(),
            applies_to: stored.applies_to,
            phases: stored.phases,
            evidence_formats: stored.evidence_formats,
            licence: stored.licence,
            homepage: stored.homepage,
            authors: stored.authors,
        },
    })
}
