//! IE03: published ports are claimed, and by nobody else.

use std::collections::BTreeMap;

use caelum_sdk::{Context, Finding};
use serde_json::json;

use crate::IE03;
use crate::declaration;
use crate::facts::{Facts, PublishedPort};
use crate::outcome::Outcome;
use crate::registration::service_type;

/// Marks findings that the declaration answers.
pub(crate) const UNCLAIMED: &str = "infrastructure-enforcement/unclaimed";
/// Marks findings that only a person can answer.
const CONFLICT: &str = "infrastructure-enforcement/conflict";

/// Looks at all published ports.
pub(crate) fn look(facts: &Facts, context: &Context, outcome: &mut Outcome) {
    if facts.ports.is_empty() {
        return;
    }
    outcome.looked(IE03);
    let mut seen: BTreeMap<(String, u16, &str, &str), &PublishedPort> = BTreeMap::new();
    for port in &facts.ports {
        let number = port.port;
        let ip = port.host_ip.as_deref().unwrap_or("0.0.0.0");
        let file =
            port.location.as_ref().map_or_else(String::new, |location| location.path.clone());
        if let Some(first) = seen.insert((file, number, ip, &port.protocol), port) {
            let message = format!(
                "port {number}/{} is published twice, by `{}` and by `{}`",
                port.protocol, first.service, port.service
            );
            let finding = IE03.finding(message).about(format!("{number}/{}/twice", port.protocol));
            outcome.note(
                place(finding.remediation("Publish one of them on another port."), port)
                    .extension(CONFLICT, true),
            );
            continue;
        }
        if let Some(claim) =
            context.port_claim(number).filter(|claim| !is_ours(&claim.service, port, facts))
        {
            let owner = &claim.service;
            let message = format!(
                "port {number} is registered for `{owner}`, and `{}` publishes it",
                port.service
            );
            let finding =
                IE03.finding(message).about(format!("{number}/{}/registered", port.protocol));
            let remediation = match free_port(facts, context, port) {
                Some(free) => format!(
                    "Publish it on a free port, such as {free}, or have the registry changed."
                ),
                None => "Publish it on a free port, or have the registry changed.".to_owned(),
            };
            outcome.note(
                place(finding.remediation(remediation), port).extension(CONFLICT, json!(owner)),
            );
            continue;
        }
        if !declaration::claims(facts, number, &port.protocol) {
            let message = format!(
                "`{}` publishes port {number}, which the component does not claim",
                port.service
            );
            let finding =
                IE03.finding(message).about(format!("{number}/{}/unclaimed", port.protocol));
            let remediation = format!("Claim it in `{}`, as proposed.", declaration::PATH);
            outcome.note(place(finding.remediation(remediation), port).extension(UNCLAIMED, true));
        }
    }
}

fn place(finding: Finding, port: &PublishedPort) -> Finding {
    match &port.location {
        Some(location) => finding.at_location(location.clone()),
        None => finding,
    }
}

/// Whether a claim of the registry is this component's own: by its name, the service's, or that of what it runs.
fn is_ours(owner: &str, port: &PublishedPort, facts: &Facts) -> bool {
    let service = facts.services.iter().find(|service| service.name == port.service);
    let names = [
        Some(facts.name.as_str()),
        Some(port.service.as_str()),
        service.and_then(|service| service.image.as_deref()),
    ];
    let owner = owner.to_lowercase();
    names.into_iter().flatten().any(|name| {
        let name = name.to_lowercase();
        // `postgres` and `postgresql`, `grafana` and `grafana-oss` mean the same.
        owner == name
            || (name.len() >= 4 && owner.starts_with(&name))
            || (owner.len() >= 4 && name.starts_with(&owner))
            || owner.strip_suffix(&name).is_some_and(|rest| name.len() >= 4 && rest.ends_with('-'))
    })
}

/// Returns the first port of the right range that nobody has. Ranges: Caelum port registry.
fn free_port(facts: &Facts, context: &Context, port: &PublishedPort) -> Option<u16> {
    let service = facts.services.iter().find(|service| service.name == port.service);
    let mut range = match service_type(service) {
        "web_ui" => 8091..=8099,
        "mcp_server" => 8100..=8199,
        "analytics" => 8200..=8299,
        _ => 8400..=8999,
    };
    range.find(|candidate| {
        context.port_claim(*candidate).is_none()
            && !facts.ports.iter().any(|known| known.port == *candidate)
    })
}
