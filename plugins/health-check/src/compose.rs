//! The rules in compose files.

use std::collections::{BTreeMap, BTreeSet};

use caelum_plugin_component::{
    Document, Inventory, Scope, at_node, built_stage, service_dockerfile, service_tools,
};
use caelum_plugin_syntax::compose::{
    ComposeFile, Condition, HealthcheckTest, Service, duration_text, is_primary_name,
};
use caelum_plugin_syntax::yaml::Kind;
use caelum_plugin_syntax::yaml::insert::{Fragment, new_entries, new_entry};
use caelum_sdk::{Context, Finding, Severity};

use crate::known_images::{Knowledge, knowledge};
use crate::parameters::Parameters;
use crate::proposal::{Change, Proposal, Proposals};
use crate::test_command::{Question, TestCommand, check};
use crate::{HC01, HC03, HC04, HC05, tools, waiting};

/// Milliseconds between two checks of a service that others wait for, at most.
const AWAITED_INTERVAL_MS: u64 = 10_000;
/// What Docker takes where nothing is said: `docker run --health-…`.
const DOCKER_INTERVAL_MS: u64 = 30_000;
const DOCKER_RETRIES: u64 = 3;

/// Where the health of a service is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// By a health check, of the service or of its image.
    Watched,
    /// By none, because somebody switched it off.
    SwitchedOff,
    /// By none.
    Unwatched,
    /// It cannot be told: the image may bring a health check.
    Unknown,
}

/// What a file says of the services that others of its directory add to.
pub(crate) struct View<'v> {
    pub(crate) inventory: &'v Inventory,
    pub(crate) path: &'v str,
    pub(crate) document: &'v Document,
    pub(crate) compose: ComposeFile<'v>,
    pub(crate) parameters: &'v Parameters,
    /// Whether the plan at hand will add the checks that are proposed.
    pub(crate) adds_checks: bool,
}

/// Looks at a compose file.
pub(crate) fn look(
    inventory: &Inventory,
    path: &str,
    document: &Document,
    parameters: &Parameters,
    context: &Context,
    scope: &Scope,
    proposals: &mut Proposals,
) {
    let Some(compose) = ComposeFile::read(&document.yaml) else { return };
    let accepted = [HC01, HC03].iter().any(|rule| scope.accepts(rule.id, Some(path)));
    let adds_checks = context.wants(HC03.id) && context.wants(HC01.id) && !accepted;
    let mut adding = BTreeSet::new();
    let view = View { inventory, path, document, compose, parameters, adds_checks };
    let services = view.compose.services();
    let awaited = awaited(&services);
    for service in &services {
        if service.image_text().is_none() && service.build().is_none() {
            // It only adds to a service of another file.
            continue;
        }
        if view.has_check_elsewhere(service) {
            continue;
        }
        if view.presence(service, awaited.get(service.name()).copied(), proposals) && !accepted {
            adding.insert(service.name().to_owned());
        }
        if let Some(check) = service.healthcheck() {
            tools::look(&view, service, &check, proposals);
            view.timing(service, &check, proposals);
            view.independence(service, &check, &services, proposals);
        }
    }
    waiting::look(&view, &services, &adding, proposals);
}

/// Returns what others wait for in each service: the strongest condition.
fn awaited(services: &[Service<'_>]) -> BTreeMap<String, Condition> {
    let mut awaited = BTreeMap::new();
    for service in services {
        for dependency in service.depends_on() {
            let condition = dependency.condition.unwrap_or(Condition::Started);
            let entry = awaited.entry(dependency.service).or_insert(condition);
            let stronger = matches!(condition, Condition::Healthy)
                || (matches!(condition, Condition::Completed)
                    && !matches!(entry, Condition::Healthy));
            if stronger {
                *entry = condition;
            }
        }
    }
    awaited
}

impl View<'_> {
    /// Answers whether the main file of the same directory gives the service of this name its check.
    fn has_check_elsewhere(&self, service: &Service<'_>) -> bool {
        if is_primary_name(self.path) || service.get("healthcheck").is_some() {
            return false;
        }
        let directory = self.path.rsplit_once('/').map_or("", |(directory, _)| directory);
        self.inventory.compose.iter().any(|(path, document)| {
            let same = path.rsplit_once('/').map_or("", |(directory, _)| directory) == directory;
            let check = |compose: ComposeFile<'_>| {
                compose.service(service.name())?.healthcheck().map(|_| ())
            };
            same && is_primary_name(path)
                && ComposeFile::read(&document.yaml).and_then(check).is_some()
        })
    }

    /// Tells where the health of a service is asked for.
    pub(crate) fn watch(&self, service: &Service<'_>) -> Watch {
        match service.healthcheck().map(|check| check.test) {
            Some(HealthcheckTest::Off) => return Watch::SwitchedOff,
            Some(HealthcheckTest::Inherited) | None => {}
            Some(_) => return Watch::Watched,
        }
        if service.is_open() {
            return Watch::Unknown;
        }
        if service.build().is_some() {
            let Some((docker, _)) = service_dockerfile(self.inventory, self.path, service) else {
                return Watch::Unknown;
            };
            let Some(stage) = built_stage(docker, service) else { return Watch::Unknown };
            let own = docker.dockerfile.inherited(stage, "HEALTHCHECK");
            return match own.first() {
                Some(instruction) if instruction.arguments.trim().eq_ignore_ascii_case("none") => {
                    Watch::SwitchedOff
                }
                Some(_) => Watch::Watched,
                None => match docker.dockerfile.base_image(stage) {
                    // Bases that are known bring no health check.
                    Some(_) if tools_known(self, service) => Watch::Unwatched,
                    _ => Watch::Unknown,
                },
            };
        }
        match service.image().map(|image| knowledge(&image, None, "")) {
            Some(Knowledge::BringsOne) => Watch::Watched,
            Some(Knowledge::Check(_) | Knowledge::NoCheck) => Watch::Unwatched,
            Some(Knowledge::Nothing) | None => Watch::Unknown,
        }
    }

    /// HC01 and HC03: whether there is a check at all. Answers whether one is proposed.
    fn presence(
        &self,
        service: &Service<'_>,
        awaited: Option<Condition>,
        proposals: &mut Proposals,
    ) -> bool {
        let name = service.name();
        let healthy = awaited == Some(Condition::Healthy);
        if healthy {
            proposals.looked(HC01);
        }
        if awaited == Some(Condition::Completed) || service.is_job() {
            return false;
        }
        proposals.looked(HC03);
        let watch = self.watch(service);
        let finding = match (watch, healthy) {
            (Watch::Watched, _) | (Watch::SwitchedOff, false) => return false,
            (Watch::SwitchedOff, true) => HC01
                .finding(format!("others wait until `{name}` is healthy, and its health check is switched off"))
                .remediation("Give it a health check, or wait for `service_started`."),
            (Watch::Unwatched, true) => HC01.finding(format!("others wait until `{name}` is healthy, and it has no health check")),
            (Watch::Unknown, true) => HC01
                .finding(format!("others wait until `{name}` is healthy, and it has no health check unless its image brings one"))
                .severity(Severity::Warning),
            (Watch::Unwatched, false) => HC03.finding(format!("`{name}` keeps running and nothing asks for its health")),
            (Watch::Unknown, false) => HC03
                .finding(format!("`{name}` keeps running and nothing asks for its health, unless its image does"))
                .severity(Severity::Advice),
        };
        let change = match watch {
            Watch::SwitchedOff => None,
            _ => self.added_check(service, awaited.is_some()),
        };
        let finding = finding
            .about(format!("services/{name}"))
            .at_location(at_node(self.path, service.key()));
        let finding = if finding.remediation.is_none() && change.is_none() {
            finding.remediation(format!(
                "Add a `healthcheck` to `{name}` with a program that its image has; no check is known that would surely work."
            ))
        } else if finding.remediation.is_none() {
            finding.remediation(format!("Add the proposed `healthcheck` to `{name}`."))
        } else {
            finding
        };
        let proposed = change.is_some();
        proposals.push(Proposal::new(finding, change));
        proposed
    }

    /// Returns the check that fits a service, when one is known.
    pub(crate) fn fitting_test(&self, service: &Service<'_>) -> Option<TestCommand> {
        let port = service.tcp_ports().first().copied();
        if service.build().is_none() {
            let command = service.words("command").join(" ");
            return match knowledge(&service.image()?, port, &command) {
                Knowledge::Check(test) => Some(test),
                _ => None,
            };
        }
        let (docker, context) = service_dockerfile(self.inventory, self.path, service)?;
        let stage = built_stage(docker, service)?;
        let tools = service_tools(self.inventory, self.path, service)?;
        let port = port
            .or_else(|| docker.dockerfile.exposed_ports(stage).first().map(|(port, _)| *port))
            .or(self.parameters.port)?;
        let (tool, timeout) = (self.parameters.tool, self.parameters.timeout_s);
        let base = docker.dockerfile.base_image(stage).unwrap_or_default();
        // A proxy that is only configured here answers for others: whether it listens is all that is its own.
        let proxies = base.contains("nginx") || base.contains("httpd");
        let route =
            self.inventory.routes.health(&context, &self.parameters.path).filter(|_| !proxies);
        let http = route.and_then(|path| check(&Question::Http(path), port, tools, tool, timeout));
        http.or_else(|| check(&Question::Tcp, port, tools, tool, timeout))
    }

    fn added_check(&self, service: &Service<'_>, awaited: bool) -> Option<Change> {
        let test = self.fitting_test(service)?;
        let node = service.node();
        let name = service.name();
        let parameters = self.parameters;
        let interval = u64::from(parameters.interval_s) * 1000;
        let interval = if awaited { interval.min(AWAITED_INTERVAL_MS) } else { interval };
        let timeout = (u64::from(parameters.timeout_s) * 1000).min(interval / 2);
        let seconds = |ms: u64| Fragment::text(duration_text(ms));
        let mut entries = vec![
            ("test".to_owned(), Fragment::line(test.compose())),
            ("interval".to_owned(), seconds(interval)),
            ("timeout".to_owned(), seconds(timeout)),
            ("retries".to_owned(), Fragment::text(parameters.retries.to_string())),
        ];
        if parameters.start_period_s > 0 {
            entries.push((
                "start_period".to_owned(),
                seconds(u64::from(parameters.start_period_s) * 1000),
            ));
        }
        let splice = match node.own_entry("healthcheck") {
            // A mapping that only sets times: the test is what it lacks.
            Some(entry) if entry.value.kind() == Kind::Mapping => {
                let lacking: Vec<_> =
                    entries.into_iter().filter(|(key, _)| entry.value.get(key).is_none()).collect();
                new_entries(entry.value, &lacking)?
            }
            Some(_) => return None,
            None => new_entry(node, "healthcheck", &Fragment::Map(entries))?,
        };
        Some(Change::safe(&self.document.file, splice, format!("asks for the health of `{name}`")))
    }

    /// HC05: whether a check says how often, how long and how many times.
    fn timing(
        &self,
        service: &Service<'_>,
        check: &caelum_plugin_syntax::compose::Healthcheck<'_>,
        proposals: &mut Proposals,
    ) {
        if !matches!(check.test, HealthcheckTest::Exec(_) | HealthcheckTest::Shell(_)) {
            return;
        }
        proposals.looked(HC05);
        let name = service.name();
        let missing: Vec<&str> =
            ["interval", "timeout", "retries"].into_iter().filter(|key| !check.has(key)).collect();
        let place = |finding: Finding| {
            finding
                .about(format!("services/{name}/healthcheck"))
                .at_location(at_node(self.path, check.test_node.unwrap_or(check.node)))
        };
        if missing.is_empty() {
            if let (Some(interval), Some(timeout)) = (check.interval_ms, check.timeout_ms)
                && timeout >= interval
            {
                let (timeout, interval) = (duration_text(timeout), duration_text(interval));
                let message = format!(
                    "the health check of `{name}` may take {timeout} and is due every {interval}"
                );
                let finding = HC05.finding(message).remediation("Make `timeout` shorter than `interval`, so that a check that hangs is seen before the next one is due.");
                proposals.push(Proposal::finding(place(finding)));
            }
            return;
        }
        let finding = HC05
            .finding(format!("the health check of `{name}` does not say `{}`", missing.join("`, `")))
            .remediation("Say how often it runs, how long it may take, and how many failures in a row count.");
        let change = self.timing_change(service, check, &missing);
        proposals.push(Proposal::new(place(finding), change));
    }

    fn timing_change(
        &self,
        service: &Service<'_>,
        check: &caelum_plugin_syntax::compose::Healthcheck<'_>,
        missing: &[&str],
    ) -> Option<Change> {
        // Only where the mapping is the service's own.
        let own = service.node().own_entry("healthcheck")?;
        if own.value.is_alias() || own.value.span() != check.node.span() {
            return None;
        }
        let interval = match (check.has("interval"), check.interval_ms) {
            (true, None) => return None,
            (true, Some(interval)) => interval,
            (false, _) => {
                let wanted = u64::from(self.parameters.interval_s) * 1000;
                check.timeout_ms.map_or(wanted, |timeout| wanted.max(timeout.saturating_mul(2)))
            }
        };
        let timeout = (u64::from(self.parameters.timeout_s) * 1000).min(interval / 2).max(1);
        let timeout = if timeout > 1000 { timeout / 1000 * 1000 } else { timeout };
        let mut entries = Vec::new();
        let mut same = true;
        for key in missing {
            let value = match *key {
                "interval" => {
                    same &= interval == DOCKER_INTERVAL_MS;
                    duration_text(interval)
                }
                "timeout" => {
                    // Docker's own 30 s would outlast the interval; a shorter time may be too short for this check.
                    same = false;
                    duration_text(timeout)
                }
                _ => {
                    same &= u64::from(self.parameters.retries) == DOCKER_RETRIES;
                    self.parameters.retries.to_string()
                }
            };
            entries.push(((*key).to_owned(), Fragment::Text(value)));
        }
        let splice = new_entries(own.value, &entries)?;
        let why = format!("says when the health check of `{}` runs", service.name());
        Some(match same {
            true => Change::safe(&self.document.file, splice, why),
            false => Change::review(&self.document.file, vec![splice], why),
        })
    }

    /// HC04: whether a check asks the service alone.
    fn independence(
        &self,
        service: &Service<'_>,
        check: &caelum_plugin_syntax::compose::Healthcheck<'_>,
        services: &[Service<'_>],
        proposals: &mut Proposals,
    ) {
        let line = check.test.line();
        if line.is_empty() {
            return;
        }
        proposals.looked(HC04);
        let name = service.name();
        let other = services.iter().find(|other| {
            other.name() != name
                && service.text("hostname") != Some(other.name())
                && [
                    format!("//{}:", other.name()),
                    format!("//{}/", other.name()),
                    format!("-h {} ", other.name()),
                ]
                .iter()
                .any(|host| format!("{line} ").contains(host.as_str()))
        });
        if let Some(other) = other {
            let other = other.name();
            let finding = HC04
                .finding(format!("the health check of `{name}` asks `{other}`: when that is down, both are reported sick"))
                .about(format!("services/{name}/healthcheck/{other}"))
                .at_location(at_node(self.path, check.test_node.unwrap_or(check.node)))
                .remediation(format!("Ask `{name}` itself, over 127.0.0.1, and give `{other}` a health check of its own."));
            proposals.push(Proposal::finding(finding));
        }
    }
}

fn tools_known(view: &View<'_>, service: &Service<'_>) -> bool {
    service_tools(view.inventory, view.path, service).is_some()
}
