//! Which image a service runs in, and which tools that brings for a check from inside.

use caelum_plugin_syntax::compose::Service;
use caelum_plugin_syntax::dockerfile::{Base, Dockerfile, Stage};
use caelum_plugin_syntax::image::ImageName;
use caelum_plugin_syntax::project::{ImageTools, image_tools};

use crate::inventory::{Docker, Inventory};

/// Tools in an image, as far as they are known.
pub type Tools = ImageTools;

/// Returns the directory of a path, without a slash at its end; the root is empty.
fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// Puts a relative path onto a directory. Nothing when it leaves the component.
fn join(directory: &str, relative: &str) -> Option<String> {
    if relative.starts_with('/') || relative.starts_with('~') {
        return None;
    }
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Returns the Dockerfile that a service of a compose file is built from, with the directory of the build, when both
/// lie in the component.
pub fn service_dockerfile<'i>(
    inventory: &'i Inventory,
    compose_path: &str,
    service: &Service<'_>,
) -> Option<(&'i Docker, String)> {
    let build = service.build().filter(|build| !build.inline)?;
    let context = join(directory(compose_path), build.context.as_deref()?)?;
    let dockerfile = join(&context, build.dockerfile.as_deref().unwrap_or("Dockerfile"))?;
    Some((inventory.dockerfiles.get(&dockerfile)?, context))
}

/// Returns the stage that a service's build ends with.
pub fn built_stage<'d>(docker: &'d Docker, service: &Service<'_>) -> Option<&'d Stage> {
    let target = service.build().and_then(|build| build.target);
    docker.dockerfile.final_stage(target.as_deref())
}

/// Returns what the image of a service brings, when that is known: from its name, or from its Dockerfile.
pub fn service_tools(
    inventory: &Inventory,
    compose_path: &str,
    service: &Service<'_>,
) -> Option<Tools> {
    if service.build().is_some() {
        let (docker, _) = service_dockerfile(inventory, compose_path, service)?;
        return stage_tools(&docker.dockerfile, built_stage(docker, service)?);
    }
    image_tools(&service.image()?)
}

/// Returns what a stage of a build brings: what its base has, and what it installs.
pub fn stage_tools(dockerfile: &Dockerfile, stage: &Stage) -> Option<Tools> {
    let lineage = dockerfile.lineage(stage);
    let mut tools = match lineage.last()?.base {
        Base::Scratch => Tools::default(),
        _ => image_tools(&ImageName::parse(dockerfile.base_image(stage)?)?)?,
    };
    for run in dockerfile.inherited(stage, "RUN") {
        let script = run.script();
        if !["apt-get", "apt ", "apk ", "yum ", "dnf ", "microdnf ", "zypper "]
            .iter()
            .any(|tool| script.contains(tool))
        {
            continue;
        }
        let has = |name: &str| {
            script
                .split(|letter: char| letter.is_whitespace() || "\"'[],;&|=".contains(letter))
                .any(|word| word == name)
        };
        tools.curl |= has("curl");
        tools.wget |= has("wget");
        tools.bash |= has("bash");
        tools.python |= has("python3") || has("python3-minimal");
        tools.node |= has("nodejs");
        tools.nc |= has("netcat-openbsd") || has("netcat-traditional") || has("nc");
    }
    // Binaries that are copied from elsewhere may be tools, too.
    for copy in dockerfile.inherited(stage, "COPY") {
        let copied = copy.script();
        let has = |name: &str| {
            copied.split_whitespace().any(|word| word.rsplit('/').next() == Some(name))
        };
        tools.curl |= has("curl");
        tools.wget |= has("wget");
    }
    Some(tools)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_beneath_the_component() {
        assert_eq!(join("a/b", "../c/./d").as_deref(), Some("a/c/d"));
        assert_eq!(join("", ".").as_deref(), Some(""));
        assert_eq!(join("a", "../../b"), None);
        assert_eq!(join("a", "/b"), None);
    }

    #[test]
    fn what_a_build_installs_counts() {
        let text = "FROM python:3.12-slim AS base\nRUN apt-get update && apt-get install -y --no-install-recommends curl\n\
            FROM base AS final\nFROM alpine:3.20 AS small\nFROM scratch AS none\nFROM example.com/odd AS odd\n";
        let file = Dockerfile::parse(text);
        let tools = |name: &str| stage_tools(&file, file.stage(name).expect("is there"));
        assert!(tools("final").is_some_and(|tools| tools.curl && tools.python && !tools.wget));
        assert!(tools("small").is_some_and(|tools| tools.wget && !tools.curl));
        assert_eq!(tools("none"), Some(Tools::default()));
        assert_eq!(tools("odd"), None);
    }
}
