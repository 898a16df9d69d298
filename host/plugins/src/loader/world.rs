//! The fourth and fifth stage: is the component valid, and does it fit one of our worlds? Everything that is missing
//! and everything that is not offered is named at once, before anything is compiled.

use std::collections::BTreeSet;

use caelum_core::plugin::PluginKind;
use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::Types;
use wasmparser::{Parser, Payload, Validator};

use crate::runtime::FEATURES;
use crate::text;

/// The package of the contract, and the track that this host speaks.
const PACKAGE: &str = "caelum:plugin";
const TRACK: (u64, u64) = (0, 1);

/// What this host offers to plugins besides WASI: interface and functions. The contract freezes them.
const OFFERED: [(&str, &[&str]); 4] = [
    ("types", &[]),
    ("log", &["log"]),
    ("target", &["entries", "glob", "read", "read-text"]),
    ("control", &["is-cancelled", "progress"]),
];

/// What a plugin has to export, by kind.
const WANTED: [(PluginKind, &str, &[&str]); 2] = [
    (PluginKind::Pattern, "pattern", &["describe", "validate", "plan"]),
    (PluginKind::Validator, "validator", &["describe", "judge"]),
];

/// The track of WASI that is offered, inert.
const WASI_TRACK: (u64, u64) = (0, 2);

/// The interfaces of WASI that are offered, inert.
const WASI: [(&str, &[&str]); 6] = [
    ("wasi:io", &["error", "poll", "streams"]),
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:clocks", &["wall-clock", "monotonic-clock"]),
    ("wasi:filesystem", &["types", "preopens"]),
    ("wasi:random", &["random", "insecure", "insecure-seed"]),
    (
        "wasi:sockets",
        &[
            "network",
            "instance-network",
            "ip-name-lookup",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
    ),
];

/// The bytes are not valid, or use what is switched off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is not a valid component: {message}")]
pub struct ValidateError {
    /// What the validator said, with the place.
    pub message: String,
}

impl ValidateError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        let message = self.message.as_str();
        if message.contains("unexpected end-of-file") || message.contains("unexpected end") {
            "copy the file again, completely"
        } else if message.contains("async") || message.contains("task.") {
            "the asynchronous component model is off: with jco add `--backend-qjs-disable-async`"
        } else if message.contains("must be enabled")
            || message.contains("not enabled")
            || message.contains("support is not enabled")
            || message.contains("is not supported")
        {
            "build for WebAssembly 2.0: without threads, 64-bit memories, garbage collection, tail calls, exceptions and relaxed SIMD"
        } else {
            "build the plugin again with a current toolchain"
        }
    }
}

/// Why a valid component is none of our plugins: every reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it fits no world of {PACKAGE}@0.1: {}", .problems.join("; "))]
pub struct WorldError {
    /// What is missing and what is not offered.
    pub problems: Vec<String>,
    /// What to do about each kind of problem.
    pub hints: Vec<String>,
}

/// Checks that the component is valid with the features that are on.
pub(crate) fn validate(component: &[u8]) -> Result<Types, ValidateError> {
    Validator::new_with_features(FEATURES)
        .validate_all(component)
        .map_err(|error| ValidateError { message: text::line(&error.to_string()) })
}

/// Finds out which kind of plugin a valid component is.
pub(crate) fn world(component: &[u8], types: &Types) -> Result<PluginKind, WorldError> {
    let names = names(component);
    let mut check = Check { types, problems: Vec::new(), hints: BTreeSet::new() };
    for import in &names.imports {
        check.import(import);
    }
    let kind = check.exports(&names.exports);
    match kind {
        Some(kind) if check.problems.is_empty() => Ok(kind),
        _ => Err(WorldError { problems: check.problems, hints: check.hints.into_iter().collect() }),
    }
}

/// The names of what a component imports and exports.
#[derive(Default)]
pub(super) struct Names {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

/// Returns the names of what the component itself imports and exports, not those of what is nested in it.
pub(super) fn names(component: &[u8]) -> Names {
    let mut names = Names::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::ComponentImportSection(section)) if depth == 0 => {
                names.imports.extend(
                    section.into_iter().flatten().map(|import| import.name.name.to_owned()),
                );
            }
            Ok(Payload::ComponentExportSection(section)) if depth == 0 => {
                names.exports.extend(
                    section.into_iter().flatten().map(|export| export.name.name.to_owned()),
                );
            }
            // It was valid a moment ago.
            Ok(_) | Err(_) => {}
        }
    }
    names
}

/// `package/interface@version`, taken apart.
struct Interface<'a> {
    package: &'a str,
    name: &'a str,
    version: Option<semver::Version>,
}

impl<'a> Interface<'a> {
    fn parse(full: &'a str) -> Option<Self> {
        let (package, rest) = full.split_once('/')?;
        let (name, version) = match rest.split_once('@') {
            Some((name, version)) => (name, semver::Version::parse(version).ok()),
            None => (rest, None),
        };
        Some(Interface { package, name, version })
    }

    fn is_of(&self, track: (u64, u64)) -> bool {
        self.version.as_ref().is_some_and(|version| {
            (version.major, version.minor) == track && version.pre.is_empty()
        })
    }
}

struct Check<'a> {
    types: &'a Types,
    problems: Vec<String>,
    hints: BTreeSet<String>,
}

impl Check<'_> {
    fn problem(&mut self, problem: String, hint: &str) {
        self.problems.push(problem);
        self.hints.insert(hint.to_owned());
    }

    fn functions(&self, item: Option<ComponentEntityType>) -> Option<BTreeSet<String>> {
        let ComponentEntityType::Instance(id) = item? else { return None };
        Some(
            self.types[id]
                .exports
                .iter()
                .filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)))
                .map(|(name, _)| name.clone())
                .collect(),
        )
    }

    fn import(&mut self, name: &str) {
        let shown = text::line(name);
        let Some(interface) = Interface::parse(name) else {
            self.problem(
                format!("imports `{shown}`, which is not offered"),
                "a plugin may import log, target and control of caelum:plugin and WASI 0.2, nothing else",
            );
            return;
        };
        if interface.package == PACKAGE {
            let offered = OFFERED.iter().find(|(offered, _)| *offered == interface.name);
            match offered {
                Some((_, functions)) if interface.is_of(TRACK) => {
                    self.offered_functions(name, functions);
                }
                Some(_) => self.other_track(format!("imports `{shown}`")),
                None => self.problem(
                    format!("imports `{shown}`, which is not offered"),
                    "a plugin may import log, target and control of caelum:plugin and WASI 0.2, nothing else",
                ),
            }
            return;
        }
        let wasi = WASI.iter().find(|(package, _)| *package == interface.package);
        let offered = wasi.is_some_and(|(_, interfaces)| interfaces.contains(&interface.name));
        if offered && interface.is_of(WASI_TRACK) {
            return;
        }
        let hint = if interface.package == "wasi:http" {
            "plugins have no network: with jco or componentize-js build with `--disable http --disable fetch-event`, with componentize-py use `--stub-wasi`"
        } else if interface.package.starts_with("wasi:")
            && interface.version.as_ref().is_some_and(|version| version.minor > 2)
        {
            "build for WASI 0.2 (target wasm32-wasip2)"
        } else {
            "a plugin may import log, target and control of caelum:plugin and WASI 0.2, nothing else"
        };
        self.problem(format!("imports `{shown}`, which is not offered"), hint);
    }

    fn offered_functions(&mut self, import: &str, offered: &[&str]) {
        let item = self.types.component_item_for_import(import).map(|item| item.ty);
        let Some(functions) = self.functions(item) else {
            self.problem(
                format!("imports `{}`, which is not an interface there", text::line(import)),
                "build with the WIT files of this server",
            );
            return;
        };
        for function in functions.iter().filter(|name| !offered.contains(&name.as_str())) {
            self.problem(
                format!(
                    "imports the function `{}` of `{}`, which this server does not have",
                    text::line(function),
                    text::line(import)
                ),
                "it was built for a newer server: update the server, or build with its caelum-sdk",
            );
        }
    }

    fn other_track(&mut self, what: String) {
        self.problem(
            format!("{what}, and this server speaks {PACKAGE} {}.{}", TRACK.0, TRACK.1),
            "build with the caelum-sdk (or the WIT files) of this server's version",
        );
    }

    fn exports(&mut self, exports: &[String]) -> Option<PluginKind> {
        let mut kinds = Vec::new();
        let mut others = Vec::new();
        for export in exports {
            let Some(interface) = Interface::parse(export) else { continue };
            let wanted = WANTED.iter().find(|(_, name, _)| *name == interface.name);
            match wanted {
                Some((kind, _, functions)) if interface.package == PACKAGE => {
                    if interface.is_of(TRACK) {
                        kinds.push(*kind);
                        self.exported_functions(export, functions);
                    } else {
                        others.push(text::line(export));
                    }
                }
                _ => {}
            }
        }
        match kinds.as_slice() {
            [kind] => return Some(*kind),
            [] if others.is_empty() => self.no_plugin(exports),
            [] => self.other_track(format!("exports `{}`", others.join("` and `"))),
            _ => self.problem(
                "exports both `pattern` and `validator`".to_owned(),
                "make two plugins of it: one file is a pattern or a validator",
            ),
        }
        None
    }

    fn exported_functions(&mut self, export: &str, wanted: &[&str]) {
        let item = self.types.component_item_for_export(export).map(|item| item.ty);
        let functions = self.functions(item).unwrap_or_default();
        let missing: Vec<&str> =
            wanted.iter().copied().filter(|name| !functions.contains(*name)).collect();
        if !missing.is_empty() {
            self.problem(
                format!("exports `{}` without `{}`", text::line(export), missing.join("`, `")),
                "build with the caelum-sdk (or the WIT files) of this server's version",
            );
        }
    }

    fn no_plugin(&mut self, exports: &[String]) {
        let shown: Vec<String> =
            exports.iter().take(8).map(|export| format!("`{}`", text::line(export))).collect();
        let found = if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") };
        let hint = if exports.iter().any(|export| export.starts_with("wasi:cli/run")) {
            "it is a program: build a library (`crate-type = [\"cdylib\"]`) that exports a plugin"
        } else {
            "export a pattern or a validator with caelum-sdk (`export_pattern!`, `export_validator!`)"
        };
        self.problem(
            format!("exports neither `{PACKAGE}/pattern@0.1.0` nor `{PACKAGE}/validator@0.1.0`, but {found}"),
            hint,
        );
    }
}
