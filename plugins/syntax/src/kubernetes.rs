//! Kubernetes manifests: workloads, their containers and probes, with their places in the file.

use crate::image::{ImageName, interpolate};
use crate::yaml::{Kind, Node, YamlFile};

/// How deep lists of lists are followed.
const LISTS_MAX: usize = 4;

/// Something that runs containers.
#[derive(Debug, Clone)]
pub struct Workload<'f> {
    /// `Deployment`, `StatefulSet`, `Pod` and so on.
    pub kind: String,
    /// Its name, empty when it is generated.
    pub name: String,
    /// Whether it ends by itself: a `Job` or `CronJob`, or a pod that is not restarted.
    pub is_job: bool,
    /// Its containers, those for initialization left out.
    pub containers: Vec<Container<'f>>,
    /// Where its `kind` stands.
    pub node: Node<'f>,
}

/// A container of a workload.
#[derive(Debug, Clone)]
pub struct Container<'f> {
    /// Its name.
    pub name: String,
    /// Its image, when it can be read.
    pub image: Option<ImageName>,
    /// The ports it declares for TCP.
    pub ports: Vec<u16>,
    /// The whole mapping.
    pub node: Node<'f>,
}

impl<'f> Container<'f> {
    /// Returns one of its probes: `livenessProbe`, `readinessProbe`, `startupProbe`.
    pub fn probe(&self, key: &str) -> Option<Node<'f>> {
        self.node.get(key).filter(|node| node.kind() == Kind::Mapping)
    }
}

/// Returns whether a file holds Kubernetes objects: one of its documents has `apiVersion` and `kind`.
pub fn is_manifest(file: &YamlFile) -> bool {
    file.documents().any(|root| root.get("apiVersion").is_some() && root.get("kind").is_some())
}

/// Returns the workloads of a file, lists opened.
pub fn workloads(file: &YamlFile) -> Vec<Workload<'_>> {
    let mut found = Vec::new();
    for root in file.documents() {
        collect(root, 0, &mut found);
    }
    found
}

fn collect<'f>(object: Node<'f>, depth: usize, found: &mut Vec<Workload<'f>>) {
    let Some(kind_node) = object.get("kind") else { return };
    let Some(kind) = kind_node.as_str() else { return };
    if kind.ends_with("List") || kind == "List" {
        if depth < LISTS_MAX {
            for item in object.get("items").map(Node::items).unwrap_or_default() {
                collect(item, depth + 1, found);
            }
        }
        return;
    }
    let path: &[&str] = match kind {
        "Pod" => &["spec"],
        "Deployment"
        | "StatefulSet"
        | "DaemonSet"
        | "ReplicaSet"
        | "ReplicationController"
        | "Job" => &["spec", "template", "spec"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => return,
    };
    let Some(spec) = object.path(path) else { return };
    let restart = spec.get("restartPolicy").and_then(Node::as_str);
    let is_job = matches!(kind, "Job" | "CronJob")
        || (kind == "Pod" && matches!(restart, Some("Never" | "OnFailure")));
    let containers = spec.get("containers").map(Node::items).unwrap_or_default();
    found.push(Workload {
        kind: kind.to_owned(),
        name: object
            .path(&["metadata", "name"])
            .and_then(Node::as_str)
            .unwrap_or_default()
            .to_owned(),
        is_job,
        containers: containers.into_iter().filter_map(container).collect(),
        node: kind_node,
    });
}

fn container(node: Node<'_>) -> Option<Container<'_>> {
    if node.kind() != Kind::Mapping {
        return None;
    }
    let text = |key: &str| node.get(key).and_then(Node::as_str);
    let ports = node.get("ports").map(Node::items).unwrap_or_default();
    let tcp = |port: &Node<'_>| {
        let protocol = port.get("protocol").and_then(Node::as_str);
        protocol.is_none_or(|protocol| protocol.eq_ignore_ascii_case("tcp"))
    };
    Some(Container {
        name: text("name").unwrap_or_default().to_owned(),
        image: text("image").and_then(|image| ImageName::parse(&interpolate(image, &|_| None)?)),
        ports: ports
            .into_iter()
            .filter(tcp)
            .filter_map(|port| port.get("containerPort")?.as_str()?.parse().ok())
            .collect(),
        node,
    })
}
