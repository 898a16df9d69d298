//! `systemctl show` of one unit.

use std::time::Duration;

use caelum_core::task::CommandSpec;
use serde_json::{Map, Value, json};

use super::{NoAnswer, Prober};
use crate::program;

/// What is asked for: enough to tell running from exited, restarting and failed.
const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,Result,UnitFileState,Type,MainPID,NRestarts,\
ExecMainStatus,ExecMainCode,ExecMainStartTimestamp,StateChangeTimestamp,ActiveEnterTimestamp";

/// The longest name of a unit (systemd.unit(5)).
const UNIT_BYTES_MAX: usize = 255;

pub(super) async fn fetch(
    prober: &Prober,
    name: &str,
    unit: &str,
    limit: Duration,
) -> Result<Value, NoAnswer> {
    let legal = |letter: char| letter.is_ascii_alphanumeric() || ":-_.\\@".contains(letter);
    if unit.is_empty()
        || unit.len() > UNIT_BYTES_MAX
        || unit.starts_with('-')
        || !unit.chars().all(legal)
    {
        return Err(NoAnswer::new(
            "invalid",
            format!("`{}` is not the name of a unit", unit.escape_debug()),
        ));
    }
    if program::find("systemctl", program::PATH_DEFAULT.as_ref(), "/".as_ref()).is_err() {
        return Err(NoAnswer::new("unavailable", "this machine has no `systemctl`"));
    }
    let command = CommandSpec {
        program: "systemctl".to_owned(),
        args: ["show", "--no-pager", "--property", PROPERTIES, "--", unit]
            .map(str::to_owned)
            .into(),
        ..CommandSpec::default()
    };
    let shown = prober.command(name, &command, limit).await?;
    let text = |stream: &str| shown[stream]["text"].as_str().unwrap_or_default().trim().to_owned();
    if shown["exit_code"] != json!(0) {
        let said = text("stderr");
        let said = if said.is_empty() { "it gave no reason".to_owned() } else { said };
        return Err(NoAnswer::new("unavailable", format!("`systemctl` could not answer: {said}")));
    }
    let properties: Map<String, Value> = text("stdout")
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    Ok(json!({"unit": unit, "properties": properties}))
}
