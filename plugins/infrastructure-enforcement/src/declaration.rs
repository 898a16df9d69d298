//! IE01: the declaration, `.caelum/component.json`. What people add to it is kept.

use caelum_sdk::{Edit, Ownership, PluginError, Severity, SourceFile, Target};
use serde_json::{Map, Value, json};

use crate::IE01;
use crate::facts::Facts;
use crate::outcome::Outcome;
use crate::ports::UNCLAIMED;
use crate::preflight;

/// Where the declaration stands.
pub(crate) const PATH: &str = ".caelum/component.json";
/// The version of its form.
const SCHEMA: &str = "caelum-component/1";

/// Reads the declaration; nothing when it is not there or is no JSON object.
pub(crate) fn read(target: &dyn Target) -> Result<Option<Map<String, Value>>, PluginError> {
    let Some(text) = text(target)? else { return Ok(None) };
    Ok(match serde_json::from_str(&text) {
        Ok(Value::Object(declared)) => Some(declared),
        _ => None,
    })
}

fn text(target: &dyn Target) -> Result<Option<String>, PluginError> {
    Ok(SourceFile::read_if_present(target, PATH)?.map(|file| file.text().to_owned()))
}

/// Looks at the declaration.
pub(crate) fn look(
    target: &dyn Target,
    facts: &Facts,
    outcome: &mut Outcome,
) -> Result<(), PluginError> {
    outcome.looked(IE01);
    let wanted = wanted(facts);
    let name = &facts.name;
    let Some(file) = SourceFile::read_if_present(target, PATH)? else {
        let mut answers = outcome.marked(UNCLAIMED);
        answers.push(
            outcome.note(
                IE01.finding(format!(
                    "nothing tells machines what `{name}` is: there is no `{PATH}`"
                ))
                .about("declaration")
                .remediation(format!("Declare the component in `{PATH}`, as proposed.")),
            ),
        );
        let edit = Edit::create(PATH, pretty(&wanted)).safe().owned(Ownership::Managed);
        outcome.change(
            edit.because(format!("declares what `{name}` is, publishes and needs")),
            answers,
        );
        return Ok(());
    };
    let Some(declared) = &facts.declared else {
        outcome.note(
            IE01.finding(format!("`{PATH}` is no JSON object, so that machines cannot read it"))
                .about("declaration")
                .at(PATH)
                .remediation("Mend the JSON, or remove the file and apply the pattern again."),
        );
        return Ok(());
    };
    let mut merged = declared.clone();
    let mut stale = Vec::new();
    for (key, value) in wanted {
        if merged.get(&key) != Some(&value) {
            stale.push(format!("`{key}`"));
            merged.insert(key, value);
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    let mut answers = outcome.marked(UNCLAIMED);
    answers.push(
        outcome.note(
            IE01.finding(format!(
                "`{PATH}` does not say what the component's files show: {}",
                stale.join(", ")
            ))
            .severity(Severity::Warning)
            .about("declaration")
            .at(PATH)
            .remediation("Bring it up to date, as proposed; what was added to it by hand stays."),
        ),
    );
    let edit = file
        .edit()
        .substitute(0..file.text().len(), pretty(&merged))
        .safe()
        .owned(Ownership::Managed);
    outcome.change(
        edit.because("brings the declaration up to date with the component's files"),
        answers,
    );
    Ok(())
}

fn wanted(facts: &Facts) -> Map<String, Value> {
    let mut wanted = Map::new();
    wanted.insert("schema".into(), json!(SCHEMA));
    wanted.insert("component".into(), json!(facts.name));
    wanted.insert("kinds".into(), json!(facts.kinds));
    if !facts.is_service {
        return wanted;
    }
    let services: Vec<Value> = facts
        .services
        .iter()
        .map(|service| {
            let mut row = Map::new();
            row.insert("name".into(), json!(service.name));
            row.insert("source".into(), json!(service.source));
            row.insert("ports".into(), json!(service.ports));
            if let Some(health) = &service.health {
                row.insert("health".into(), json!(health));
            }
            Value::Object(row)
        })
        .collect();
    wanted.insert("services".into(), json!(services));
    let ports: Vec<Value> = facts
        .ports
        .iter()
        .map(|port| json!({"port": port.port, "protocol": port.protocol, "service": port.service}))
        .collect();
    wanted.insert("ports".into(), json!(ports));
    let required = &facts.required;
    wanted.insert(
        "requires".into(),
        json!({"env": required.env, "tcp": required.tcp, "files": required.files}),
    );
    wanted.insert("startup_validation".into(), json!(format!("sh {}", preflight::PATH)));
    wanted
}

/// Answers whether the declaration that is there claims a port.
pub(crate) fn claims(facts: &Facts, port: u16, protocol: &str) -> bool {
    let rows = facts.declared.as_ref().and_then(|declared| declared.get("ports")?.as_array());
    rows.into_iter().flatten().any(|row| {
        row.get("port").and_then(Value::as_u64) == Some(u64::from(port))
            && row.get("protocol").and_then(Value::as_str).unwrap_or("tcp") == protocol
    })
}

/// Writes a JSON object for people.
pub(crate) fn pretty(value: &Map<String, Value>) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}
