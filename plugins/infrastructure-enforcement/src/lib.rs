//! The pattern `infrastructure-enforcement`: a component declares itself, and refuses to start when what it needs is
//! not there (Caelum pattern library, pattern 1).
//!
//! Instead of a document that says what must be so, the component gets a declaration that machines read, start-up
//! checks that can fail, and a test that shows that they do.

mod checklist;
mod declaration;
mod entrypoint;
mod facts;
mod naming;
mod outcome;
mod parameters;
mod ports;
mod preflight;
mod registration;
mod requirements;
mod seed_test;

use caelum_plugin_component::{Inventory, Scope};
use caelum_sdk::{
    About, Applicability, Assessment, Context, Finding, NextStep, Pattern, Plan, PluginError, Rule,
    Severity, Target, assess,
};
use serde_json::json;

pub use parameters::{Kind, Parameters, Requirements};

use facts::Facts;
use outcome::Outcome;

/// Puts a component under enforcement.
#[derive(Debug)]
pub struct InfrastructureEnforcement;

pub(crate) const IE01: Rule = Rule::new(
    "IE01",
    Severity::Blocking,
    "the component declares itself in a form that machines read",
)
.fixable();
pub(crate) const IE02: Rule =
    Rule::new("IE02", Severity::Blocking, "the component has start-up checks that can fail")
        .fixable();
pub(crate) const IE03: Rule =
    Rule::new("IE03", Severity::Blocking, "every published port is claimed, and by nobody else")
        .fixable();
pub(crate) const IE04: Rule = Rule::new("IE04", Severity::Warning, "the service tells its health");
pub(crate) const IE05: Rule =
    Rule::new("IE05", Severity::Warning, "a test shows that the start-up checks can fail")
        .fixable();
pub(crate) const IE06: Rule =
    Rule::new("IE06", Severity::Warning, "published services are registered for discovery")
        .fixable();
pub(crate) const IE07: Rule =
    Rule::new("IE07", Severity::Advice, "the checklist of the pattern is kept and worked off")
        .fixable();

impl Pattern for InfrastructureEnforcement {
    type Parameters = Parameters;

    const ABOUT: About = caelum_sdk::about!(
        "infrastructure-enforcement",
        "Infrastructure enforcement",
        "Puts a component under enforcement instead of documentation: writes a declaration (.caelum/component.json), \
         start-up checks that can fail (.caelum/preflight.sh), a test of them, entries for service discovery and a \
         checklist, derived from its compose files, Dockerfiles and sources. Checks published ports against the \
         registry. Adds files and changes none of the component's own.",
    );

    const RULES: &'static [Rule] = &[IE01, IE02, IE03, IE04, IE05, IE06, IE07];

    const APPLIES_TO: &'static [&'static str] = &[
        "**/{compose,docker-compose,docker-stack}*.{yaml,yml}",
        "**/{Dockerfile,Containerfile}*",
        "**/{pyproject.toml,requirements.txt,package.json,Cargo.toml,go.mod}",
        "**/*.py",
    ];

    fn validate(
        target: &dyn Target,
        parameters: &Parameters,
        context: &Context,
    ) -> Result<Assessment, PluginError> {
        let scope = parameters.scope(Self::RULES)?;
        let inventory = Inventory::read(target)?;
        let facts = Facts::derive(target, &inventory, &scope, parameters, context)?;
        if facts.kinds.is_empty() {
            return Ok(Assessment::not_applicable());
        }
        let outcome = look(target, &inventory, &facts, parameters, &scope, context)?;
        Ok(assessment(&outcome, &scope))
    }

    fn plan(
        target: &dyn Target,
        parameters: &Parameters,
        context: &Context,
    ) -> Result<Plan, PluginError> {
        let scope = parameters.scope(Self::RULES)?;
        let inventory = Inventory::read(target)?;
        let facts = Facts::derive(target, &inventory, &scope, parameters, context)?;
        let findings = assess::<Self>(target, parameters, context)?;
        if facts.kinds.is_empty() {
            return Ok(Plan::new(
                "changes nothing: there is nothing here to put under enforcement",
            ));
        }
        let outcome = look(target, &inventory, &facts, parameters, &scope, context)?;
        let name = &facts.name;
        let mut plan = Plan::new(format!("puts `{name}` under enforcement")).findings_of(&findings);
        for edit in outcome.edits(&findings, &scope, context) {
            plan.edit(edit);
        }
        if plan.is_empty() {
            plan.summary = "changes nothing".to_owned();
        }
        next_steps(&facts, &findings, &mut plan);
        Ok(plan)
    }
}

caelum_sdk::export_pattern!(InfrastructureEnforcement);

/// Looks at everything, and keeps findings together with the changes that answer them.
fn look(
    target: &dyn Target,
    inventory: &Inventory,
    facts: &Facts,
    parameters: &Parameters,
    scope: &Scope,
    context: &Context,
) -> Result<Outcome, PluginError> {
    let mut outcome = Outcome::default();
    ports::look(facts, context, &mut outcome);
    declaration::look(target, facts, &mut outcome)?;
    if facts.is_service {
        preflight::look(target, facts, context, &mut outcome)?;
        entrypoint::look(inventory, parameters, &mut outcome);
        health(inventory, facts, parameters, &mut outcome);
        seed_test::look(target, inventory, facts, &mut outcome)?;
        registration::look(target, facts, &mut outcome)?;
        checklist::look(target, inventory, facts, scope, context, &mut outcome)?;
    }
    Ok(outcome)
}

fn assessment(outcome: &Outcome, scope: &Scope) -> Assessment {
    let mut assessment = Assessment::new();
    for rule in InfrastructureEnforcement::RULES {
        if !outcome.has_looked(rule) {
            assessment.record_skip(rule.id);
            continue;
        }
        let findings: Vec<Finding> =
            outcome.findings(rule).map(|finding| scope.weigh(finding.clone())).collect();
        assessment.record(rule.id, findings);
    }
    let answerable = outcome.answerable(scope);
    assessment.with_applicability(if answerable {
        Applicability::Applicable
    } else {
        Applicability::AlreadyApplied
    })
}

/// IE04: whether a service with code of its own tells its health.
fn health(inventory: &Inventory, facts: &Facts, parameters: &Parameters, outcome: &mut Outcome) {
    if !inventory.routes.declares("") {
        // Without a single route in sight, nothing can be said about one.
        return;
    }
    outcome.looked(IE04);
    let watched = facts.services.iter().any(|service| service.built)
        && facts.services.iter().filter(|service| service.built).all(|service| service.has_check);
    if inventory.routes.health("", &parameters.health_path).is_some() || watched {
        return;
    }
    let path = &parameters.health_path;
    outcome.note(
        IE04.finding(format!("no source speaks of an address that tells the service's health, such as `{path}`"))
            .about("health")
            .remediation(format!(
                "Answer `GET {path}` with 200 and {{\"status\": \"ok\"}} when the service can do its work, and with 503 \
                 and the reason when it cannot."
            )),
    );
}

fn next_steps(facts: &Facts, findings: &Assessment, plan: &mut Plan) {
    for (index, finding) in findings
        .findings_of("IE03")
        .filter(|finding| finding.extensions.contains_key("infrastructure-enforcement/conflict"))
        .enumerate()
    {
        let step = NextStep::new(
            format!("port-{}", index + 1),
            finding.message.clone(),
            finding.remediation.clone().unwrap_or_default(),
        );
        plan.next_step(step.blocking());
    }
    if !facts.is_service {
        return;
    }
    if findings.findings_of("IE04").next().is_some() {
        plan.next_step(
            NextStep::new(
                "tell-health",
                "Have the service tell its health",
                "Answer an address with the service's health, give the step a probe of it \
                 (`{\"name\": \"health\", \"kind\": \"http\", \"url\": …}`), and let startup-validation judge it.",
            )
            .judged_by("startup-validation", json!({"required": ["health"]})),
        );
    }
    if !plan.is_empty() {
        plan.next_step(
            NextStep::new(
                "run-preflight",
                "Run the start-up checks where the component starts",
                "Call `sh .caelum/preflight.sh` before the component is started: in the unit (ExecStartPre), the CI job, \
                 the Makefile, or as the image's entry point (parameter `entrypoint_wrap`). It ends with 0 only when \
                 everything is there.",
            )
            .judged_by("command-succeeded", json!({})),
        );
    }
}
