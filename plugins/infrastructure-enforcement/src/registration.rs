//! IE06: entries for service discovery, `.caelum/services.json`. Rows that are there are kept as they are.

use caelum_sdk::{Edit, Ownership, PluginError, SourceFile, Target};
use serde_json::{Value, json};

use crate::IE06;
use crate::facts::{Facts, PublishedPort, ServiceFact};
use crate::outcome::Outcome;

/// Where the entries stand.
pub(crate) const PATH: &str = ".caelum/services.json";

/// Looks at the entries.
pub(crate) fn look(
    target: &dyn Target,
    facts: &Facts,
    outcome: &mut Outcome,
) -> Result<(), PluginError> {
    if facts.ports.is_empty() {
        return Ok(());
    }
    outcome.looked(IE06);
    let file = SourceFile::read_if_present(target, PATH)?;
    let mut rows = match &file {
        None => Vec::new(),
        Some(file) => match serde_json::from_str(file.text()) {
            Ok(Value::Array(rows)) => rows,
            _ => {
                outcome.note(
                    IE06.finding(format!(
                        "`{PATH}` is no JSON array, so that discovery cannot read it"
                    ))
                    .about("entries")
                    .at(PATH)
                    .remediation("Mend the JSON, or remove the file and apply the pattern again."),
                );
                return Ok(());
            }
        },
    };
    let mut answers = Vec::new();
    let mut seen: Vec<(u16, &str)> = Vec::new();
    for port in &facts.ports {
        let known = rows.iter().any(|row| {
            row.get("port").and_then(Value::as_u64) == Some(u64::from(port.port))
                && row
                    .get("protocol")
                    .and_then(Value::as_str)
                    .unwrap_or("tcp")
                    .eq_ignore_ascii_case(&port.protocol)
        });
        if known || seen.contains(&(port.port, &port.protocol)) {
            continue;
        }
        seen.push((port.port, &port.protocol));
        let finding = IE06
            .finding(format!("discovery does not know `{}` on port {}", port.service, port.port))
            .about(format!("{}/{}", port.port, port.protocol))
            .remediation(format!("Register it in `{PATH}`, as proposed."));
        answers.push(outcome.note(match &port.location {
            Some(location) => finding.at_location(location.clone()),
            None => finding,
        }));
        rows.push(row(facts, port));
    }
    if answers.is_empty() {
        return Ok(());
    }
    let mut text = serde_json::to_string_pretty(&rows)?;
    text.push('\n');
    let edit = match &file {
        None => Edit::create(PATH, text),
        Some(file) => file.edit().substitute(0..file.text().len(), text),
    };
    let edit =
        edit.safe().owned(Ownership::Managed).because("registers published services for discovery");
    outcome.change(edit, answers);
    Ok(())
}

fn row(facts: &Facts, port: &PublishedPort) -> Value {
    let service = facts.services.iter().find(|service| service.name == port.service);
    let name = if port.service == facts.name {
        port.service.clone()
    } else {
        format!("{}-{}", facts.name, port.service.replace('/', "-"))
    };
    let mut row = json!({
        "service_name": name,
        "service_type": service_type(service),
        "port": port.port,
        "protocol": port.protocol,
        "project": facts.name,
        "purpose": format!("`{}` of {}", port.service, facts.name),
    });
    if let Some(health) = service.and_then(|service| service.health.as_ref()) {
        row["health"] = json!(health);
    }
    row
}

/// Guesses what a service is for, in the words of the registry.
pub(crate) fn service_type(service: Option<&ServiceFact>) -> &'static str {
    let Some(service) = service else { return "api" };
    let name = service.name.to_lowercase();
    let image = service.image.as_deref().unwrap_or_default().to_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| image.contains(word) || name.contains(word));
    if is(&[
        "postgres",
        "mysql",
        "mariadb",
        "mongo",
        "redis",
        "valkey",
        "cassandra",
        "elasticsearch",
        "influx",
        "memcached",
    ]) {
        "database"
    } else if is(&["grafana", "prometheus", "kibana", "jaeger", "loki"]) {
        "monitoring"
    } else if is(&["nginx", "httpd", "caddy", "traefik", "web", "front", "ui", "proxy"]) {
        "web_ui"
    } else if is(&["rabbitmq", "kafka", "nats", "mqtt", "redpanda"]) {
        "communication"
    } else if is(&["mcp"]) {
        "mcp_server"
    } else {
        "api"
    }
}
