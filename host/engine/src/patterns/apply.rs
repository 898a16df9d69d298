//! Applies a pattern: asks it, tries its plan on its own result, keeps the record, and then writes the files.

use std::collections::BTreeMap;
use std::sync::Arc;

use caelum_components::{ComponentsError, Source, StagedPlan};
use caelum_core::id::Digest;
use caelum_core::pattern::{Applicability, ApplicationStatus, Risk};
use serde_json::{Map, Value};

use super::ask::{Use, component_error};
use super::kept::KeptPlan;
use super::record::{APPLY_SCOPE, files, risks};
use super::weigh::{Wanted, choose, nothing_to_do, paths, withheld};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::executions::new_id;
use crate::idempotency::Keyed;
use crate::request::{Application, NewApplication};

/// What is applied: as asked now, or as shown before.
struct Terms {
    digest: Option<Digest>,
    rules: Vec<String>,
    review_too: bool,
    parameters: Map<String, Value>,
}

impl Terms {
    fn of(new: &NewApplication, kept: Option<&KeptPlan>, digest: Option<Digest>) -> Self {
        match kept {
            // Exactly what was shown: the same plugin, the same rules, the same leave for edits that need a look.
            Some(kept) => Terms {
                digest: Some(kept.pattern.digest.clone()),
                rules: kept.rules.clone(),
                review_too: kept.allow_review_edits,
                parameters: kept.parameters.clone(),
            },
            None => Terms {
                digest,
                rules: new.rules.clone(),
                review_too: new.allow_review_edits,
                parameters: new.parameters.clone(),
            },
        }
    }
}

/// A plan that may be written.
struct Proposal {
    staged: Arc<StagedPlan>,
    risks: BTreeMap<String, Risk>,
}

impl Engine {
    /// As [`Engine::apply_pattern`], with exactly the plugin of this digest.
    pub(crate) async fn apply_pinned(
        &self,
        mut new: NewApplication,
        digest: Option<Digest>,
    ) -> Result<Application, EngineError> {
        let key = new.idempotency_key.take();
        let keyed = Keyed::of(APPLY_SCOPE, key, &new)?;
        if let Some(answer) = self.answered(keyed.as_ref()).await? {
            return self.applied_before(&answer).await;
        }
        let kept = match &new.plan_id {
            Some(plan_id) => Some(self.kept_plan(plan_id, &new).await?),
            None => None,
        };
        let mut terms = Terms::of(&new, kept.as_ref(), digest);
        let parameters = std::mem::take(&mut terms.parameters);
        let (pattern, target) = (&new.pattern_name, &new.target_component);
        let used =
            self.prepare(pattern, terms.digest.as_ref(), target, parameters, &terms.rules).await?;
        let wanted = Wanted { rules: &terms.rules, review_too: terms.review_too };
        let mut application = self.begin_application(&used, &new);
        let Some(proposal) = self.propose(&used, wanted, &mut application).await? else {
            return self.record(application, Vec::new(), keyed).await;
        };
        if let Some(kept) = &kept {
            if kept.diff != application.diff {
                application.status = ApplicationStatus::Conflict;
                application.problems.push(
                    "the component has changed since the plan was made; make a new plan with dry_run"
                        .to_owned(),
                );
                return self.record(application, Vec::new(), keyed).await;
            }
            // The record of the application takes the plan, so that it is used exactly when there is one.
            application.plan_id = Some(kept.plan_id.clone());
        }
        if new.dry_run {
            self.keep_plan(&mut application, &new).await?;
            return self.record(application, Vec::new(), keyed).await;
        }
        self.carry_out(&used, &proposal, application, keyed).await
    }

    fn begin_application(&self, used: &Use, new: &NewApplication) -> Application {
        Application {
            application_id: new_id("app"),
            plan_id: None,
            pattern: used.plugin.pinned(),
            target_component: used.target.clone(),
            directory: used.component.path().to_owned(),
            status: ApplicationStatus::Unchanged,
            applied_at: self.now(),
            by: new.by.clone(),
            parameters: used.parameters.clone(),
            summary: String::new(),
            diff: String::new(),
            changed_files: Vec::new(),
            withheld: Vec::new(),
            findings_before: Vec::new(),
            findings_after: Vec::new(),
            next_steps: Vec::new(),
            problems: Vec::new(),
            execution: new.execution.clone(),
        }
    }

    /// Makes the plan and tries it; nothing when there is nothing to write, with the reason in `application`.
    async fn propose(
        &self,
        used: &Use,
        wanted: Wanted<'_>,
        application: &mut Application,
    ) -> Result<Option<Proposal>, EngineError> {
        let before = self.assess(used, Arc::clone(&used.tree)).await?;
        application.findings_before.clone_from(&before.findings);
        application.findings_after.clone_from(&before.findings);
        if before.applicability == Applicability::NotApplicable {
            application.status = ApplicationStatus::Blocked;
            application.summary = "the pattern does not know components of this kind".to_owned();
            application.problems.push(application.summary.clone());
            return Ok(None);
        }
        let plan = self.plan(used, Arc::clone(&used.tree)).await?;
        let chosen = choose(plan, &before.findings, wanted);
        application.summary.clone_from(&chosen.plan.summary);
        application.next_steps.clone_from(&chosen.plan.next_steps);
        application.withheld = withheld(&chosen.withheld);
        application.changed_files = paths(&chosen.plan);
        if chosen.plan.edits.is_empty() {
            nothing_to_do(application, &before.findings, &chosen.withheld, wanted);
            return Ok(None);
        }
        let risks = risks(&chosen.plan.edits);
        let staged = match self.stage(used, chosen.plan).await? {
            Ok(staged) => Arc::new(staged),
            Err(problems) => {
                application.status = ApplicationStatus::Conflict;
                application.problems = problems;
                return Ok(None);
            }
        };
        application.diff = staged.diff().text;
        if let Some(problem) = self.try_on_result(used, &staged, wanted, application).await? {
            application.status = ApplicationStatus::NonConvergent;
            application.problems.push(problem);
            return Ok(None);
        }
        Ok(Some(Proposal { staged, risks }))
    }

    /// Keeps the record, writes the files, and says in the record how that went.
    async fn carry_out(
        &self,
        used: &Use,
        proposal: &Proposal,
        mut application: Application,
        keyed: Option<Keyed>,
    ) -> Result<Application, EngineError> {
        // Kept before the first byte is written, so that a crash leaves no change without its record.
        application.status = ApplicationStatus::Applying;
        let files = files(&proposal.staged, &proposal.risks);
        let kept = self.record(application.clone(), files, keyed).await?;
        if kept.application_id != application.application_id {
            return Ok(kept);
        }
        let written = self.write(used, &proposal.staged, application).await;
        let status = match &written {
            Ok(application) => application.status,
            Err(_) if self.0.components.is_applied(&kept.application_id) => {
                ApplicationStatus::Applied
            }
            Err(_) => ApplicationStatus::Conflict,
        };
        if status == ApplicationStatus::Applied {
            self.set_application_status(&kept.application_id, status).await?;
        } else {
            // Whoever was told of a conflict got an answer, and the key goes on giving it; a failure was none.
            self.withdraw(&kept, written.is_err(), status).await?;
        }
        written
    }

    /// Writes the staged files: all of them, or none when one has changed meanwhile.
    async fn write(
        &self,
        used: &Use,
        staged: &Arc<StagedPlan>,
        mut application: Application,
    ) -> Result<Application, EngineError> {
        let pinned = used.plugin.pinned();
        let source = Source {
            pattern: pinned.name,
            version: pinned.version,
            digest: pinned.digest,
            parameters: used.parameters.clone(),
        };
        let components = self.0.components.clone();
        let (component, id) = (used.component.clone(), application.application_id.clone());
        let writing = Arc::clone(staged);
        let applied = tokio::task::spawn_blocking(move || {
            components.apply(&component, &id, &source, &writing)
        })
        .await
        .map_err(|panicked| EngineError::internal("failed to apply a plan", panicked))?;
        match applied {
            Ok(_) => application.status = ApplicationStatus::Applied,
            Err(ComponentsError::Conflict(conflicts)) => {
                application.status = ApplicationStatus::Conflict;
                application.findings_after.clone_from(&application.findings_before);
                application.problems.extend(conflicts.iter().map(ToString::to_string));
            }
            Err(error) => return Err(component_error(error)),
        }
        Ok(application)
    }
}
