//! `plugin new`: a project that builds, with cases that pass. The files are part of this program: nothing is fetched.

mod template;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::{FAINT, GOOD, Output, paint};
use crate::config::Config;

use self::template::{Names, files};

/// The longest id of a plugin, in bytes. The contract's limit.
const ID_BYTES_MAX: usize = 64;

#[derive(Debug, Args)]
pub(super) struct New {
    /// The plugin's id: lower-case letters, digits and `-`, a letter first.
    name: String,
    /// What it is going to be.
    #[arg(long, value_enum, default_value = "validator")]
    kind: Kind,
    /// What it is written in.
    #[arg(long, value_enum, default_value = "rust")]
    lang: Lang,
    /// The directory to make; by default the name.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The directory of the crate caelum-sdk, for projects in Rust; by default that of the checkout that this program
    /// or the project lies in, and otherwise the published crate.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

/// What a plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Judges whether a step is done.
    Validator,
    /// Finds what a component lacks, and proposes the change.
    Pattern,
}

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Lang {
    Rust,
    Python,
    Js,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Validator => "validator",
            Kind::Pattern => "pattern",
        }
    }
}

impl Lang {
    fn word(self) -> &'static str {
        match self {
            Lang::Rust => "Rust",
            Lang::Python => "Python",
            Lang::Js => "JavaScript",
        }
    }
}

#[derive(Serialize)]
struct Made {
    name: String,
    kind: &'static str,
    lang: &'static str,
    directory: PathBuf,
    files: Vec<String>,
    /// The commands from here to a listed plugin.
    next: Vec<String>,
}

impl New {
    pub(super) async fn run(
        self,
        _config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        check_id(&self.name)?;
        let directory = self.directory.clone().unwrap_or_else(|| PathBuf::from(&self.name));
        let occupied =
            std::fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_some());
        if occupied || directory.is_file() {
            return Err(CommandError::Usage(format!(
                "`{}` is there already and is not empty\nhint: choose another name, or another place with --directory",
                directory.display()
            )));
        }
        let sdk = match &self.sdk {
            Some(sdk) => Some(checked_sdk(sdk)?),
            None => find_sdk(&directory),
        };
        let names = Names::new(&self.name, self.kind, sdk.as_deref());
        let files = files(self.kind, self.lang);
        for (path, text) in &files {
            write(&directory.join(path), &names.fill(text))?;
        }
        let shown = directory.display();
        let made = Made {
            name: self.name,
            kind: self.kind.word(),
            lang: self.lang.word(),
            files: files.iter().map(|(path, _)| (*path).to_owned()).collect(),
            next: vec![
                format!("caelum-workflow plugin test {shown}"),
                format!("caelum-workflow plugin build {shown} --install"),
            ],
            directory,
        };
        show(output, &made).map_err(CommandError::Output)?;
        Ok(Exit::Ok)
    }
}

fn check_id(id: &str) -> Result<(), CommandError> {
    let first = id.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let rest =
        id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if first && rest && id.len() <= ID_BYTES_MAX && !id.ends_with('-') {
        return Ok(());
    }
    Err(CommandError::Usage(format!(
        "`{id}` cannot be the name of a plugin: expected 1 to {ID_BYTES_MAX} lower-case letters, digits and `-`, a letter \
         first, such as `health-check`"
    )))
}

/// Whether a directory holds the crate caelum-sdk.
fn is_sdk(directory: &Path) -> bool {
    std::fs::read_to_string(directory.join("Cargo.toml"))
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "name = \"caelum-sdk\""))
}

fn checked_sdk(directory: &Path) -> Result<PathBuf, CommandError> {
    if !is_sdk(directory) {
        return Err(CommandError::NotFound(format!(
            "`{}` is not the crate caelum-sdk: it has no `Cargo.toml` with that name",
            directory.display()
        )));
    }
    directory.canonicalize().map_err(|error| {
        CommandError::Usage(format!("`{}` cannot be read: {error}", directory.display()))
    })
}

/// Finds the crate in the checkout that the project or this program lies in.
fn find_sdk(project: &Path) -> Option<PathBuf> {
    let places = [std::path::absolute(project).ok(), std::env::current_exe().ok()];
    let above = places.iter().flatten().flat_map(|place| place.ancestors().skip(1));
    above.map(|directory| directory.join("sdk")).find(|sdk| is_sdk(sdk))
}

fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    let directory = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(directory).and_then(|()| std::fs::write(path, text)).map_err(|error| {
        CommandError::Usage(format!("`{}` cannot be written: {error}", path.display()))
    })
}

fn show(output: &mut Output, made: &Made) -> std::io::Result<()> {
    if output.result(made)? {
        return Ok(());
    }
    let directory = made.directory.display();
    output.line(format!(
        "{} in {directory}: a {} in {}",
        paint(GOOD, &made.name),
        made.kind,
        made.lang
    ))?;
    for file in &made.files {
        output.line(format!("  {}", paint(FAINT, file)))?;
    }
    output.line("next:")?;
    for command in &made.next {
        output.line(format!("  {command}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_the_rules_of_ids() {
        for good in ["a", "health-check", "x9"] {
            assert!(check_id(good).is_ok(), "{good}");
        }
        for bad in ["", "Health", "9a", "-a", "a-", "a_b", "../x", "a b", &"a".repeat(65)] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_of_a_template_is_left_open() {
        for kind in [Kind::Validator, Kind::Pattern] {
            for lang in [Lang::Rust, Lang::Python, Lang::Js] {
                let names = Names::new("my-gate", kind, Some(Path::new("/sdk")));
                for (path, text) in files(kind, lang) {
                    let filled = names.fill(text);
                    assert!(!filled.contains("{{"), "{lang:?} {path}: {filled}");
                }
            }
        }
    }
}
