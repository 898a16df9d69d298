//! What is known of a component: its name and kinds, its services and ports, and what it needs to start.

use std::collections::{BTreeMap, BTreeSet};

use caelum_plugin_component::{Document, Inventory, Scope, at_node, service_dockerfile};
use caelum_plugin_syntax::compose::{ComposeFile, Port, Service, is_primary_name};
use caelum_plugin_syntax::kubernetes::workloads;
use caelum_plugin_syntax::project::ProjectKind;
use caelum_sdk::{Context, Location, PluginError, Target};
use serde_json::{Map, Value};

use crate::declaration;
use crate::naming;
use crate::parameters::Parameters;
use crate::requirements::{Required, of_compose};

/// A port of the machine that the component publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublishedPort {
    pub(crate) port: u16,
    pub(crate) protocol: String,
    pub(crate) host_ip: Option<String>,
    /// The service that publishes it; the component itself when no file says.
    pub(crate) service: String,
    /// Where that is said.
    pub(crate) location: Option<Location>,
}

/// A service of the component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceFact {
    pub(crate) name: String,
    /// The file that describes it.
    pub(crate) source: String,
    /// Ports inside its container.
    pub(crate) ports: Vec<u16>,
    /// Whether it is built from sources of the component.
    pub(crate) built: bool,
    /// Whether its health is asked for.
    pub(crate) has_check: bool,
    /// Last part of its image's name, when it is not built here.
    pub(crate) image: Option<String>,
    /// Address that tells its health, when its sources speak of one.
    pub(crate) health: Option<String>,
}

/// What is known of a component.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) name: String,
    pub(crate) kinds: Vec<&'static str>,
    /// Whether it is something that runs, and not a library.
    pub(crate) is_service: bool,
    pub(crate) services: Vec<ServiceFact>,
    pub(crate) ports: Vec<PublishedPort>,
    pub(crate) required: Required,
    /// The declaration that is there, when it is a JSON object.
    pub(crate) declared: Option<Map<String, Value>>,
}

impl Facts {
    /// Puts together what is known.
    pub(crate) fn derive(
        target: &dyn Target,
        inventory: &Inventory,
        scope: &Scope,
        parameters: &Parameters,
        context: &Context,
    ) -> Result<Self, PluginError> {
        let declared = declaration::read(target)?;
        let mut kinds: BTreeSet<&'static str> =
            inventory.kinds().iter().map(|found| found.kind.as_str()).collect();
        kinds.extend(parameters.kind.word());
        if !inventory.dockerfiles.is_empty() {
            kinds.insert("docker");
        }
        // What the pattern writes itself shows nothing about the component.
        if kinds.contains(ProjectKind::Python.as_str()) && only_our_own_python(inventory) {
            kinds.remove(ProjectKind::Python.as_str());
        }
        let compose = main_compose_files(inventory, scope);
        let name = name(target, parameters, context, declared.as_ref(), &compose)?;
        let mut facts = Facts {
            kinds: kinds.into_iter().collect(),
            is_service: false,
            services: Vec::new(),
            ports: Vec::new(),
            required: Required::default(),
            declared,
            name,
        };
        let several = compose.len() > 1;
        for (path, document) in &compose {
            facts.take_compose(inventory, path, document, several, parameters);
        }
        if compose.is_empty() {
            facts.take_manifests(inventory, scope, parameters);
        }
        if facts.services.is_empty() {
            facts.take_dockerfiles(inventory, scope, parameters);
        }
        for port in &parameters.ports {
            if !facts.ports.iter().any(|known| known.port == *port) {
                facts.ports.push(PublishedPort {
                    port: *port,
                    protocol: "tcp".to_owned(),
                    host_ip: None,
                    service: facts.name.clone(),
                    location: None,
                });
            }
        }
        facts.is_service =
            !facts.services.is_empty() || !facts.ports.is_empty() || inventory.routes.declares("");
        facts.require(parameters);
        Ok(facts)
    }

    fn take_compose(
        &mut self,
        inventory: &Inventory,
        path: &str,
        document: &Document,
        several: bool,
        parameters: &Parameters,
    ) {
        let Some(compose) = ComposeFile::read(&document.yaml) else { return };
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        of_compose(inventory, directory, &document.yaml, &mut self.required);
        for service in compose.services() {
            if service.image_text().is_none() && service.build().is_none() {
                continue;
            }
            let name = match (several, directory) {
                (true, directory) if !directory.is_empty() => {
                    format!("{directory}/{}", service.name())
                }
                _ => service.name().to_owned(),
            };
            for port in service.ports() {
                self.ports.extend(published(&port, &name, path));
            }
            self.services.push(service_fact(inventory, path, &service, name, parameters));
        }
    }

    fn take_manifests(&mut self, inventory: &Inventory, scope: &Scope, parameters: &Parameters) {
        for (path, document) in inventory.manifests.iter().filter(|(path, _)| scope.includes(path))
        {
            for workload in
                workloads(&document.yaml).into_iter().filter(|workload| !workload.is_job)
            {
                for container in &workload.containers {
                    let name =
                        if workload.name.is_empty() { &container.name } else { &workload.name };
                    let known = self.services.iter().any(|service| &service.name == name);
                    if known || name.is_empty() {
                        continue;
                    }
                    let probed = ["livenessProbe", "readinessProbe"]
                        .iter()
                        .any(|key| container.probe(key).is_some());
                    self.services.push(ServiceFact {
                        name: name.clone(),
                        source: path.clone(),
                        ports: container.ports.clone(),
                        built: false,
                        has_check: probed,
                        image: container.image.as_ref().map(|image| image.short().to_owned()),
                        health: inventory
                            .routes
                            .health("", &parameters.health_path)
                            .map(str::to_owned),
                    });
                }
            }
        }
    }

    fn take_dockerfiles(&mut self, inventory: &Inventory, scope: &Scope, parameters: &Parameters) {
        for (path, docker) in inventory.dockerfiles.iter().filter(|(path, _)| scope.includes(path))
        {
            let Some(stage) = docker.dockerfile.final_stage(None) else { continue };
            let ports: Vec<u16> =
                docker.dockerfile.exposed_ports(stage).into_iter().map(|(port, _)| port).collect();
            if ports.is_empty() {
                continue;
            }
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            let name = if directory.is_empty() { self.name.clone() } else { directory.to_owned() };
            if self.services.iter().any(|service| service.name == name) {
                continue;
            }
            self.services.push(ServiceFact {
                name,
                source: path.clone(),
                ports,
                built: true,
                has_check: !docker.dockerfile.inherited(stage, "HEALTHCHECK").is_empty(),
                image: None,
                health: inventory
                    .routes
                    .health(directory, &parameters.health_path)
                    .map(str::to_owned),
            });
        }
    }

    /// Adds what the parameters and the declaration ask for.
    fn require(&mut self, parameters: &Parameters) {
        let asked = &parameters.requires;
        self.required.env.extend(asked.env.iter().cloned());
        self.required.tcp.extend(asked.tcp.iter().cloned());
        self.required.files.extend(asked.files.iter().cloned());
        let declared = self.declared.as_ref().and_then(|declared| declared.get("requires"));
        let list = |key: &str, is_valid: fn(&str) -> bool| -> Vec<String> {
            let items = declared.and_then(|requires| requires.get(key)).and_then(Value::as_array);
            let texts = items.into_iter().flatten().filter_map(Value::as_str);
            texts.filter(|text| is_valid(text)).map(str::to_owned).collect()
        };
        self.required.env.extend(list("env", naming::is_variable));
        self.required.tcp.extend(list("tcp", naming::is_address));
        self.required.files.extend(list("files", naming::is_path));
    }
}

fn only_our_own_python(inventory: &Inventory) -> bool {
    let python = inventory.files.iter().filter(|path| path.ends_with(".py"));
    let mut others = python.filter(|path| !path.ends_with("test_caelum_preflight.py"));
    let projects = ["pyproject.toml", "requirements.txt", "setup.py", "setup.cfg", "Pipfile"];
    let named = inventory
        .files
        .iter()
        .any(|path| projects.contains(&path.rsplit('/').next().unwrap_or(path)));
    others.next().is_none() && !named
}

/// Returns the compose file of each directory that compose itself would read, or the first one there is.
fn main_compose_files<'i>(inventory: &'i Inventory, scope: &Scope) -> Vec<(&'i str, &'i Document)> {
    let mut chosen: BTreeMap<&str, (&str, &Document)> = BTreeMap::new();
    let rank = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        let order = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
        (!is_primary_name(path), order.iter().position(|known| *known == name), path.to_owned())
    };
    for (path, document) in inventory.compose.iter().filter(|(path, _)| scope.includes(path)) {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        match chosen.get(directory) {
            Some((known, _)) if rank(known) <= rank(path) => {}
            _ => {
                chosen.insert(directory, (path, document));
            }
        }
    }
    chosen.into_values().collect()
}

fn published(port: &Port<'_>, service: &str, path: &str) -> Option<PublishedPort> {
    Some(PublishedPort {
        port: port.published?.one().filter(|port| *port > 0)?,
        protocol: port.protocol.clone(),
        host_ip: port.host_ip.clone(),
        service: service.to_owned(),
        location: Some(at_node(path, port.node)),
    })
}

fn service_fact(
    inventory: &Inventory,
    path: &str,
    service: &Service<'_>,
    name: String,
    parameters: &Parameters,
) -> ServiceFact {
    let built = service.build().is_some();
    let docker = service_dockerfile(inventory, path, service);
    let in_image = docker.as_ref().is_some_and(|(docker, _)| {
        let stage = caelum_plugin_component::built_stage(docker, service);
        stage.is_some_and(|stage| !docker.dockerfile.inherited(stage, "HEALTHCHECK").is_empty())
    });
    let health = docker
        .as_ref()
        .and_then(|(_, context)| inventory.routes.health(context, &parameters.health_path));
    ServiceFact {
        name,
        source: path.to_owned(),
        ports: service.tcp_ports(),
        built,
        has_check: service.healthcheck().is_some() || in_image,
        image: service.image().map(|image| image.short().to_owned()).filter(|_| !built),
        health: health.map(str::to_owned),
    }
}

fn name(
    target: &dyn Target,
    parameters: &Parameters,
    context: &Context,
    declared: Option<&Map<String, Value>>,
    compose: &[(&str, &Document)],
) -> Result<String, PluginError> {
    if let Some(name) = &parameters.component_name {
        return Ok(name.clone());
    }
    let declared = declared.and_then(|declared| declared.get("component")?.as_str());
    if let Some(name) = declared.filter(|name| naming::is_name(name)) {
        return Ok(name.to_owned());
    }
    let given = context.component.as_deref().map(|name| name.rsplit('/').next().unwrap_or(name));
    if let Some(name) = given.and_then(naming::to_name) {
        return Ok(name);
    }
    let of_compose =
        compose.first().and_then(|(_, document)| document.yaml.root()?.get("name")?.as_str());
    if let Some(name) = of_compose.and_then(naming::to_name) {
        return Ok(name);
    }
    if let Some(text) = target.read_text_if_present("package.json").unwrap_or_default()
        && let Ok(document) = serde_json::from_str::<Value>(&text)
        && let Some(name) = document.get("name").and_then(Value::as_str).and_then(naming::to_name)
    {
        return Ok(name);
    }
    for file in ["Cargo.toml", "pyproject.toml"] {
        let text = target.read_text_if_present(file).unwrap_or_default().unwrap_or_default();
        if let Some(name) = name_line(&text).and_then(naming::to_name) {
            return Ok(name);
        }
    }
    Ok("component".to_owned())
}

/// Returns the value of `name = "…"` in the table of the package.
fn name_line(text: &str) -> Option<&str> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = matches!(line, "[package]" | "[project]" | "[tool.poetry]");
        } else if inside && let Some(rest) = line.strip_prefix("name") {
            let value = rest.trim_start().strip_prefix('=')?.trim();
            return value.strip_prefix('"')?.split('"').next();
        }
    }
    None
}
