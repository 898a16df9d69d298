//! `plugin run`: one call by hand, its answer and what it took. `--record` keeps what was seen as a case.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use caelum_components::Components;
use caelum_core::causes::chain;
use caelum_core::evidence::{Evidence, VerdictKind};
use caelum_core::plugin::Phase;
use caelum_core::tree::Tree;
use caelum_plugin_host::CallReport;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::build::Building;
use super::case::{Case, read_evidence};
use super::exercise::{Ending, Exercise};
use super::recording::Recorder;
use super::subject::Subject;
use crate::cli::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::{ATTENTION, BAD, FAINT, GOOD, Output, STRONG, paint};
use crate::cli::parameters::Parameters;
use crate::cli::pattern::show_diff;
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The plugin: its project, which is built first, or a .wasm file.
    #[arg(default_value = ".")]
    plugin: PathBuf,
    /// Everything that the plugin is given, as a case.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["evidence", "target"])]
    case: Option<PathBuf>,
    /// The evidence that a validator judges, as a JSON file.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// The directory that the plugin sees. Nothing in it is changed.
    #[arg(long, value_name = "DIR")]
    target: Option<PathBuf>,
    /// Which gate asks a validator.
    #[arg(long, value_enum)]
    phase: Option<PhaseWord>,
    #[command(flatten)]
    parameters: Parameters,
    /// Keep parameters, evidence and what was seen of the target as a case for `plugin test`.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    building: Building,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PhaseWord {
    Before,
    After,
}

impl Run {
    pub(super) async fn run(
        self,
        config: &Config,
        output: &mut Output,
    ) -> Result<Exit, CommandError> {
        let subject = Subject::open(&self.plugin, &self.building, config, output).await?;
        // Components keep a journal; this one is empty and goes away with its directory.
        let journal = tempfile::tempdir()
            .map_err(|error| CommandError::Failed(format!("no directory for the run: {error}")))?;
        let mut case = self.case(&subject, journal.path())?;
        let recorder =
            self.record.is_some().then(|| Arc::new(Recorder::new(Arc::clone(&case.tree))));
        if let Some(recorder) = &recorder {
            case.tree = Arc::clone(recorder) as Arc<dyn Tree>;
        }
        let exercise = Exercise::of(&subject, &case).await;
        if let (Some(recorder), Some(path)) = (&recorder, &self.record) {
            write_case(path, &case, recorder)?;
        }
        let exit = match exercise.ending {
            _ if !exercise.broken.is_empty() => Exit::Failed,
            Ending::Verdict(VerdictKind::Pass) | Ending::Planned => Exit::Ok,
            Ending::Verdict(VerdictKind::NeedsReview) => Exit::Waiting,
            Ending::Verdict(_) | Ending::Failed => Exit::Failed,
        };
        show(output, &subject, &exercise).map_err(CommandError::Output)?;
        Ok(exit)
    }

    fn case(&self, subject: &Subject, journal: &Path) -> Result<Case, CommandError> {
        let usage = |error: super::case::CaseError| CommandError::Usage(error.to_string());
        let mut case = match &self.case {
            Some(path) => Case::read(path).map_err(usage)?,
            None => Case::empty(),
        };
        if let Some(path) = &self.evidence {
            case.evidence = read_evidence(path).map_err(usage)?;
        }
        if let Some(directory) = &self.target {
            case.tree = tree_of(directory, journal)?;
        }
        match self.phase {
            Some(PhaseWord::Before) => case.phase = Some(Phase::Before),
            Some(PhaseWord::After) => case.phase = Some(Phase::After),
            None => {}
        }
        let schema = subject.plugin.description().parameters_schema.as_object();
        let typed = self.parameters.read(schema)?;
        if let Value::Object(parameters) = &mut case.parameters {
            parameters.extend(typed);
        }
        Ok(case)
    }
}

/// Opens a directory as the server would, and no other.
fn tree_of(directory: &Path, journal: &Path) -> Result<Arc<dyn Tree>, CommandError> {
    let directory = directory.canonicalize().map_err(|error| {
        CommandError::NotFound(format!("`{}` cannot be read: {error}", directory.display()))
    })?;
    let usage = |error| CommandError::Usage(chain(&error));
    let components =
        Components::open(std::slice::from_ref(&directory), None, journal).map_err(usage)?;
    let target = directory.to_string_lossy();
    Ok(components.resolve(&target).map_err(usage)?.tree())
}

fn write_case(path: &Path, case: &Case, recorder: &Recorder) -> Result<(), CommandError> {
    let mut document = Map::new();
    let mut keep = |key: &str, value: &Value| {
        if value.as_object().is_some_and(|members| !members.is_empty()) {
            document.insert(key.to_owned(), value.clone());
        }
    };
    keep("parameters", &case.parameters);
    keep("context", &case.context);
    keep("evidence", &evidence_document(&case.evidence));
    if let Some(phase) = case.phase {
        document.insert("phase".to_owned(), json!(phase));
    }
    document.insert("target".to_owned(), json!({"recorded": recorder.recording()}));
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    std::fs::write(path, text).map_err(|error| {
        CommandError::Usage(format!("`{}` cannot be written: {error}", path.display()))
    })
}

/// Writes evidence as a document that reads back to it; empty when there is none.
fn evidence_document(evidence: &Evidence) -> Value {
    let nothing = evidence.outcomes.is_empty()
        && evidence.probes.is_empty()
        && evidence.reviews.is_empty()
        && evidence.files.is_empty();
    if nothing {
        return json!({});
    }
    let outcomes: Vec<Value> = evidence
        .outcomes
        .iter()
        .map(|(machine, outcome)| {
            json!({
                "machine": machine,
                "exit_code": outcome.exit_code,
                "signal": outcome.signal,
                "timed_out": outcome.status == caelum_core::task::OutcomeStatus::TimedOut,
                "duration_ms": outcome.ended_at.since(outcome.started_at).as_millis() as u64,
                "stdout": outcome.stdout.text,
                "stdout_truncated": outcome.stdout.truncated,
                "stderr": outcome.stderr.text,
                "stderr_truncated": outcome.stderr.truncated,
                "outputs": outcome.outputs,
            })
        })
        .collect();
    let files = evidence
        .files
        .iter()
        .map(|(machine, file)| (format!("{machine}/{}", file.path), json!(file.text)));
    json!({
        "execution_id": evidence.execution_id,
        "step_id": evidence.step_id,
        "attempt": evidence.attempt,
        "started_at": evidence.started_at,
        "performer": evidence.performer,
        "outcomes": outcomes,
        "probes": evidence.probes,
        "reviews": evidence.reviews,
        "files": files.collect::<Map<String, Value>>(),
        "subject_digest": evidence.subject_digest,
    })
}

/// Returns what a plugin said during its calls, a line each.
pub(super) fn log_lines(reports: &[CallReport]) -> Vec<String> {
    let mut lines = Vec::new();
    for report in reports {
        for line in &report.logs.lines {
            let mut text = format!("{} {}", line.level, line.message);
            for (name, value) in &line.fields {
                text.push_str(&format!(" {name}={value}"));
            }
            lines.push(text);
        }
        if report.logs.lines_dropped > 0 {
            lines.push(format!("and {} lines more than are kept", report.logs.lines_dropped));
        }
    }
    lines
}

fn took(report: &CallReport) -> Value {
    json!({
        "duration_us": report.duration.as_micros() as u64,
        "instantiate_us": report.instantiated.as_micros() as u64,
        "peak_memory_bytes": report.peak_memory_bytes,
        "host_calls": report.host_calls,
        "bytes_read": report.bytes_read,
        "entries_read": report.entries_read,
        "reads_denied": report.reads_denied,
    })
}

fn show(output: &mut Output, subject: &Subject, exercise: &Exercise) -> std::io::Result<()> {
    let (name, version) = (subject.plugin.name(), subject.plugin.version());
    let log = log_lines(&exercise.reports);
    let calls: Vec<Value> = exercise.reports.iter().map(took).collect();
    let mut all = json!({"plugin": name, "version": version.to_string()});
    if let (Value::Object(all), Value::Object(answer)) = (&mut all, &exercise.answer) {
        all.extend(answer.clone());
        all.insert("problems".to_owned(), json!(exercise.broken));
        all.insert("log".to_owned(), json!(log));
        all.insert("calls".to_owned(), json!(calls));
    }
    if output.result(&all)? {
        return Ok(());
    }
    show_answer(output, &exercise.answer)?;
    for problem in &exercise.broken {
        output.line(format!("{} {problem}", paint(BAD, "problem:")))?;
    }
    for line in log {
        output.line(format!("{} {line}", paint(FAINT, "log:")))?;
    }
    for report in &exercise.reports {
        let took = format!(
            "{} µs, {} µs to make the instance, {} KiB of memory, {} host calls, {} bytes read",
            report.duration.as_micros(),
            report.instantiated.as_micros(),
            report.peak_memory_bytes / 1024,
            report.host_calls,
            report.bytes_read,
        );
        output.line(paint(FAINT, took))?;
    }
    Ok(())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn show_answer(output: &mut Output, answer: &Value) -> std::io::Result<()> {
    if let Some(error) = answer.get("error") {
        output.line(format!("{} {}", paint(BAD, "no answer:"), text(error, "message")))?;
        for problem in error["problems"].as_array().into_iter().flatten() {
            output.line(format!("  {} {}", text(problem, "pointer"), text(problem, "message")))?;
        }
    }
    if let Some(verdict) = answer.get("verdict") {
        let style = match text(verdict, "kind") {
            "pass" => GOOD,
            "fail" => BAD,
            _ => ATTENTION,
        };
        output.line(format!(
            "{} {}",
            paint(style, text(verdict, "kind")),
            text(verdict, "summary")
        ))?;
        for reason in verdict["reasons"].as_array().into_iter().flatten() {
            output.line(format!(
                "  {} {}",
                paint(STRONG, text(reason, "code")),
                text(reason, "message")
            ))?;
        }
    }
    if let Some(assessment) = answer.get("assessment") {
        output.line(text(assessment, "applicability").replace('_', " "))?;
        for finding in assessment["findings"].as_array().into_iter().flatten() {
            output.line(format!(
                "  {} {} {} {}",
                text(finding, "severity"),
                paint(STRONG, text(finding, "rule")),
                text(finding, "place"),
                text(finding, "message")
            ))?;
        }
    }
    if let Some(plan) = answer.get("plan") {
        output.line(text(plan, "summary"))?;
        let diff: Vec<&str> =
            plan["diff"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        show_diff(output, &diff.join("\n"))?;
    }
    Ok(())
}
