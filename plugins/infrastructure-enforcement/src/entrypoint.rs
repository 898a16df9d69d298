//! The start-up checks as the entry point of images. Proposed only when the parameters ask for it, and for review.

use caelum_plugin_component::{Docker, Inventory, at_position, stage_tools};
use caelum_plugin_syntax::dockerfile::Stage;
use caelum_plugin_syntax::image::ImageName;
use caelum_sdk::{Ownership, Severity};

use crate::IE02;
use crate::outcome::Outcome;
use crate::parameters::Parameters;
use crate::preflight;

/// Where the script lies in an image.
const IN_IMAGE: &str = "/usr/local/share/caelum/preflight.sh";
/// Official images without an entry point of their own that would be lost.
const PLAIN_BASES: [&str; 9] =
    ["python", "debian", "ubuntu", "alpine", "golang", "ruby", "rust", "busybox", "node"];

/// Looks at the Dockerfiles whose build can see `.caelum`: those in the component's root.
pub(crate) fn look(inventory: &Inventory, parameters: &Parameters, outcome: &mut Outcome) {
    if !parameters.entrypoint_wrap {
        return;
    }
    for (path, docker) in inventory.dockerfiles.iter().filter(|(path, _)| !path.contains('/')) {
        let Some(stage) = docker.dockerfile.final_stage(None) else { continue };
        if docker.file.text().contains("preflight.sh") {
            continue;
        }
        let finding = IE02
            .finding("the image starts without its start-up checks")
            .severity(Severity::Warning)
            .about(format!("{path}/entrypoint"))
            .at_location(at_position(path, stage.position));
        match command(docker, stage) {
            Ok(at) => {
                let ending = docker.file.line_end();
                let lines = format!(
                    "COPY {} {IN_IMAGE}{ending}ENTRYPOINT [\"sh\", \"{IN_IMAGE}\", \"--container\", \"--\"]{ending}",
                    preflight::PATH
                );
                let number = outcome
                    .note(finding.remediation("Run the checks as the entry point, as proposed."));
                let edit = docker.file.edit().insert(at, lines).owned(Ownership::Block).review();
                outcome.change(
                    edit.because("runs the start-up checks before the image's command"),
                    vec![number],
                );
            }
            Err(why) => {
                outcome.note(finding.remediation(format!(
                    "Call `sh {IN_IMAGE} --container -- COMMAND…` by hand: {why}."
                )));
            }
        }
    }
}

/// Returns where the command of a stage stands, when an entry point can be put in front of it.
fn command(docker: &Docker, stage: &Stage) -> Result<usize, &'static str> {
    let file = &docker.dockerfile;
    let image = file.base_image(stage).and_then(ImageName::parse);
    let plain = image
        .as_ref()
        .and_then(ImageName::official)
        .is_some_and(|name| PLAIN_BASES.contains(&name));
    if !plain || !stage_tools(file, stage).is_some_and(|tools| tools.shell) {
        return Err("the base image may have an entry point of its own, or no shell");
    }
    if !file.inherited(stage, "ENTRYPOINT").is_empty() {
        return Err("there is an entry point already");
    }
    let own = &file.instructions[stage.instructions.clone()];
    let command = own.iter().rev().find(|instruction| instruction.keyword == "CMD");
    let command = command.ok_or("the stage has no command of its own")?;
    command.exec_form().ok_or("its command is a line for the shell")?;
    Ok(command.span.start)
}
