//! Plugin projects of any language: which one a directory holds, and the toolchains of Python and JavaScript.
//!
//! A Rust project is a crate. The others have a file `caelum-plugin.toml`, which names language and world, the contract
//! in `wit/`, and the toolchain with its exact version in `requirements.txt` or `package.json`, installed into the
//! project when it is first built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::component::{hex, sha256};
use crate::error::{BuildError, absolute};
use crate::{Built, Messages};

/// What a project that is no crate says of itself.
const MANIFEST: &str = "caelum-plugin.toml";

/// Part of every key: raised when this crate makes something else of the same input.
const FORMAT: &str = "caelum-plugin-build project 1";

/// Part of every packed file's name: raised when packing writes something else.
const PACKED_FORMAT: u32 = 2;

/// Directories of a project that no build reads: what toolchains install and leave.
const IGNORED: [&str; 5] = ["target", "node_modules", "__pycache__", "cases", "tests"];

/// How many digits of a hash a file name holds.
const KEY_DIGITS: usize = 20;

/// How much of a tool's messages an error carries, in bytes: the end, where the errors are.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// The languages that projects are built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// A crate, built by cargo.
    Rust,
    /// Built by componentize-py.
    Python,
    /// Built by jco, with the QuickJS engine.
    JavaScript,
}

/// A plugin's project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Where it is.
    pub directory: PathBuf,
    /// What it is written in.
    pub language: Language,
    /// The world that it implements; a crate says it in its code.
    world: String,
}

/// A component as its toolchain left it, not yet packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The component.
    pub path: PathBuf,
    /// The directory for what is made of it.
    pub target_dir: PathBuf,
    /// Whether it was there already and nothing ran for it.
    pub cached: bool,
    /// What the project is called.
    name: String,
    sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    language: Language,
    world: String,
}

impl Project {
    /// Finds out what a directory holds.
    ///
    /// # Errors
    /// `NoProject`, `Manifest` and `File`.
    pub fn find(directory: &Path) -> Result<Self, BuildError> {
        let directory = absolute(directory)?;
        let is_crate = directory.ends_with("Cargo.toml") || directory.join("Cargo.toml").is_file();
        if is_crate {
            return Ok(Project { directory, language: Language::Rust, world: String::new() });
        }
        let path = directory.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(BuildError::NoProject { directory });
            }
            Err(error) => return Err(BuildError::file("read", &path)(error)),
        };
        let wrong = |reason: String| BuildError::Manifest { path: path.clone(), reason };
        let manifest: Manifest =
            toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
        if manifest.language == Language::Rust {
            return Err(wrong("a project in Rust is a crate: it has a `Cargo.toml`".to_owned()));
        }
        if !["improvement-pattern", "step-validator"].contains(&manifest.world.as_str()) {
            return Err(wrong(format!(
                "expected `world` to be `improvement-pattern` or `step-validator`, found `{}`",
                manifest.world
            )));
        }
        Ok(Project { directory, language: manifest.language, world: manifest.world })
    }

    /// Builds a project in Python or JavaScript. Nothing runs when nothing has changed since it was last built. What is
    /// made is kept in `target_dir`, by default `target/plugins` of the project.
    ///
    /// # Errors
    /// `Toolchain` when it cannot be installed, `Tool` when it refuses the project, `File`.
    ///
    /// # Panics
    /// For a crate, which [`build`](crate::build) builds.
    pub fn build(
        &self,
        target_dir: Option<&Path>,
        offline: bool,
        messages: Messages,
    ) -> Result<Unpacked, BuildError> {
        let target_dir = match target_dir {
            Some(directory) => absolute(directory)?,
            None => self.directory.join("target/plugins"),
        };
        let name = self.directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let key = self.key()?;
        let components = target_dir.join("components");
        let path = components.join(format!("{name}.{}.wasm", &key[..KEY_DIGITS]));
        let unpacked = |cached| -> Result<Unpacked, BuildError> {
            let bytes = fs::read(&path).map_err(BuildError::file("read", &path))?;
            Ok(Unpacked {
                sha256: sha256(&bytes),
                path: path.clone(),
                target_dir: target_dir.clone(),
                cached,
                name: name.clone(),
            })
        };
        if path.is_file() {
            return unpacked(true);
        }
        fs::create_dir_all(&components).map_err(BuildError::file("make", &components))?;
        let unfinished = components.join(format!(".{name}.unfinished"));
        let tools = Tools { project: self, offline, messages };
        match self.language {
            Language::Python => tools.python(&unfinished)?,
            Language::JavaScript => tools.javascript(&unfinished)?,
            Language::Rust => panic!("a crate is built by `build`"),
        }
        fs::rename(&unfinished, &path).map_err(BuildError::file("write", &path))?;
        unpacked(false)
    }

    /// Returns the hash of everything that decides what the project becomes: all of its files but those that are made.
    fn key(&self) -> Result<String, BuildError> {
        let mut hash = Sha256::new();
        hash.update(FORMAT);
        self.feed(&self.directory, &mut hash)?;
        Ok(hex(&hash.finalize()))
    }

    fn feed(&self, directory: &Path, hash: &mut Sha256) -> Result<(), BuildError> {
        let listed = || -> std::io::Result<Vec<fs::DirEntry>> {
            fs::read_dir(directory)?.collect::<Result<_, _>>()
        };
        let mut entries = listed().map_err(BuildError::file("list", directory))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if name.starts_with('.') || IGNORED.contains(&name.as_ref()) {
                continue;
            }
            let kind = entry.file_type().map_err(BuildError::file("look at", &path))?;
            if kind.is_dir() {
                self.feed(&path, hash)?;
            } else if kind.is_file() {
                let bytes = fs::read(&path).map_err(BuildError::file("read", &path))?;
                let below = path.strip_prefix(&self.directory).unwrap_or(&path);
                hash.update(format!("{}\n{}\n", below.display(), bytes.len()));
                hash.update(&bytes);
            }
        }
        Ok(())
    }
}

impl Unpacked {
    /// Takes what cargo built.
    #[must_use]
    pub fn of(built: Built) -> Self {
        let components = built.path.parent().unwrap_or(Path::new(""));
        Unpacked {
            target_dir: components.parent().unwrap_or(components).to_owned(),
            cached: built.cached,
            name: built.package,
            sha256: built.sha256,
            path: built.path,
        }
    }

    /// Returns where the packed form of exactly this component is kept.
    #[must_use]
    pub fn packed_path(&self) -> PathBuf {
        let version = env!("CARGO_PKG_VERSION");
        let hash = &self.sha256[..KEY_DIGITS];
        let file = format!("{}.{version}-{PACKED_FORMAT}.{hash}.wasm", self.name);
        self.target_dir.join("packed").join(file)
    }

    /// Keeps the packed form, and forgets those of earlier contents.
    ///
    /// # Errors
    /// `File`.
    pub fn keep_packed(&self, bytes: &[u8]) -> Result<(), BuildError> {
        let path = self.packed_path();
        let directory = path.parent().unwrap_or(&self.target_dir);
        fs::create_dir_all(directory).map_err(BuildError::file("make", directory))?;
        let prefix = format!("{}.", self.name);
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_file(entry.path()).ok();
            }
        }
        let unfinished = directory.join(format!(".{}.unfinished", self.name));
        fs::write(&unfinished, bytes).map_err(BuildError::file("write", &unfinished))?;
        fs::rename(&unfinished, &path).map_err(BuildError::file("write", &path))
    }
}

/// Runs the tools of one project.
struct Tools<'a> {
    project: &'a Project,
    offline: bool,
    messages: Messages,
}

impl Tools<'_> {
    fn python(&self, to: &Path) -> Result<(), BuildError> {
        let own = self.directory().join(".venv/bin");
        let tool = own.join("componentize-py");
        if !tool.is_file() {
            self.installable("componentize-py", ".venv")?;
            let mut venv = self.command("python3");
            venv.args(["-m", "venv", ".venv"]);
            self.install("componentize-py", venv)?;
            let mut pip = self.command(own.join("python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
            pip.args(["--requirement", "requirements.txt"]);
            self.install("componentize-py", pip)?;
        }
        let mut command = self.command(&tool);
        // With WASI, which is inert in the host but for one thing: what a traceback says reaches the log.
        command.args(["-d", "wit", "-w", &self.project.world]);
        command.args(["componentize", "plugin", "-o"]).arg(to);
        self.run(command)
    }

    fn javascript(&self, to: &Path) -> Result<(), BuildError> {
        let tool = self.directory().join("node_modules/.bin/jco");
        if !tool.is_file() {
            self.installable("jco", "node_modules")?;
            let mut npm = self.command("npm");
            npm.args(["install", "--no-audit", "--no-fund", "--loglevel", "error"]);
            self.install("jco", npm)?;
        }
        let mut command = self.command(&tool);
        command.args(["componentize", "plugin.js", "--wit", "wit"]);
        command.args(["--world-name", &self.project.world]);
        command.args(["--backend", "qjs", "--backend-qjs-disable-async", "-o"]).arg(to);
        self.run(command)
    }

    fn directory(&self) -> &Path {
        &self.project.directory
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory()).stdin(Stdio::null());
        if self.messages == Messages::Shown {
            // Standard output is for results.
            command.stdout(Stdio::from(std::io::stderr())).stderr(Stdio::inherit());
        }
        command
    }

    fn installable(&self, tool: &'static str, into: &str) -> Result<(), BuildError> {
        match self.offline {
            false => Ok(()),
            true => Err(BuildError::Toolchain {
                tool,
                reason: format!(
                    "it is not in `{}`, and the network is out of bounds\nhint: build once without `--offline`",
                    self.directory().join(into).display()
                ),
            }),
        }
    }

    fn install(&self, tool: &'static str, command: Command) -> Result<(), BuildError> {
        self.run(command).map_err(|error| BuildError::Toolchain {
            tool,
            reason: match &error {
                BuildError::Start { program, source } => format!(
                    "`{}` did not start: {source}\nhint: install {}",
                    program.display(),
                    if tool == "jco" {
                        "Node.js 20 or newer with npm"
                    } else {
                        "Python 3.10 or newer with venv"
                    }
                ),
                other => other.to_string(),
            },
        })
    }

    fn run(&self, mut command: Command) -> Result<(), BuildError> {
        let program = PathBuf::from(command.get_program());
        let output = command
            .output()
            .map_err(|source| BuildError::Start { program: program.clone(), source })?;
        if output.status.success() {
            return Ok(());
        }
        let mut said = output.stdout;
        said.extend(output.stderr);
        let start = said.len().saturating_sub(OUTPUT_BYTES_MAX);
        let said = String::from_utf8_lossy(&said[start..]).trim_end().to_owned();
        Err(BuildError::Tool {
            tool: program.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            directory: self.directory().to_owned(),
            status: output.status.to_string(),
            output: if said.is_empty() { said } else { format!("\n{said}") },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        root
    }

    const PYTHON: (&str, &str) = (MANIFEST, "language = \"python\"\nworld = \"step-validator\"\n");

    #[test]
    fn a_directory_is_known_by_what_is_in_it() {
        let language = |files: &[(&str, &str)]| {
            Project::find(project(files).path()).map(|project| project.language)
        };

        assert_eq!(language(&[("Cargo.toml", "")]).expect("a crate"), Language::Rust);
        assert_eq!(language(&[PYTHON]).expect("a project"), Language::Python);
        let reason = |text| language(&[(MANIFEST, text)]).expect_err("refused").to_string();
        assert!(reason("language = \"go\"\nworld = \"step-validator\"").contains("`go`"));
        assert!(reason("language = \"python\"\nworld = \"x\"").contains("found `x`"));
        assert!(reason("language = \"rust\"\nworld = \"step-validator\"").contains("is a crate"));
        let error = language(&[]).expect_err("nothing").to_string();
        assert!(error.contains("caelum-workflow plugin new"), "{error}");
    }

    #[test]
    fn only_sources_decide_whether_something_is_built_again() {
        let root = project(&[PYTHON, ("plugin.py", "a"), ("wit/a.wit", "b")]);
        let project = Project::find(root.path()).expect("a project");
        let before = project.key().expect("a key");

        for made in ["target/x", ".venv/bin/y", "node_modules/z", "cases/a.json"] {
            let path = root.path().join(made);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, "new").expect("written");
        }
        assert_eq!(project.key().expect("a key"), before);

        fs::write(root.path().join("wit/a.wit"), "c").expect("written");
        assert_ne!(project.key().expect("a key"), before);
    }

    #[test]
    fn a_toolchain_that_is_not_there_is_not_fetched_offline() {
        let root = project(&[PYTHON, ("plugin.py", "")]);
        let project = Project::find(root.path()).expect("a project");

        let error = project.build(None, true, Messages::Kept).expect_err("refused").to_string();

        assert!(
            error.contains("componentize-py") && error.contains("without `--offline`"),
            "{error}"
        );
    }
}
