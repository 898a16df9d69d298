//! HC06: whether a dependency says what is waited for.

use std::collections::BTreeSet;

use caelum_plugin_component::at_node;
use caelum_plugin_syntax::compose::Service;
use caelum_plugin_syntax::position::{line_ending, line_start};
use caelum_plugin_syntax::splice::{self, Splice};
use caelum_plugin_syntax::yaml::insert::{indent_step, scalar};
use caelum_plugin_syntax::yaml::{Kind, Node, YamlFile};

use crate::HC06;
use crate::compose::{View, Watch};
use crate::proposal::{Change, Proposal, Proposals};

/// Looks at the dependencies of all services of a file. `adding` names those that get a check.
pub(crate) fn look(
    view: &View<'_>,
    services: &[Service<'_>],
    adding: &BTreeSet<String>,
    proposals: &mut Proposals,
) {
    for service in services {
        let Some(entry) = service.node().own_entry("depends_on") else { continue };
        if entry.value.is_alias() {
            continue;
        }
        let dependencies = service.depends_on();
        if dependencies.is_empty() {
            continue;
        }
        proposals.looked(HC06);
        if entry.value.kind() != Kind::Sequence {
            continue;
        }
        let mut now = Vec::new();
        let mut soon = Vec::new();
        for dependency in &dependencies {
            let Some(other) = services.iter().find(|other| other.name() == dependency.service)
            else {
                continue;
            };
            if view.watch(other) == Watch::Watched {
                now.push(other.name());
            } else if adding.contains(other.name()) {
                soon.push(other.name());
            }
        }
        if now.is_empty() && soon.is_empty() {
            // Nobody could be waited for beyond being started.
            continue;
        }
        let waited: Vec<&str> =
            dependencies.iter().map(|dependency| dependency.service.as_str()).collect();
        let name = service.name();
        let finding = HC06
            .finding(format!(
                "`{name}` is started once `{}` was started, ready or not",
                waited.join("`, `")
            ))
            .about(format!("services/{name}/depends_on"))
            .at_location(at_node(view.path, entry.key))
            .remediation("Write `depends_on` with `condition: service_healthy`.");
        let healthy: Vec<&str> =
            if view.adds_checks { now.iter().chain(&soon).copied().collect() } else { now };
        let change =
            if healthy.is_empty() { None } else { rewritten(view, service, entry.value, &healthy) };
        proposals.push(Proposal::new(finding, change));
    }
}

/// Rewrites a list of dependencies as a mapping with conditions, item by item, so that comments stay.
fn rewritten(
    view: &View<'_>,
    service: &Service<'_>,
    list: Node<'_>,
    healthy: &[&str],
) -> Option<Change> {
    let text = view.document.file.text();
    let condition = |name: &str| {
        if healthy.contains(&name) { "service_healthy" } else { "service_started" }
    };
    let mut splices = Vec::new();
    if list.is_flow() {
        if text[list.span()].contains('#') {
            return None;
        }
        let mut items = Vec::new();
        for item in list.items() {
            let name = item.as_str().filter(|_| !item.is_alias())?;
            items.push(format!("{}: {{condition: {}}}", scalar(name), condition(name)));
        }
        splices.push(Splice::replace(list.span(), format!("{{{}}}", items.join(", "))));
    } else {
        let parent =
            (service.node().entries().first()?.key.position().column as usize).checked_sub(1)?;
        let step = indent_step(service.node());
        let ending = line_ending(text);
        for item in list.items() {
            let name = item.as_str().filter(|_| !item.is_alias())?;
            let start = line_start(text, item.span().start);
            let dash = &text[start..item.span().start];
            // Only the usual form, with the dash on the item's own line.
            let (before, behind) = dash.split_once('-')?;
            if !before.trim().is_empty() || !behind.trim().is_empty() {
                return None;
            }
            let indent = before.len().max(parent + step);
            let (outer, inner) = (" ".repeat(indent), " ".repeat(indent + step));
            let new =
                format!("{outer}{}:{ending}{inner}condition: {}", scalar(name), condition(name));
            splices.push(Splice::replace(start..item.span().end, new));
        }
    }
    let changed = splice::apply(text, &splices).ok()?;
    means_the_same(&view.document.yaml, &changed, service.name()).then(|| {
        let why = format!("has `{}` wait until what it needs is ready", service.name());
        Change::review(&view.document.file, splices, why)
    })
}

/// Answers whether nothing but the dependencies of a service has changed.
fn means_the_same(before: &YamlFile, changed: &str, service: &str) -> bool {
    let Ok(after) = YamlFile::parse(changed) else { return false };
    let name = service.replace('~', "~0").replace('/', "~1");
    let own = format!("0/services/{name}/depends_on/");
    let rest = |file: &YamlFile| -> Vec<_> {
        file.leaves().into_iter().filter(|leaf| !leaf.path.starts_with(&own)).collect()
    };
    let conditions = after
        .leaves()
        .iter()
        .filter(|leaf| leaf.path.starts_with(&own) && leaf.path.ends_with("/condition"))
        .count();
    let items = before.leaves().iter().filter(|leaf| leaf.path.starts_with(&own)).count();
    rest(before) == rest(&after) && conditions == items
}
