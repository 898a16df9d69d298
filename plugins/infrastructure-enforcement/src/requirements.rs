//! What compose files show that must be there before anything starts: variables without a default, and files that are
//! bound in, read or handed over.

use std::collections::BTreeSet;

use caelum_plugin_component::Inventory;
use caelum_plugin_syntax::compose::ComposeFile;
use caelum_plugin_syntax::project::extension;
use caelum_plugin_syntax::yaml::{Kind, Node, YamlFile};

use crate::naming;

/// What must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Required {
    pub(crate) env: BTreeSet<String>,
    pub(crate) files: BTreeSet<String>,
    pub(crate) tcp: BTreeSet<String>,
}

/// Adds what a compose file shows. `directory` is the one it lies in.
pub(crate) fn of_compose(
    inventory: &Inventory,
    directory: &str,
    yaml: &YamlFile,
    required: &mut Required,
) {
    for leaf in yaml.leaves() {
        required.env.extend(variables(&leaf.text));
    }
    let Some(compose) = ComposeFile::read(yaml) else { return };
    let mut file = |path: &str| {
        if let Some(path) = beneath(directory, path)
            && looks_like_a_file(inventory, &path)
        {
            required.files.insert(path);
        }
    };
    for service in compose.services() {
        for volume in service.get("volumes").map(Node::items).unwrap_or_default() {
            if let Some(source) = bind_source(volume) {
                file(source);
            }
        }
        if let Some(env_file) = service.get("env_file") {
            let items =
                if env_file.kind() == Kind::Sequence { env_file.items() } else { vec![env_file] };
            for item in items {
                let optional = item.get("required").and_then(Node::as_bool) == Some(false);
                let path = item.as_str().or_else(|| item.get("path")?.as_str());
                if let Some(path) = path.filter(|_| !optional) {
                    file(path);
                }
            }
        }
    }
    for section in ["secrets", "configs"] {
        let Some(entries) = yaml.root().and_then(|root| root.get(section)) else { continue };
        for entry in entries.entries() {
            if let Some(path) = entry.value.get("file").and_then(Node::as_str) {
                file(path);
            }
        }
    }
}

/// Returns the variables of a text that have no default, so that somebody must set them.
fn variables(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            rest = tail;
            continue;
        }
        let braced = after.strip_prefix('{');
        let name_from = braced.unwrap_or(after);
        let end = name_from
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .unwrap_or(name_from.len());
        let (name, behind) = name_from.split_at(end);
        let open = match braced {
            // `${A}` and `${A:?message}`; with a default or an alternative nobody has to set it.
            Some(_) => {
                behind.starts_with('}') || behind.starts_with('?') || behind.starts_with(":?")
            }
            None => true,
        };
        if open && naming::is_variable(name) {
            found.push(name.to_owned());
        }
        rest = &name_from[end..];
    }
    found
}

/// Returns the path of the machine that a volume binds in, when it is one that lies beneath the component.
fn bind_source(volume: Node<'_>) -> Option<&str> {
    if volume.kind() == Kind::Mapping {
        let bind = volume.get("type").and_then(Node::as_str) == Some("bind");
        return volume.get("source").and_then(Node::as_str).filter(|_| bind);
    }
    let (source, _) = volume.as_str()?.split_once(':')?;
    source.starts_with('.').then_some(source)
}

/// Puts a relative path onto a directory; nothing when it is none, holds variables or leaves the component.
fn beneath(directory: &str, path: &str) -> Option<String> {
    if path.starts_with(['/', '~']) || path.contains('$') {
        return None;
    }
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    naming::is_path(&path).then_some(path)
}

/// Whether a path is that of a file, not of a directory: by what is there, otherwise by its extension.
fn looks_like_a_file(inventory: &Inventory, path: &str) -> bool {
    if inventory.has(path) {
        return true;
    }
    let prefix = format!("{path}/");
    let is_directory = inventory.files.iter().any(|file| file.starts_with(&prefix));
    // Files that hold secrets are withheld from plugins, so that they seem to be missing.
    !is_directory && (extension(path).is_some() || path.rsplit('/').next() == Some(".env"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_without_a_default_are_required() {
        assert_eq!(
            variables("${A} $B ${C:-x} ${D-} ${E:?set it} ${F?} ${G:+y} $$H ${I:-${J}} $1"),
            ["A", "B", "E", "F", "J"]
        );
    }

    #[test]
    fn paths_that_leave_the_component_are_none() {
        assert_eq!(beneath("app", "./x/../nginx.conf").as_deref(), Some("app/nginx.conf"));
        assert_eq!(beneath("app", "../../x"), None);
        assert_eq!(beneath("", "/etc/x"), None);
        assert_eq!(beneath("", "${X}/y"), None);
        assert_eq!(beneath("", "./it's"), None);
    }
}
