//! `list_pattern_applications`: recorded uses of patterns, and how their components stand to them now.

use caelum_core::pattern::{ApplicationStatus, Ownership};
use caelum_engine::request::{ApplicationQuery, ListedApplication, PageRequest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::super::error::ToolError;
use super::super::super::tool::Answer;
use super::super::answer::{ANSWER_AIM_BYTES, fitting, json_bytes, line};
use super::super::failure::refuse;
use super::super::{NextCall, Tools};
use super::apply::ApplicationView;
use crate::document::filled;

/// How many rows there are when nobody says: each may mean that files are hashed.
const ROWS: u32 = 20;

/// How many files of one row are named.
const FILES_MAX: usize = 20;

/// How many characters of a line written by others are shown.
const CHARS_MAX: usize = 300;

/// How an application ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ApplicationWord {
    /// The edits are on disk.
    Applied,
    /// There was nothing to change.
    Unchanged,
    /// A finding that no edit answers forbade it.
    Blocked,
    /// A dry run.
    Planned,
    /// Files had changed since the plan was made.
    Conflict,
    /// The pattern would have changed its own result again.
    NonConvergent,
    /// It was taken back.
    Reverted,
}

impl From<ApplicationWord> for ApplicationStatus {
    fn from(word: ApplicationWord) -> Self {
        match word {
            ApplicationWord::Applied => Self::Applied,
            ApplicationWord::Unchanged => Self::Unchanged,
            ApplicationWord::Blocked => Self::Blocked,
            ApplicationWord::Planned => Self::Planned,
            ApplicationWord::Conflict => Self::Conflict,
            ApplicationWord::NonConvergent => Self::NonConvergent,
            ApplicationWord::Reverted => Self::Reverted,
        }
    }
}

/// How a component stands to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum DriftWord {
    /// Everything is as it was applied.
    Clean,
    /// A file was changed.
    Modified,
    /// A file, or the whole component, is gone.
    Missing,
    /// Everything is as it was applied, and another version of the pattern is installed.
    Outdated,
}

impl DriftWord {
    fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Modified => "modified",
            Self::Missing => "missing",
            Self::Outdated => "outdated",
        }
    }
}

/// Lists recorded uses of patterns, newest first. What stands applied is compared with the files on disk: `drift` says
/// whether the component is `clean`, `modified`, `missing` files or `outdated`, and names the files. Use it to find an
/// application to revert, or components that have drifted (`drift: "modified"`). With a filter by drift a page may hold
/// fewer rows than asked for; go on with `next_cursor`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListPatternApplications {
    /// Only this one, whatever the other filters say, with `details`: its diff, its parameters, what was found before and
    /// after.
    #[serde(default)]
    application_id: Option<String>,
    /// Only uses of this pattern.
    #[serde(default)]
    pattern_name: Option<String>,
    /// Only uses on this component, named as it was when the pattern was applied.
    #[serde(default)]
    target_component: Option<String>,
    /// Only those that ended so.
    #[serde(default)]
    status_filter: Option<ApplicationWord>,
    /// Only those that stand applied and whose component stands so now.
    #[serde(default)]
    drift: Option<DriftWord>,
    /// How many at most; 20 when left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

/// A file that is not as it was applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DriftedFile {
    /// The file.
    pub path: String,
    /// `modified` or `missing`.
    pub state: String,
    /// Who owns it: `managed` (the pattern, all of it) or `block` (the pattern owns a part).
    pub ownership: String,
}

/// How a component stands to an application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DriftView {
    /// `clean`, `modified`, `missing` or `outdated`: the worst that holds.
    pub state: String,
    /// The version of the pattern that is installed now, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed_version: Option<String>,
    /// Files that are not as they were applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<DriftedFile>,
    /// How many such files there are.
    pub files_total: usize,
}

/// One application in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApplicationRow {
    /// The application's id.
    pub application_id: String,
    /// The pattern.
    pub pattern_name: String,
    /// Its version then.
    pub pattern_version: String,
    /// The component, as it was named.
    pub target_component: String,
    /// Its directory.
    pub directory: String,
    /// `applied`, `unchanged`, `blocked`, `planned`, `conflict`, `non_convergent`, `reverted`, or `applying` while its
    /// files are being written.
    pub status: String,
    /// When.
    pub applied_at: String,
    /// Who.
    pub applied_by: String,
    /// One line.
    pub summary: String,
    /// Files that were changed, the first of them.
    pub changed_files: Vec<String>,
    /// How many files were changed.
    pub changed_files_total: usize,
    /// How the component stands to it now; missing where it does not stand applied, or where that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftView>,
    /// Why that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_problem: Option<String>,
    /// Whether a later application of the same pattern took its place.
    pub superseded: bool,
    /// The plan that it made, or that it applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<String>,
    /// The execution whose step applied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// That step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_id: Option<String>,
}

/// Applications, newest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ApplicationList {
    /// The applications.
    pub applications: Vec<ApplicationRow>,
    /// Everything that is kept of the one that was asked for by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<ApplicationView>,
    /// The cursor of the next page, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// The call to make next, when something has drifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_call: Option<NextCall>,
}

impl Answer for ApplicationList {
    fn text(&self) -> String {
        let mut lines: Vec<String> = self.applications.iter().map(ApplicationRow::line).collect();
        if lines.is_empty() {
            lines.push("no applications".to_owned());
        }
        if let Some(details) = &self.details {
            lines.push(details.text());
        }
        lines.extend(self.next_cursor.as_ref().map(|cursor| format!("more: cursor {cursor}")));
        lines.extend(self.next_call.as_ref().map(|next| format!("next: {}", next.line())));
        lines.join("\n")
    }
}

impl ApplicationRow {
    /// Returns the row as one line, and a line for each file that has drifted.
    pub fn line(&self) -> String {
        let mut text = format!(
            "{} {} {} on {}: {}, {}",
            self.application_id,
            self.pattern_name,
            self.pattern_version,
            self.target_component,
            self.status,
            self.applied_at
        );
        if self.superseded {
            text.push_str(", superseded");
        }
        if let Some(drift) = &self.drift {
            text.push_str(&format!(", {}", drift.state));
            if let Some(installed) = &drift.installed_version {
                text.push_str(&format!(" (installed: {installed})"));
            }
            for file in &drift.files {
                text.push_str(&format!("\n  {} {}", file.state, file.path));
            }
            let more = drift.files_total - drift.files.len();
            if more > 0 {
                text.push_str(&format!("\n  and {more} more files"));
            }
        }
        if let Some(problem) = &self.drift_problem {
            text.push_str(&format!("\n  {problem}"));
        }
        text
    }

    fn shorten(&mut self, files: usize) {
        self.changed_files.truncate(files);
        if let Some(drift) = &mut self.drift {
            drift.files.truncate(files);
        }
    }

    fn of(listed: ListedApplication) -> Self {
        let ListedApplication { application, drift, superseded, problem } = listed;
        let (execution_id, step_id) = match &application.execution {
            Some((execution, step, _)) => (Some(execution.to_string()), Some(step.to_string())),
            None => (None, None),
        };
        Self {
            application_id: application.application_id.to_string(),
            pattern_name: application.pattern.name.to_string(),
            pattern_version: application.pattern.version.clone(),
            target_component: line(&application.target_component, CHARS_MAX),
            directory: application.directory.display().to_string(),
            status: application.status.as_str().to_owned(),
            applied_at: application.applied_at.to_string(),
            applied_by: line(&application.by, CHARS_MAX),
            summary: line(&application.summary, CHARS_MAX),
            changed_files_total: application.changed_files.len(),
            changed_files: application.changed_files.into_iter().take(FILES_MAX).collect(),
            drift: drift.map(|drift| DriftView {
                state: drift.state.as_str().to_owned(),
                installed_version: drift.installed,
                files_total: drift.files.len(),
                files: drift
                    .files
                    .iter()
                    .take(FILES_MAX)
                    .map(|file| DriftedFile {
                        path: file.path.clone(),
                        state: file.state.as_str().to_owned(),
                        ownership: match file.ownership {
                            Ownership::Managed => "managed",
                            Ownership::Block => "block",
                            Ownership::Seed => "seed",
                        }
                        .to_owned(),
                    })
                    .collect(),
            }),
            drift_problem: problem.map(|problem| line(&problem, CHARS_MAX)),
            superseded,
            plan_id: application.plan_id.map(|plan| plan.to_string()),
            execution_id,
            step_id,
        }
    }
}

pub(super) async fn list(
    tools: Tools,
    arguments: ListPatternApplications,
) -> Result<ApplicationList, ToolError> {
    let owned = |text: &Option<String>| filled(text.as_ref()).map(str::to_owned);
    let query = ApplicationQuery {
        pattern: owned(&arguments.pattern_name),
        component: owned(&arguments.target_component),
        status: arguments.status_filter.map(ApplicationStatus::from),
        drift: arguments.drift.map(DriftWord::as_str),
    };
    if let Some(id) = filled(arguments.application_id.as_ref()) {
        return one(&tools, id).await;
    }
    let mut limit = arguments.limit.unwrap_or(ROWS) as usize;
    let mut list = loop {
        let page = PageRequest { limit, cursor: owned(&arguments.cursor) };
        let listed = tools.engine.list_applications(query.clone(), page).await.map_err(refuse)?;
        let mut list = ApplicationList {
            applications: listed.items.into_iter().map(ApplicationRow::of).collect(),
            details: None,
            next_cursor: listed.next_cursor,
            next_call: None,
        };
        for files in [5, 0] {
            if json_bytes(&list) > ANSWER_AIM_BYTES {
                list.applications.iter_mut().for_each(|row| row.shorten(files));
            }
        }
        let fits = fitting(&list.applications, 0, ANSWER_AIM_BYTES - 2_048);
        if fits >= list.applications.len() {
            break list;
        }
        // Fewer rows, so that the cursor stands behind the last one that is shown.
        limit = fits;
    };
    list.next_call = next_call(&list.applications);
    Ok(list)
}

/// Shows one application with everything that is kept of it.
async fn one(tools: &Tools, id: &str) -> Result<ApplicationList, ToolError> {
    let listed = tools.engine.listed_application(id).await.map_err(refuse)?;
    let details = ApplicationView::of(&listed.application);
    let applications = vec![ApplicationRow::of(listed)];
    Ok(ApplicationList {
        next_call: next_call(&applications),
        applications,
        details: Some(details),
        next_cursor: None,
    })
}

/// Returns the call that shows what would mend the first component that has drifted.
fn next_call(applications: &[ApplicationRow]) -> Option<NextCall> {
    let drifted =
        |row: &&ApplicationRow| row.drift.as_ref().is_some_and(|drift| drift.state != "clean");
    applications.iter().find(drifted).map(|row| {
        NextCall::new(
            "apply_pattern",
            json!({"pattern_name": row.pattern_name, "target_component": row.target_component,
                   "dry_run": true}),
        )
    })
}
