//! Compose files: services and what matters about them, with their places in the file.

mod duration;
mod healthcheck;
mod ports;
mod service;

use crate::yaml::{Kind, Node, YamlError, YamlFile};

pub use duration::{duration_ms, duration_text};
pub use healthcheck::{Healthcheck, HealthcheckTest};
pub use ports::{Port, PortNumber};
pub use service::{Build, Condition, Dependency, Environment, Service};

/// How many `extends` in a row are followed.
const EXTENDS_MAX: usize = 16;

/// A compose file, read. The text and its nodes stay with the caller: see [`ComposeFile::read`].
#[derive(Debug, Clone)]
pub struct ComposeFile<'f> {
    file: &'f YamlFile,
    services: Node<'f>,
}

impl<'f> ComposeFile<'f> {
    /// Looks at a YAML file as a compose file. Nothing when it is none: there is no mapping `services` at its top.
    pub fn read(file: &'f YamlFile) -> Option<Self> {
        let root = file.root()?;
        let services = root.get("services")?;
        (services.kind() == Kind::Mapping).then_some(ComposeFile { file, services })
    }

    /// Returns the file.
    pub fn file(&self) -> &'f YamlFile {
        self.file
    }

    /// Returns whether other files are included, so that services may come from elsewhere.
    pub fn includes_others(&self) -> bool {
        self.file.root().and_then(|root| root.get("include")).is_some()
    }

    /// Returns the services, in the order of the file.
    pub fn services(&self) -> Vec<Service<'f>> {
        let entries = self.services.merged_entries();
        entries
            .into_iter()
            .filter_map(|entry| {
                Some(Service::new(entry.key.as_str()?, entry.key, self.chain(entry.value)))
            })
            .collect()
    }

    /// Returns a service by name.
    pub fn service(&self, name: &str) -> Option<Service<'f>> {
        let entry = self.services.entry(name)?;
        Some(Service::new(entry.key.as_str()?, entry.key, self.chain(entry.value)))
    }

    /// Follows `extends` within this file: the service itself, then those it extends. The second answer tells whether
    /// one was left that lies in another file or does not exist.
    fn chain(&self, node: Node<'f>) -> (Vec<Node<'f>>, bool) {
        let mut chain = vec![node];
        let mut names: Vec<&str> = Vec::new();
        let mut current = node;
        while let Some(extends) = current.get("extends") {
            let (name, elsewhere) = match extends.kind() {
                Kind::Scalar => (extends.as_str(), false),
                _ => (extends.get("service").and_then(Node::as_str), extends.get("file").is_some()),
            };
            let next = name.filter(|name| !elsewhere && !names.contains(name));
            let Some((name, next)) = next.and_then(|name| Some((name, self.services.get(name)?)))
            else {
                return (chain, true);
            };
            if chain.len() >= EXTENDS_MAX {
                return (chain, true);
            }
            names.push(name);
            chain.push(next);
            current = next;
        }
        (chain, false)
    }
}

/// Reads a YAML text, for callers that only want to know whether it is a compose file.
///
/// # Errors
/// Those of [`YamlFile::parse`].
pub fn is_compose(text: &str) -> Result<bool, YamlError> {
    let file = YamlFile::parse(text)?;
    Ok(ComposeFile::read(&file).is_some())
}

/// Returns whether a file name is one that compose reads by itself or that people give to its files:
/// `compose.yaml`, `docker-compose.yml`, `docker-compose.test.yml`, `compose.override.yaml`, `docker-stack.yml`.
pub fn is_compose_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let Some(stem) = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml")) else {
        return false;
    };
    let first = stem.split('.').next().unwrap_or(stem);
    matches!(first, "compose" | "docker-compose" | "docker-stack" | "podman-compose")
}

/// Returns whether a file name is one of the four that compose reads by itself.
pub fn is_primary_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(name, "compose.yaml" | "compose.yml" | "docker-compose.yaml" | "docker-compose.yml")
}
