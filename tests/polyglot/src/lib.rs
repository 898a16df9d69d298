//! The polyglot kit: the same validator (`coverage-floor`) and the same pattern (`text-hygiene`) in every language that
//! the author guide knows, held to the same answers. Here is where their components lie; what they have to answer is in
//! `cases/`, and the tests that ask them in `tests/`.
//!
//! The Rust ones are built by whoever asks for them, as every plugin of this repository. The others need toolchains from
//! PyPI and npm, which `make polyglot` installs; it names the folder with their components in [`FOLDER`]. Without it the
//! kit is Rust alone.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use caelum_plugin_build::{BuildRequest, Built, build};

/// The environment variable that names the folder with the components that other toolchains have made.
pub const FOLDER: &str = "CAELUM_POLYGLOT";

/// The validator.
pub const VALIDATOR: &str = "coverage-floor";

/// The pattern.
pub const PATTERN: &str = "text-hygiene";

/// A way to write plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Rust with the sdk.
    Rust,
    /// Python with componentize-py.
    Python,
    /// JavaScript with jco's back end QuickJS.
    QuickJs,
    /// JavaScript with jco's back end StarlingMonkey.
    StarlingMonkey,
}

impl Language {
    /// Every way that the kit knows.
    pub const ALL: [Self; 4] = [Self::Rust, Self::Python, Self::QuickJs, Self::StarlingMonkey];

    /// Returns the word that stands in the names of files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::QuickJs => "quickjs",
            Self::StarlingMonkey => "starlingmonkey",
        }
    }

    /// Returns the languages that can be asked here: all of them where [`FOLDER`] says so, otherwise Rust.
    pub fn here() -> Vec<Self> {
        match std::env::var_os(FOLDER) {
            Some(_) => Self::ALL.to_vec(),
            None => vec![Self::Rust],
        }
    }

    /// Returns the component of one of the kit's plugins.
    ///
    /// # Panics
    ///
    /// When it is not there, or cannot be built.
    pub fn component(self, plugin: &str) -> PathBuf {
        if self == Self::Rust {
            let built = RUST.iter().find(|built| built.identity.id == plugin);
            return built.unwrap_or_else(|| panic!("the kit has no `{plugin}`")).path.clone();
        }
        let folder = std::env::var_os(FOLDER).unwrap_or_else(|| {
            panic!("{FOLDER} is not set. hint: run `make polyglot`");
        });
        made(Path::new(&folder), &format!("{plugin}.{}", self.word()))
    }
}

/// Returns other components that the toolchains have made, by their names; none where [`FOLDER`] is not set.
///
/// # Panics
///
/// When [`FOLDER`] is set and one of them is not there.
pub fn beside(names: &[&str]) -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os(FOLDER) else { return vec![] };
    names.iter().map(|name| made(Path::new(&folder), name)).collect()
}

fn made(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(format!("{name}.wasm"));
    assert!(path.is_file(), "`{}` is not there. hint: run `make polyglot`", path.display());
    path
}

impl fmt::Display for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// Quick when nothing has changed.
static RUST: LazyLock<Vec<Built>> = LazyLock::new(|| {
    let kit = Path::new(env!("CARGO_MANIFEST_DIR")).join("rust");
    let packages = [VALIDATOR, PATTERN].map(|plugin| kit.join(plugin));
    build(&BuildRequest::new(packages)).unwrap_or_else(|error| panic!("{error}"))
});
