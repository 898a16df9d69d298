//! The rules in Kubernetes manifests.

use caelum_plugin_component::{Document, at_node};
use caelum_plugin_syntax::kubernetes::{Container, Workload, workloads};
use caelum_plugin_syntax::yaml::Node;
use caelum_plugin_syntax::yaml::insert::{Fragment, new_entry};

use crate::parameters::Parameters;
use crate::proposal::{Change, Proposal, Proposals};
use crate::{HC03, HC04};

/// Words in a probe that show that it asks whether work can be done, not whether the process lives.
const READY_WORDS: [&str; 6] = ["ready", "/db", "database", "dependencies", "deep", "upstream"];

/// Looks at a file of manifests.
pub(crate) fn look(
    path: &str,
    document: &Document,
    parameters: &Parameters,
    proposals: &mut Proposals,
) {
    for workload in workloads(&document.yaml) {
        if workload.is_job {
            continue;
        }
        for container in &workload.containers {
            presence(path, document, &workload, container, parameters, proposals);
            independence(path, &workload, container, proposals);
        }
    }
}

fn title(workload: &Workload<'_>, container: &Container<'_>) -> String {
    format!("container `{}` of {} `{}`", container.name, workload.kind, workload.name)
}

fn presence(
    path: &str,
    document: &Document,
    workload: &Workload<'_>,
    container: &Container<'_>,
    parameters: &Parameters,
    proposals: &mut Proposals,
) {
    proposals.looked(HC03);
    let probed = ["livenessProbe", "readinessProbe", "startupProbe"]
        .iter()
        .any(|key| container.node.get(key).is_some());
    if probed {
        return;
    }
    let place = container.node.get("name").unwrap_or(container.node);
    let finding = HC03
        .finding(format!("nothing probes the {}", title(workload, container)))
        .about(format!("{}/{}/{}", workload.kind, workload.name, container.name))
        .at_location(at_node(path, place));
    let Some(port) = container.ports.first() else {
        let finding = finding
            .severity(caelum_sdk::Severity::Advice)
            .remediation("It declares no port. Where it serves something, declare that and probe it; otherwise probe it by a command.");
        proposals.push(Proposal::finding(finding));
        return;
    };
    let number = |value: u32| Fragment::text(value.to_string());
    let probe = Fragment::map([
        ("tcpSocket", Fragment::map([("port", Fragment::text(port.to_string()))])),
        ("periodSeconds", number(parameters.interval_s.min(10))),
        ("timeoutSeconds", number(parameters.timeout_s)),
        ("failureThreshold", number(parameters.retries)),
    ]);
    let change = new_entry(container.node, "readinessProbe", &probe).map(|splice| {
        let why = format!(
            "sends traffic to the {} once it accepts connections",
            title(workload, container)
        );
        // A container that listens elsewhere than it declares would never become ready.
        Change::review(&document.file, vec![splice], why)
    });
    let finding = finding.remediation(format!(
        "Add a `readinessProbe` on port {port}, over HTTP where it tells its health, and a `livenessProbe` that asks the process alone."
    ));
    proposals.push(Proposal::new(finding, change));
}

/// HC04: a liveness probe that is the readiness probe, and asks for more than life.
fn independence(
    path: &str,
    workload: &Workload<'_>,
    container: &Container<'_>,
    proposals: &mut Proposals,
) {
    let (Some(liveness), Some(readiness)) =
        (container.probe("livenessProbe"), container.probe("readinessProbe"))
    else {
        return;
    };
    proposals.looked(HC04);
    let (Some(alive), Some(ready)) = (asks(liveness), asks(readiness)) else { return };
    if alive != ready || !READY_WORDS.iter().any(|word| alive.to_lowercase().contains(word)) {
        return;
    }
    let finding = HC04
        .finding(format!(
            "the {} is restarted when it is not ready: both probes ask {alive}, which speaks of more than the process",
            title(workload, container)
        ))
        .about(format!("{}/{}/{}/liveness", workload.kind, workload.name, container.name))
        .at_location(at_node(path, liveness))
        .remediation("Let `livenessProbe` ask the process alone, so that a database that is down does not restart everything that uses it.");
    proposals.push(Proposal::finding(finding));
}

/// Says in one line what a probe asks.
fn asks(probe: Node<'_>) -> Option<String> {
    let text = |node: Option<Node<'_>>| node.and_then(Node::as_str).unwrap_or_default().to_owned();
    if let Some(http) = probe.get("httpGet") {
        return Some(format!("`{}` on port {}", text(http.get("path")), text(http.get("port"))));
    }
    if let Some(command) = probe.path(&["exec", "command"]) {
        let words: Vec<&str> = command.items().into_iter().filter_map(Node::as_str).collect();
        return Some(format!("`{}`", words.join(" ")));
    }
    None
}
