//! The pattern `health-check`: services have health checks that work, and others wait for them (Caelum pattern
//! library, pattern 10).
//!
//! Every rule makes its findings together with the change that would answer them (`Proposal`); `validate` shows the
//! findings, `plan` the changes. Compose files and manifests are spliced, never written anew.

mod compose;
mod docker;
mod known_images;
mod kubernetes;
mod parameters;
mod proposal;
mod test_command;
mod tools;
mod waiting;

use caelum_plugin_component::{Inventory, Scope, at_position};
use caelum_sdk::{
    About, Applicability, Assessment, Context, Finding, NextStep, Pattern, Plan, PluginError, Rule,
    Severity, Target, assess,
};

pub use parameters::{Parameters, TargetKind, Tool};

use proposal::{Proposal, Proposals};

/// Gives services health checks.
#[derive(Debug)]
pub struct HealthCheck;

pub(crate) const HC01: Rule =
    Rule::new("HC01", Severity::Blocking, "a service that others wait for has a health check")
        .fixable();
pub(crate) const HC02: Rule =
    Rule::new("HC02", Severity::Blocking, "a health check uses tools and addresses that are there")
        .fixable();
pub(crate) const HC03: Rule =
    Rule::new("HC03", Severity::Warning, "a service that keeps running is watched by a probe")
        .fixable();
pub(crate) const HC04: Rule = Rule::new(
    "HC04",
    Severity::Warning,
    "being alive does not depend on other services: a liveness probe asks the process alone",
);
pub(crate) const HC05: Rule = Rule::new(
    "HC05",
    Severity::Warning,
    "a health check says how often, how long and how many times",
)
.fixable();
pub(crate) const HC06: Rule =
    Rule::new("HC06", Severity::Warning, "a dependency says what is waited for").fixable();
pub(crate) const HC00: Rule =
    Rule::new("HC00", Severity::Warning, "the files that describe services can be read");

impl Pattern for HealthCheck {
    type Parameters = Parameters;

    const ABOUT: About = caelum_sdk::about!(
        "health-check",
        "Health checks",
        "Finds services without a working health check in compose files, Kubernetes manifests and Dockerfiles, and adds \
         checks that fit the image: of databases and proxies their own, of built services one over HTTP or TCP with a \
         tool that the image has. Changes of what already waits or probes need review.",
    );

    const RULES: &'static [Rule] = &[HC00, HC01, HC02, HC03, HC04, HC05, HC06];

    const APPLIES_TO: &'static [&'static str] = &[
        "**/{compose,docker-compose,docker-stack}*.{yaml,yml}",
        "**/{Dockerfile,Containerfile}*",
        "**/*.{yaml,yml}",
    ];

    fn validate(
        target: &dyn Target,
        parameters: &Parameters,
        context: &Context,
    ) -> Result<Assessment, PluginError> {
        let inventory = Inventory::read(target)?;
        let scope = parameters.scope(Self::RULES)?;
        let proposals = proposals(&inventory, parameters, &scope, context);
        Ok(assessment(&proposals, &scope))
    }

    fn plan(
        target: &dyn Target,
        parameters: &Parameters,
        context: &Context,
    ) -> Result<Plan, PluginError> {
        let inventory = Inventory::read(target)?;
        let scope = parameters.scope(Self::RULES)?;
        let proposals = proposals(&inventory, parameters, &scope, context);
        let findings = assess::<Self>(target, parameters, context)?;
        Ok(plan(&proposals, &findings, &scope, context))
    }
}

caelum_sdk::export_pattern!(HealthCheck);

fn proposals(
    inventory: &Inventory,
    parameters: &Parameters,
    scope: &Scope,
    context: &Context,
) -> Proposals {
    let mut proposals = Proposals::default();
    for unreadable in
        inventory.unreadable.iter().filter(|unreadable| scope.includes(&unreadable.path))
    {
        let mut finding = HC00
            .finding(format!("the file cannot be read: {}", unreadable.message))
            .about("syntax")
            .remediation("Mend the syntax; nothing in this file was looked at.");
        finding = match unreadable.position {
            Some(position) => finding.at_location(at_position(&unreadable.path, position)),
            None => finding.at(&unreadable.path),
        };
        proposals.looked(HC00);
        proposals.push(Proposal::finding(finding));
    }
    if parameters.covers(TargetKind::Compose) {
        for (path, document) in &inventory.compose {
            if scope.includes(path) {
                proposals.looked(HC00);
                compose::look(
                    inventory,
                    path,
                    document,
                    parameters,
                    context,
                    scope,
                    &mut proposals,
                );
            }
        }
    }
    if parameters.covers(TargetKind::K8s) {
        for (path, document) in &inventory.manifests {
            if scope.includes(path) {
                kubernetes::look(path, document, parameters, &mut proposals);
            }
        }
    }
    if parameters.covers(TargetKind::Dockerfile)
        && inventory.compose.is_empty()
        && inventory.manifests.is_empty()
    {
        for (path, docker) in &inventory.dockerfiles {
            if scope.includes(path) {
                docker::look(inventory, path, docker, parameters, &mut proposals);
            }
        }
    }
    proposals
}

fn assessment(proposals: &Proposals, scope: &Scope) -> Assessment {
    if proposals.is_empty() {
        return Assessment::not_applicable();
    }
    let mut assessment = Assessment::new();
    for rule in HealthCheck::RULES {
        if !proposals.has_looked(rule) {
            assessment.record_skip(rule.id);
            continue;
        }
        let findings = proposals.of(rule).map(|proposal| scope.weigh(proposal.finding.clone()));
        assessment.record(rule.id, findings.collect::<Vec<Finding>>());
    }
    let answerable = HealthCheck::RULES.iter().any(|rule| {
        proposals.of(rule).any(|proposal| {
            proposal.change.is_some() && !scope.accepts(rule.id, proposal.finding.path())
        })
    });
    assessment.with_applicability(match answerable {
        true => Applicability::Applicable,
        false => Applicability::AlreadyApplied,
    })
}

/// Turns the proposals whose findings are wanted into edits, sorted as the contract asks.
fn plan(proposals: &Proposals, findings: &Assessment, scope: &Scope, context: &Context) -> Plan {
    let mut edits = Vec::new();
    let mut steps: Vec<NextStep> = Vec::new();
    for rule in HealthCheck::RULES.iter().filter(|rule| context.wants(rule.id)) {
        // The findings of the assessment carry their numbers among equals, in the order of the proposals.
        let weighed =
            proposals.of(rule).map(|proposal| (proposal, scope.weigh(proposal.finding.clone())));
        let mut settled = findings.findings_of(rule.id).collect::<Vec<_>>();
        for (proposal, finding) in weighed {
            let Some(at) = settled.iter().position(|known| {
                known.message == finding.message && known.location == finding.location
            }) else {
                continue;
            };
            let finding = settled.remove(at);
            if scope.accepts(rule.id, finding.path()) {
                continue;
            }
            if let Some(change) = &proposal.change {
                edits.push((change.order(), change.edit(finding)));
            } else if finding.severity == Severity::Blocking && steps.len() < 20 {
                steps.push(next_step(finding, steps.len()));
            }
        }
    }
    edits.sort_by(|left, right| left.0.cmp(&right.0));
    let mut plan = Plan::new(match edits.len() {
        0 => "changes nothing".to_owned(),
        1 => "makes one change to how services are watched".to_owned(),
        count => format!("makes {count} changes to how services are watched"),
    })
    .findings_of(findings);
    let added = edits.iter().any(|(_, edit)| edit.risk == caelum_sdk::Risk::Safe);
    for (_, edit) in edits {
        plan.edit(edit);
    }
    plan.next_steps = steps;
    if added {
        plan.next_step(NextStep::new(
            "watch-them-start",
            "See the checks pass",
            "Start the services with `docker compose up --wait`: it ends with 0 once every health check has passed. \
             Where a service needs longer to start, raise `start_period`.",
        ));
    }
    plan
}

fn next_step(finding: &Finding, number: usize) -> NextStep {
    let place =
        finding.location.as_ref().map_or_else(String::new, |location| match location.line {
            Some(line) => format!(" ({}:{line})", location.path),
            None => format!(" ({})", location.path),
        });
    let how = finding.remediation.as_deref().unwrap_or("Mend it by hand.");
    NextStep::new(
        format!("{}-{}", finding.rule.to_lowercase(), number + 1),
        format!("{}{place}", finding.message),
        how,
    )
    .blocking()
}
