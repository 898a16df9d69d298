//! `plugin test`: cases with golden answers. Each case is run twice, and what every plugin has promised is checked
//! whatever the golden answer says.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use similar::TextDiff;

use super::build::Building;
use super::case::Case;
use super::exercise::Exercise;
use super::subject::Subject;
use crate::cli::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::{ATTENTION, BAD, FAINT, GOOD, Output, paint};
use crate::cli::pattern::show_diff;
use crate::config::Config;
use crate::mcp::tools::answer::counted;

/// Where the cases of a project are.
const CASES: &str = "cases";

/// What the files with golden answers end with.
const GOLDEN: &str = ".golden.json";

#[derive(Debug, Args)]
pub(super) struct Test {
    /// The plugin: its project, which is built first, or a .wasm file.
    #[arg(default_value = ".")]
    plugin: PathBuf,
    /// The directory with the cases; by default `cases` in the project, or beside the file.
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Only cases whose name holds this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Write the answers down as golden ones instead of comparing them.
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    building: Building,
}

/// What became of all cases.
#[derive(Serialize)]
struct Tested {
    plugin: String,
    version: String,
    passed: usize,
    failed: usize,
    written: usize,
    cases: Vec<CaseRow>,
}

/// What became of one case.
#[derive(Serialize)]
struct CaseRow {
    name: String,
    outcome: Outcome,
    /// Everything that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    /// How the answer differs from the golden one, as a unified diff.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
    /// What the plugin said, when something is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    log: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Passed,
    Failed,
    Written,
}

impl Test {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let subject = Subject::open(&self.plugin, &self.building, config, output).await?;
        let directory = self.cases.clone().unwrap_or_else(|| subject.directory.join(CASES));
        let paths = self.find(&directory)?;
        let cases = read_all(&paths)?;
        let mut tested = Tested {
            plugin: subject.plugin.name().to_string(),
            version: subject.plugin.version().to_string(),
            passed: 0,
            failed: 0,
            written: 0,
            cases: Vec::new(),
        };
        for (path, case) in paths.iter().zip(&cases) {
            let row = self.try_case(&subject, path, case).await?;
            match row.outcome {
                Outcome::Passed => tested.passed += 1,
                Outcome::Failed => tested.failed += 1,
                Outcome::Written => tested.written += 1,
            }
            show_row(output, &row).map_err(CommandError::Output)?;
            tested.cases.push(row);
        }
        show_sum(output, &tested).map_err(CommandError::Output)?;
        Ok(if tested.failed == 0 { Exit::Ok } else { Exit::Failed })
    }

    /// Finds the cases, sorted by name.
    fn find(&self, directory: &Path) -> Result<Vec<PathBuf>, CommandError> {
        let hint = "hint: a case is a JSON file such as {\"evidence\": {\"outcomes\": [{\"exit_code\": 0}]}}; \
                    `caelum-workflow plugin run --record FILE` writes one";
        let entries = std::fs::read_dir(directory).map_err(|error| {
            let text =
                format!("the cases in `{}` cannot be read: {error}\n{hint}", directory.display());
            match error.kind() {
                std::io::ErrorKind::NotFound => CommandError::NotFound(text),
                _ => CommandError::Usage(text),
            }
        })?;
        let is_case = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let wanted = self.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
            name.ends_with(".json") && !name.ends_with(GOLDEN) && !name.starts_with('.') && wanted
        };
        let mut paths: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(is_case).collect();
        paths.sort();
        if paths.is_empty() {
            return Err(CommandError::NotFound(format!(
                "no case in `{}`\n{hint}",
                directory.display()
            )));
        }
        Ok(paths)
    }

    async fn try_case(
        &self,
        subject: &Subject,
        path: &Path,
        case: &Case,
    ) -> Result<CaseRow, CommandError> {
        let first = Exercise::of(subject, case).await;
        let second = Exercise::of(subject, case).await;
        let (answer, again) = (pretty(&first), pretty(&second));
        let mut row = CaseRow {
            name: case.name.clone(),
            outcome: Outcome::Passed,
            problems: first.broken.clone(),
            diff: None,
            log: Vec::new(),
        };
        if answer != again {
            row.problems.push("it answers differently the second time".to_owned());
            row.diff = Some(unified(&answer, &again, "the first time", "the second time"));
        }
        let golden = golden_of(path);
        if row.problems.is_empty() && self.write {
            row.outcome = write(&golden, &answer)?;
        } else if row.problems.is_empty() {
            match std::fs::read_to_string(&golden) {
                Ok(expected) if expected == answer => {}
                Ok(expected) => {
                    row.problems.push(format!("it answers otherwise than `{}`", golden.display()));
                    row.diff = Some(unified(&expected, &answer, "golden", "answered"));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    row.problems.push(
                        "there is no golden answer yet: look at this one, then keep it with --write"
                            .to_owned(),
                    );
                    row.diff = Some(unified("", &answer, "golden", "answered"));
                }
                Err(error) => {
                    row.problems.push(format!("`{}` cannot be read: {error}", golden.display()));
                }
            }
        }
        if !row.problems.is_empty() {
            row.outcome = Outcome::Failed;
            row.log = super::run::log_lines(&first.reports);
        }
        Ok(row)
    }
}

/// Reads all cases, or says what is wrong with any of them.
fn read_all(paths: &[PathBuf]) -> Result<Vec<Case>, CommandError> {
    let mut problems = Vec::new();
    let mut cases = Vec::new();
    for path in paths {
        match Case::read(path) {
            Ok(case) => cases.push(case),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if problems.is_empty() { Ok(cases) } else { Err(CommandError::Usage(problems.join("\n"))) }
}

fn golden_of(case: &Path) -> PathBuf {
    let stem = case.file_stem().unwrap_or_default().to_string_lossy();
    case.with_file_name(format!("{stem}{GOLDEN}"))
}

fn pretty(exercise: &Exercise) -> String {
    let mut text = serde_json::to_string_pretty(&exercise.answer).unwrap_or_default();
    text.push('\n');
    text
}

/// Writes a golden answer, unless it stands there already.
fn write(golden: &Path, answer: &str) -> Result<Outcome, CommandError> {
    if std::fs::read_to_string(golden).is_ok_and(|kept| kept == answer) {
        return Ok(Outcome::Passed);
    }
    std::fs::write(golden, answer).map_err(|error| {
        CommandError::Usage(format!("`{}` cannot be written: {error}", golden.display()))
    })?;
    Ok(Outcome::Written)
}

fn unified(from: &str, to: &str, from_name: &str, to_name: &str) -> String {
    TextDiff::from_lines(from, to).unified_diff().header(from_name, to_name).to_string()
}

fn show_row(output: &mut Output, row: &CaseRow) -> std::io::Result<()> {
    let (style, word) = match row.outcome {
        Outcome::Passed => (GOOD, "passed"),
        Outcome::Failed => (BAD, "failed"),
        Outcome::Written => (ATTENTION, "written"),
    };
    output.line(format!("{} {}", paint(style, word), row.name))?;
    for problem in &row.problems {
        output.line(format!("  {problem}"))?;
    }
    if let Some(diff) = &row.diff {
        show_diff(output, diff)?;
    }
    for line in &row.log {
        output.line(format!("  {} {line}", paint(FAINT, "log:")))?;
    }
    Ok(())
}

fn show_sum(output: &mut Output, tested: &Tested) -> std::io::Result<()> {
    if output.result(tested)? {
        return Ok(());
    }
    let total = counted(tested.cases.len(), "case", "cases");
    let mut parts = vec![format!("{} passed", tested.passed)];
    if tested.written > 0 {
        parts.push(format!("{} written", tested.written));
    }
    if tested.failed > 0 {
        parts.push(format!("{} failed", tested.failed));
    }
    output.line(format!("{} {}: {total}, {}", tested.plugin, tested.version, parts.join(", ")))
}
