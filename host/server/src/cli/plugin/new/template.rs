//! The files of new projects, and what is filled in.

use std::path::Path;

use super::{Kind, Lang};

/// A file of a project: its path, and its text with what is to be filled in.
pub(super) type File = (&'static str, &'static str);

/// Includes a file of the templates, which lie beside the sdk.
macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("../../../../../../sdk/templates/", $path))
    };
}

/// Includes a file of the contract.
macro_rules! contract {
    ($name:literal) => {
        (concat!("wit/", $name), include_str!(concat!("../../../../../../wit/", $name)))
    };
}

const RUST: [File; 3] = [
    ("Cargo.toml", template!("rust/Cargo.toml.template")),
    (".gitignore", template!("rust/gitignore")),
    ("README.md", template!("rust/README.md")),
];

const RUST_VALIDATOR: [File; 7] = [
    ("src/lib.rs", template!("rust/validator/lib.rs")),
    ("cases/nothing.json", template!("rust/validator/cases/nothing.json")),
    ("cases/nothing.golden.json", template!("rust/validator/cases/nothing.golden.json")),
    ("cases/passes.json", template!("rust/validator/cases/passes.json")),
    ("cases/passes.golden.json", template!("rust/validator/cases/passes.golden.json")),
    ("cases/silent.json", template!("rust/validator/cases/silent.json")),
    ("cases/silent.golden.json", template!("rust/validator/cases/silent.golden.json")),
];

const RUST_PATTERN: [File; 7] = [
    ("src/lib.rs", template!("rust/pattern/lib.rs")),
    ("cases/already-applied.json", template!("rust/pattern/cases/already-applied.json")),
    (
        "cases/already-applied.golden.json",
        template!("rust/pattern/cases/already-applied.golden.json"),
    ),
    ("cases/mends.json", template!("rust/pattern/cases/mends.json")),
    ("cases/mends.golden.json", template!("rust/pattern/cases/mends.golden.json")),
    ("cases/wrong-parameters.json", template!("rust/pattern/cases/wrong-parameters.json")),
    (
        "cases/wrong-parameters.golden.json",
        template!("rust/pattern/cases/wrong-parameters.golden.json"),
    ),
];

const PYTHON: [File; 5] = [
    ("README.md", template!("python/README.md")),
    ("caelum-plugin.toml", template!("python/caelum-plugin.toml")),
    ("requirements.txt", template!("python/requirements.txt")),
    ("caelum.py", template!("python/caelum.py")),
    (".gitignore", template!("python/gitignore")),
];

const PYTHON_VALIDATOR: [File; 7] = [
    ("plugin.py", template!("python/validator/plugin.py")),
    ("cases/nothing.json", template!("python/validator/cases/nothing.json")),
    ("cases/nothing.golden.json", template!("python/validator/cases/nothing.golden.json")),
    ("cases/passes.json", template!("python/validator/cases/passes.json")),
    ("cases/passes.golden.json", template!("python/validator/cases/passes.golden.json")),
    ("cases/silent.json", template!("python/validator/cases/silent.json")),
    ("cases/silent.golden.json", template!("python/validator/cases/silent.golden.json")),
];

const PYTHON_PATTERN: [File; 7] = [
    ("plugin.py", template!("python/pattern/plugin.py")),
    ("cases/already-applied.json", template!("python/pattern/cases/already-applied.json")),
    (
        "cases/already-applied.golden.json",
        template!("python/pattern/cases/already-applied.golden.json"),
    ),
    ("cases/mends.json", template!("python/pattern/cases/mends.json")),
    ("cases/mends.golden.json", template!("python/pattern/cases/mends.golden.json")),
    ("cases/wrong-parameters.json", template!("python/pattern/cases/wrong-parameters.json")),
    (
        "cases/wrong-parameters.golden.json",
        template!("python/pattern/cases/wrong-parameters.golden.json"),
    ),
];

const JAVASCRIPT: [File; 5] = [
    ("README.md", template!("javascript/README.md")),
    ("caelum-plugin.toml", template!("javascript/caelum-plugin.toml")),
    ("package.json", template!("javascript/package.json")),
    ("caelum.js", template!("javascript/caelum.js")),
    (".gitignore", template!("javascript/gitignore")),
];

const JAVASCRIPT_VALIDATOR: [File; 7] = [
    ("plugin.js", template!("javascript/validator/plugin.js")),
    ("cases/nothing.json", template!("javascript/validator/cases/nothing.json")),
    ("cases/nothing.golden.json", template!("javascript/validator/cases/nothing.golden.json")),
    ("cases/passes.json", template!("javascript/validator/cases/passes.json")),
    ("cases/passes.golden.json", template!("javascript/validator/cases/passes.golden.json")),
    ("cases/silent.json", template!("javascript/validator/cases/silent.json")),
    ("cases/silent.golden.json", template!("javascript/validator/cases/silent.golden.json")),
];

const JAVASCRIPT_PATTERN: [File; 7] = [
    ("plugin.js", template!("javascript/pattern/plugin.js")),
    ("cases/already-applied.json", template!("javascript/pattern/cases/already-applied.json")),
    (
        "cases/already-applied.golden.json",
        template!("javascript/pattern/cases/already-applied.golden.json"),
    ),
    ("cases/mends.json", template!("javascript/pattern/cases/mends.json")),
    ("cases/mends.golden.json", template!("javascript/pattern/cases/mends.golden.json")),
    ("cases/wrong-parameters.json", template!("javascript/pattern/cases/wrong-parameters.json")),
    (
        "cases/wrong-parameters.golden.json",
        template!("javascript/pattern/cases/wrong-parameters.golden.json"),
    ),
];

/// The contract, for toolchains that read it.
const CONTRACT: [File; 7] = [
    contract!("control.wit"),
    contract!("log.wit"),
    contract!("pattern.wit"),
    contract!("target.wit"),
    contract!("types.wit"),
    contract!("validator.wit"),
    contract!("worlds.wit"),
];

/// Returns the files of a project.
pub(super) fn files(kind: Kind, lang: Lang) -> Vec<File> {
    let parts: &[&[File]] = match (lang, kind) {
        (Lang::Rust, Kind::Validator) => &[&RUST, &RUST_VALIDATOR],
        (Lang::Rust, Kind::Pattern) => &[&RUST, &RUST_PATTERN],
        (Lang::Python, Kind::Validator) => &[&PYTHON, &PYTHON_VALIDATOR, &CONTRACT],
        (Lang::Python, Kind::Pattern) => &[&PYTHON, &PYTHON_PATTERN, &CONTRACT],
        (Lang::Js, Kind::Validator) => &[&JAVASCRIPT, &JAVASCRIPT_VALIDATOR, &CONTRACT],
        (Lang::Js, Kind::Pattern) => &[&JAVASCRIPT, &JAVASCRIPT_PATTERN, &CONTRACT],
    };
    parts.concat()
}

/// What is filled in.
pub(super) struct Names {
    name: String,
    title: String,
    kind: &'static str,
    world: &'static str,
    /// The name of the type, in Rust.
    type_name: String,
    /// The dependency on the sdk, as `Cargo.toml` says it.
    sdk: String,
}

impl Names {
    pub(super) fn new(name: &str, kind: Kind, sdk: Option<&Path>) -> Self {
        let capital = |word: &str| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
        };
        let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
        let version = env!("CARGO_PKG_VERSION");
        // A basic string of TOML: JSON's escapes are among its own.
        let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy()).to_string();
        Names {
            name: name.to_owned(),
            title: capital(&words.join(" ")).unwrap_or_default(),
            kind: kind.word(),
            world: match kind {
                Kind::Validator => "step-validator",
                Kind::Pattern => "improvement-pattern",
            },
            type_name: words.iter().filter_map(|word| capital(word)).collect(),
            sdk: match sdk {
                Some(path) => format!("{{ version = \"{version}\", path = {} }}", quoted(path)),
                None => format!("\"{version}\""),
            },
        }
    }

    pub(super) fn fill(&self, text: &str) -> String {
        text.replace("{{name}}", &self.name)
            .replace("{{title}}", &self.title)
            .replace("{{kind}}", self.kind)
            .replace("{{world}}", self.world)
            .replace("{{type}}", &self.type_name)
            .replace("{{sdk}}", &self.sdk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_the_id() {
        let names = Names::new("my-2nd-gate", Kind::Validator, Some(Path::new("/a \"b\"/sdk")));

        assert_eq!(
            names.fill("{{name}} {{title}} {{type}} {{world}} {{sdk}}"),
            "my-2nd-gate My 2nd gate My2ndGate step-validator { version = \"0.1.0\", path = \"/a \\\"b\\\"/sdk\" }"
        );
        assert_eq!(Names::new("a", Kind::Pattern, None).fill("{{sdk}}"), "\"0.1.0\"");
    }
}
