//! IE02: the start-up checks, `.caelum/preflight.sh`.

use std::collections::BTreeSet;

use caelum_sdk::{Context, Edit, Ownership, PluginError, Severity, SourceFile, Target, sha256_hex};

use crate::IE02;
use crate::facts::Facts;
use crate::outcome::Outcome;

/// Where the checks stand.
pub(crate) const PATH: &str = ".caelum/preflight.sh";
/// What the script is made from.
const TEMPLATE: &str = include_str!("templates/preflight.sh");
/// By what a script of this pattern is known.
const MARK: &str = "# Made by the Caelum pattern infrastructure-enforcement";

/// Looks at the checks.
pub(crate) fn look(
    target: &dyn Target,
    facts: &Facts,
    context: &Context,
    outcome: &mut Outcome,
) -> Result<(), PluginError> {
    outcome.looked(IE02);
    let wanted = script(facts);
    let name = &facts.name;
    let Some(file) = SourceFile::read_if_present(target, PATH)? else {
        let number = outcome.note(
            IE02.finding(format!("`{name}` starts whatever is missing: it has no start-up checks"))
                .about("preflight")
                .remediation(format!(
                    "Add `{PATH}`, as proposed, and call it before the component starts."
                )),
        );
        let why = format!("checks what `{name}` needs, and refuses to start without it");
        outcome.change(
            Edit::create(PATH, wanted).safe().owned(Ownership::Managed).because(why),
            vec![number],
        );
        return Ok(());
    };
    if file.text() == wanted {
        return Ok(());
    }
    if !file.text().contains(MARK) {
        // Somebody's own checks; they count when they can fail.
        let can_fail = file
            .text()
            .lines()
            .any(|line| !line.trim_start().starts_with('#') && line.contains("exit"))
            || file.text().contains("set -e");
        if !can_fail {
            outcome.note(
                IE02.finding(format!(
                    "`{PATH}` can never fail: it neither exits nor stops at an error"
                ))
                .about("preflight")
                .at(PATH)
                .remediation("End it with another code than 0 when something is missing."),
            );
        }
        return Ok(());
    }
    let number = outcome.note(
        IE02.finding(format!("`{PATH}` does not check what the component declares"))
            .severity(Severity::Warning)
            .about("preflight")
            .at(PATH)
            .remediation("Make it anew, as proposed; requirements belong into `requires` of the declaration."),
    );
    // Whoever changed it by hand should see what goes.
    let unchanged = context.previous.as_ref().is_some_and(|previous| {
        let own = sha256_hex(file.text().as_bytes());
        previous.files.iter().any(|known| known.path == PATH && known.result_sha256 == own)
    });
    let edit = file
        .edit()
        .substitute(0..file.text().len(), wanted)
        .owned(Ownership::Managed)
        .because("makes the start-up checks anew from the declaration");
    outcome.change(if unchanged { edit.safe() } else { edit.review() }, vec![number]);
    Ok(())
}

/// Writes the script. All values were checked to be harmless between single quotes, one to a line.
fn script(facts: &Facts) -> String {
    let lines = |values: Vec<&str>| values.join("\n");
    let ports: BTreeSet<u16> =
        facts.ports.iter().filter(|port| port.protocol == "tcp").map(|port| port.port).collect();
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    let required = &facts.required;
    let safe = |values: &BTreeSet<String>| {
        lines(values.iter().map(String::as_str).filter(|value| !value.contains('\'')).collect())
    };
    TEMPLATE
        .replace("@COMPONENT@", &facts.name)
        .replace("@ENV@", &safe(&required.env))
        .replace("@FILES@", &safe(&required.files))
        .replace("@TCP@", &safe(&required.tcp))
        .replace("@PORTS@", &lines(ports.iter().map(String::as_str).collect()))
}
