//! Lists applications, each with how its component stands to it now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use caelum_components::provenance::LOCK_PATH;
use caelum_components::{ComponentsError, DriftState, FileDrift, PatternDrift};
use caelum_core::pattern::{ApplicationStatus, Ownership};
use caelum_core::plugin::PluginKind;
use caelum_store::ApplicationFilter;

use super::record::from_record;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::executions::stored;
use crate::request::{
    Application, ApplicationDrift, ApplicationQuery, Listed, ListedApplication, PageRequest,
};

/// How many pages one call reads past what a filter by drift leaves out: each may hash many files.
const PAGES_MAX: usize = 20;

/// What is learned of components while one page is made, so that each is looked at once.
#[derive(Default)]
struct Seen {
    /// By directory: how it stands to each pattern, or why that cannot be told.
    components: BTreeMap<PathBuf, Result<Vec<PatternDrift>, Problem>>,
    /// By pattern and component: the application that stands now.
    last: BTreeMap<(String, String), Option<String>>,
}

/// Why a component cannot be looked at.
#[derive(Clone)]
struct Problem {
    message: String,
    /// Whether the directory is simply not there.
    gone: bool,
}

impl Engine {
    /// Lists recorded uses of patterns, newest first. What stands applied is compared with its files on disk.
    ///
    /// # Errors
    ///
    /// A cursor that was not given by this list.
    pub async fn list_applications(
        &self,
        query: ApplicationQuery,
        page: PageRequest,
    ) -> Result<Listed<ListedApplication>, EngineError> {
        let filter = ApplicationFilter {
            pattern: query.pattern,
            component: query.component,
            // What has drifted or not stands applied.
            status: query.status.or(query.drift.map(|_| ApplicationStatus::Applied)),
        };
        let mut seen = Seen::default();
        let mut items = Vec::new();
        let mut cursor = page.cursor;
        for _ in 0..PAGES_MAX {
            let wanted = PageRequest { limit: page.limit - items.len(), cursor: cursor.take() };
            let listed =
                self.0.store.list_applications(&filter, &wanted.into()).await.map_err(stored)?;
            cursor = listed.next;
            for record in listed.items {
                let item = self.compared(from_record(record), &mut seen).await?;
                let drift = item.drift.as_ref().map(|drift| drift.state.as_str());
                if query.drift.is_none() || query.drift == drift {
                    items.push(item);
                }
            }
            if cursor.is_none() || items.len() >= page.limit {
                break;
            }
        }
        Ok(Listed { items, next_cursor: cursor })
    }

    /// Returns one recorded use of a pattern, with how its component stands to it now.
    ///
    /// # Errors
    ///
    /// None of that name.
    pub async fn listed_application(&self, id: &str) -> Result<ListedApplication, EngineError> {
        let application = self.application(id).await?;
        self.compared(application, &mut Seen::default()).await
    }

    async fn compared(
        &self,
        application: Application,
        seen: &mut Seen,
    ) -> Result<ListedApplication, EngineError> {
        let untold = |application| ListedApplication {
            application,
            drift: None,
            superseded: false,
            problem: None,
        };
        if application.status != ApplicationStatus::Applied {
            return Ok(untold(application));
        }
        let last = self.standing(&application, seen).await?;
        if last.as_deref() != Some(application.application_id.as_str()) {
            return Ok(ListedApplication { superseded: true, ..untold(application) });
        }
        let directory = application.directory.clone();
        if !seen.components.contains_key(&directory) {
            let drift = self.drift_of(&directory).await?;
            seen.components.insert(directory.clone(), drift);
        }
        let (drift, problem) = match seen.components.get(&directory) {
            Some(Ok(patterns)) => (Some(of_pattern(patterns, &application)), None),
            Some(Err(problem)) => {
                let gone = ApplicationDrift {
                    state: DriftState::Missing,
                    installed: None,
                    files: Vec::new(),
                };
                (problem.gone.then_some(gone), Some(problem.message.clone()))
            }
            None => (None, None),
        };
        Ok(ListedApplication { drift, problem, ..untold(application) })
    }

    /// Returns the application of the same pattern to the same component that stands now.
    async fn standing(
        &self,
        application: &Application,
        seen: &mut Seen,
    ) -> Result<Option<String>, EngineError> {
        let key = (application.pattern.name.to_string(), application.target_component.clone());
        if let Some(known) = seen.last.get(&key) {
            return Ok(known.clone());
        }
        let last = self.0.store.last_application(&key.0, &key.1).await.map_err(stored)?;
        let last = last.map(|record| record.id.to_string());
        seen.last.insert(key, last.clone());
        Ok(last)
    }

    /// Compares a directory with the record in it.
    async fn drift_of(
        &self,
        directory: &Path,
    ) -> Result<Result<Vec<PatternDrift>, Problem>, EngineError> {
        let installed: BTreeMap<String, String> = self
            .plugins()
            .of(PluginKind::Pattern)
            .map(|plugin| (plugin.pinned.name.to_string(), plugin.pinned.version.clone()))
            .collect();
        let components = self.0.components.clone();
        let target = directory.display().to_string();
        let compared = tokio::task::spawn_blocking(move || {
            components
                .resolve(&target)
                .and_then(|component| components.drift(&component, &installed))
        })
        .await
        .map_err(|panicked| EngineError::internal("failed to compare a component", panicked))?;
        Ok(compared.map_err(|error| Problem {
            gone: matches!(error, ComponentsError::Unknown { .. }),
            message: error.to_string(),
        }))
    }
}

/// Returns how a component stands to an application; one whose record is gone has lost it.
fn of_pattern(patterns: &[PatternDrift], application: &Application) -> ApplicationDrift {
    match patterns.iter().find(|drift| drift.pattern == application.pattern.name) {
        Some(drift) => ApplicationDrift {
            state: drift.state,
            installed: drift.installed.clone(),
            files: drift.files.clone(),
        },
        None => ApplicationDrift {
            state: DriftState::Missing,
            installed: None,
            files: vec![FileDrift {
                path: LOCK_PATH.to_owned(),
                ownership: Ownership::Managed,
                state: DriftState::Missing,
            }],
        },
    }
}
