//! One service of a compose file.

use super::healthcheck::Healthcheck;
use super::ports::Port;
use crate::image::{ImageName, interpolate};
use crate::yaml::{Kind, Node};

/// How an image is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Directory of the build, relative to the compose file; nothing when it is a URL or depends on variables.
    pub context: Option<String>,
    /// The Dockerfile, relative to the context; nothing means `Dockerfile`.
    pub dockerfile: Option<String>,
    /// The stage that is built, when one is named.
    pub target: Option<String>,
    /// Whether the Dockerfile is written in the compose file itself.
    pub inline: bool,
}

/// What a service waits for in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Its container was started.
    Started,
    /// Its health check passed.
    Healthy,
    /// It ended without fault.
    Completed,
    /// Something this reader does not know.
    Other,
}

/// Another service that must come first.
#[derive(Debug, Clone)]
pub struct Dependency<'f> {
    /// Its name.
    pub service: String,
    /// What is waited for; nothing in the list form, which cannot say it.
    pub condition: Option<Condition>,
    /// Where it stands.
    pub node: Node<'f>,
}

/// A variable that a service is given.
#[derive(Debug, Clone)]
pub struct Environment<'f> {
    /// Its name.
    pub name: String,
    /// Its value as written; nothing when it is passed through from outside.
    pub value: Option<String>,
    /// Where it stands.
    pub node: Node<'f>,
}

/// A service, with what it extends in the same file.
#[derive(Debug, Clone)]
pub struct Service<'f> {
    name: String,
    key: Node<'f>,
    chain: Vec<Node<'f>>,
    open: bool,
}

impl<'f> Service<'f> {
    pub(super) fn new(name: &str, key: Node<'f>, (chain, open): (Vec<Node<'f>>, bool)) -> Self {
        Service { name: name.to_owned(), key, chain, open }
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns where its name stands.
    pub fn key(&self) -> Node<'f> {
        self.key
    }

    /// Returns the service's own mapping.
    pub fn node(&self) -> Node<'f> {
        self.chain[0]
    }

    /// Returns whether something of it may lie outside of this file (`extends` with a `file`), so that what seems to
    /// be missing may be there.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Returns a value of the service, from itself or what it extends.
    pub fn get(&self, key: &str) -> Option<Node<'f>> {
        self.chain.iter().find_map(|node| node.get(key))
    }

    /// Returns the name of its image as written.
    pub fn image_text(&self) -> Option<&'f str> {
        self.get("image").and_then(Node::as_str)
    }

    /// Returns the name of its image, defaults of variables put in.
    pub fn image(&self) -> Option<ImageName> {
        ImageName::parse(&interpolate(self.image_text()?, &|_| None)?)
    }

    /// Returns how its image is built, when it is.
    pub fn build(&self) -> Option<Build> {
        let node = self.get("build")?;
        let plain = |text: &str| interpolate(text, &|_| None).filter(|text| !text.contains("://"));
        if node.kind() == Kind::Scalar {
            let context = plain(node.as_str()?);
            return Some(Build { context, dockerfile: None, target: None, inline: false });
        }
        let text = |key: &str| node.get(key).and_then(Node::as_str).and_then(plain);
        Some(Build {
            context: if node.get("context").is_some() {
                text("context")
            } else {
                Some(".".to_owned())
            },
            dockerfile: text("dockerfile"),
            target: text("target"),
            inline: node.get("dockerfile_inline").is_some(),
        })
    }

    /// Returns its health check, when it has one.
    pub fn healthcheck(&self) -> Option<Healthcheck<'f>> {
        Healthcheck::read(self.get("healthcheck")?)
    }

    /// Returns the services that must come first, from both forms.
    pub fn depends_on(&self) -> Vec<Dependency<'f>> {
        let Some(node) = self.get("depends_on") else { return Vec::new() };
        if node.kind() == Kind::Sequence {
            let items = node.items().into_iter();
            return items
                .filter_map(|node| {
                    Some(Dependency { service: node.as_str()?.to_owned(), condition: None, node })
                })
                .collect();
        }
        let entries = node.merged_entries().into_iter();
        entries
            .filter_map(|entry| {
                let condition = match entry.value.get("condition").and_then(Node::as_str) {
                    None | Some("service_started") => Condition::Started,
                    Some("service_healthy") => Condition::Healthy,
                    Some("service_completed_successfully") => Condition::Completed,
                    Some(_) => Condition::Other,
                };
                let service = entry.key.as_str()?.to_owned();
                Some(Dependency { service, condition: Some(condition), node: entry.key })
            })
            .collect()
    }

    /// Returns its ports.
    pub fn ports(&self) -> Vec<Port<'f>> {
        let items = self.get("ports").map(Node::items).unwrap_or_default();
        items.into_iter().filter_map(Port::read).collect()
    }

    /// Returns the ports inside the container that it declares for TCP, from `ports` and `expose`, in their order.
    pub fn tcp_ports(&self) -> Vec<u16> {
        let mut found: Vec<u16> = Vec::new();
        let ports = self.ports();
        let declared =
            ports.iter().filter(|port| port.protocol == "tcp").filter_map(|port| port.target.one());
        let exposed = self.get("expose").map(Node::items).unwrap_or_default();
        let exposed = exposed.into_iter().filter_map(|node| {
            node.as_str()?.strip_suffix("/tcp").unwrap_or(node.as_str()?).parse::<u16>().ok()
        });
        for port in declared.chain(exposed) {
            if !found.contains(&port) {
                found.push(port);
            }
        }
        found
    }

    /// Returns the variables it is given, from both forms.
    pub fn environment(&self) -> Vec<Environment<'f>> {
        let Some(node) = self.get("environment") else { return Vec::new() };
        if node.kind() == Kind::Sequence {
            let items = node.items().into_iter();
            return items
                .filter_map(|node| {
                    let text = node.as_str()?;
                    let (name, value) = match text.split_once('=') {
                        Some((name, value)) => (name, Some(value.to_owned())),
                        None => (text, None),
                    };
                    Some(Environment { name: name.to_owned(), value, node })
                })
                .collect();
        }
        let entries = node.merged_entries().into_iter();
        entries
            .filter_map(|entry| {
                let value = entry.value.as_str().map(str::to_owned);
                Some(Environment { name: entry.key.as_str()?.to_owned(), value, node: entry.key })
            })
            .collect()
    }

    /// Returns what a list or text (`command`, `entrypoint`, `profiles`) says, as words or one line.
    pub fn words(&self, key: &str) -> Vec<String> {
        let Some(node) = self.get(key) else { return Vec::new() };
        match node.as_str() {
            Some(text) => vec![text.to_owned()],
            None => node
                .items()
                .into_iter()
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect(),
        }
    }

    /// Returns a text value of the service.
    pub fn text(&self, key: &str) -> Option<&'f str> {
        self.get(key).and_then(Node::as_str)
    }

    /// Returns whether it ends by itself: nothing restarts it, nothing talks to it, and it is asked for by profile or
    /// says so as a job. What others wait for to complete is for the caller to look up.
    pub fn is_job(&self) -> bool {
        let mode = self.get("deploy").and_then(|deploy| deploy.get("mode")).and_then(Node::as_str);
        if mode.is_some_and(|mode| mode.ends_with("-job")) {
            return true;
        }
        let restarts = self.text("restart").is_some_and(|restart| restart != "no");
        let talks = self.get("ports").is_some() || self.get("expose").is_some();
        let quiet = self.text("restart") == Some("no") || self.get("profiles").is_some();
        quiet && !restarts && !talks
    }
}
