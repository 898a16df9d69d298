//! HC03 in Dockerfiles of components that nothing else describes. Where compose or Kubernetes runs the image, their
//! probes count, and a HEALTHCHECK would be noise.

use caelum_plugin_component::{Docker, Inventory, at_position, stage_tools};
use caelum_plugin_syntax::compose::duration_text;
use caelum_plugin_syntax::position::{line_end, line_ending};
use caelum_plugin_syntax::splice::Splice;

use crate::HC03;
use crate::parameters::Parameters;
use crate::proposal::{Change, Proposal, Proposals};
use crate::test_command::{Question, check};

/// Looks at a Dockerfile.
pub(crate) fn look(
    inventory: &Inventory,
    path: &str,
    docker: &Docker,
    parameters: &Parameters,
    proposals: &mut Proposals,
) {
    let file = &docker.dockerfile;
    let Some(stage) = file.final_stage(None) else { return };
    let ports = file.exposed_ports(stage);
    // Without a port it may be a tool that ends.
    let Some((port, _)) = ports.first().copied() else { return };
    proposals.looked(HC03);
    if !file.inherited(stage, "HEALTHCHECK").is_empty() {
        return;
    }
    let finding = HC03
        .finding(format!("the image serves port {port} and has no HEALTHCHECK"))
        .about("HEALTHCHECK")
        .at_location(at_position(path, stage.position));
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let tools = stage_tools(file, stage);
    let route = inventory.routes.health(directory, &parameters.path);
    let test = tools.and_then(|tools| {
        let http = route.and_then(|route| {
            check(&Question::Http(route), port, tools, parameters.tool, parameters.timeout_s)
        });
        http.or_else(|| check(&Question::Tcp, port, tools, parameters.tool, parameters.timeout_s))
    });
    let Some(test) = test else {
        let remediation = "Add a HEALTHCHECK with a program that the image has, or say where it is probed from outside.";
        proposals.push(Proposal::finding(finding.remediation(remediation)));
        return;
    };
    let text = docker.file.text();
    let own = &file.instructions[stage.instructions.clone()];
    // In front of what starts the service, so that the last line stays the last.
    let start =
        own.iter().find(|instruction| matches!(instruction.keyword.as_str(), "CMD" | "ENTRYPOINT"));
    let ending = line_ending(text);
    let seconds = |seconds: u32| duration_text(u64::from(seconds) * 1000);
    let instruction = format!(
        "HEALTHCHECK --interval={} --timeout={} --start-period={} --retries={} CMD {}",
        seconds(parameters.interval_s),
        seconds(parameters.timeout_s),
        seconds(parameters.start_period_s),
        parameters.retries,
        test.dockerfile()
    );
    let splice = match start {
        Some(instruction_at) => {
            Splice::insert(instruction_at.span.start, format!("{instruction}{ending}"))
        }
        None => {
            let end = own.last().map_or(text.len(), |last| line_end(text, last.span.end));
            let missing = if text[..end].ends_with('\n') { "" } else { ending };
            Splice::insert(end, format!("{missing}{instruction}{ending}"))
        }
    };
    let change = Change::review(
        &docker.file,
        vec![splice],
        "asks for the health of the service in the image",
    );
    let finding = finding.remediation("Add the proposed HEALTHCHECK.");
    proposals.push(Proposal::new(finding, Some(change)));
}
