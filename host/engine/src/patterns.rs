//! Validating, applying and reverting patterns. A plan is made by the plugin, checked and staged here, tried on its own
//! result, and only then written; dry run and apply are one path.

use std::collections::BTreeSet;
use std::sync::Arc;

use caelum_components::provenance::read_from;
use caelum_components::{
    Component, ComponentsError, OverlayTree, Source, StageLimits, StagedPlan, stage,
};
use caelum_core::finding::{Finding, Severity};
use caelum_core::id::{ApplicationId, Digest, PlanId};
use caelum_core::pattern::{
    Applicability, ApplicationStatus, Assessment, Edit, Plan, Risk, check_plan,
};
use caelum_core::plugin::{HostReason, PinnedPlugin, PluginFailure, PluginKind};
use caelum_core::tree::Tree;
use caelum_plugin_host::{CallControl, Called, Plugin};
use caelum_store::{ApplicationFilter, FileRecord, StoreError};
use serde_json::{Map, Value, json};

use crate::engine::{Engine, blocking};
use crate::error::{EngineError, Mistake};
use crate::executions::{new_id, stored};
use crate::idempotency::Keyed;
use crate::record::{files, from_record, risks, to_record};
use crate::request::{
    Application, NewApplication, PatternValidation, PluginInfo, PluginList, RefusedPlugin, Reverted,
};

/// What a use of a pattern works with.
struct Use {
    plugin: Arc<Plugin>,
    component: Component,
    tree: Arc<dyn Tree>,
    /// What the caller called the component.
    target: String,
    parameters: Map<String, Value>,
    context: Value,
}

/// Which edits of a plan are wanted.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    rules: &'a [String],
    review_too: bool,
}

/// A plan with the edits that are not wanted taken out.
struct Chosen {
    plan: Plan,
    /// Edits that somebody should look at: path and why.
    withheld: Vec<(String, String)>,
}

impl Engine {
    /// Returns all plugins: those that serve and those that were refused.
    pub fn plugins(&self) -> PluginList {
        let snapshot = self.0.plugins.snapshot();
        PluginList {
            plugins: snapshot
                .plugins
                .values()
                .map(|plugin| PluginInfo {
                    pinned: plugin.pinned(),
                    description: Arc::new(plugin.description().clone()),
                    source: plugin.source().to_string(),
                })
                .collect(),
            refused: snapshot
                .refused
                .iter()
                .map(|refused| RefusedPlugin {
                    source: refused.source.to_string(),
                    stage: refused.stage.to_string(),
                    reason: refused.reason.clone(),
                    hint: Some(refused.hint.clone()).filter(|hint| !hint.is_empty()),
                    digest: refused.digest.clone(),
                })
                .collect(),
        }
    }

    /// Says what a pattern finds in a component and what applying it would change. Changes nothing.
    ///
    /// # Errors
    ///
    /// An unknown pattern or component, wrong parameters, a plugin that fails.
    pub async fn validate_pattern(
        &self,
        pattern: &str,
        component: &str,
        parameters: Map<String, Value>,
    ) -> Result<PatternValidation, EngineError> {
        let used = self.prepare(pattern, None, component, parameters, &[]).await?;
        let assessment = self.assess(&used, Arc::clone(&used.tree)).await?;
        let pinned = used.plugin.pinned();
        let score = score(&assessment, &used.plugin);
        if assessment.applicability == Applicability::NotApplicable {
            return Ok(PatternValidation {
                pattern: pinned,
                target_component: used.target,
                can_apply: false,
                applicability: assessment.applicability,
                blocking_issues: vec!["the pattern does not know components of this kind".into()],
                findings: assessment.findings,
                passed_rules: assessment.passed_rules,
                not_applicable_rules: assessment.not_applicable_rules,
                score,
                edits: (0, 0),
                changed_files: Vec::new(),
            });
        }
        let plan = self.plan(&used, Arc::clone(&used.tree)).await?;
        let review = plan.edits.iter().filter(|edit| edit.risk == Risk::Review).count();
        let edits = (plan.edits.len(), review);
        let mut blocking_issues = unanswered(&assessment.findings, &plan.edits);
        let changed_files = paths(&plan);
        if let Err(problems) = self.stage(&used, plan).await? {
            blocking_issues.extend(problems);
        }
        Ok(PatternValidation {
            pattern: pinned,
            target_component: used.target,
            can_apply: blocking_issues.is_empty() || edits.0 > 0,
            applicability: assessment.applicability,
            blocking_issues,
            findings: assessment.findings,
            passed_rules: assessment.passed_rules,
            not_applicable_rules: assessment.not_applicable_rules,
            score,
            edits,
            changed_files,
        })
    }

    /// Applies a pattern, or plans it. The answer is on disk when this returns: the record and, when it was applied,
    /// every file.
    ///
    /// # Errors
    ///
    /// An unknown pattern or component, wrong parameters, a plan that was used or is unknown, a plugin that fails.
    /// That nothing could be applied is no error: the answer says `blocked`, `conflict` or `non_convergent`.
    pub async fn apply_pattern(&self, new: NewApplication) -> Result<Application, EngineError> {
        self.apply_pinned(new, None).await
    }

    /// As [`Engine::apply_pattern`], with exactly the plugin of this digest.
    pub(crate) async fn apply_pinned(
        &self,
        mut new: NewApplication,
        digest: Option<Digest>,
    ) -> Result<Application, EngineError> {
        let key = new.idempotency_key.take();
        let keyed = Keyed::of("apply_pattern", key, &new)?;
        if let Some(answer) = self.answered(keyed.as_ref()).await? {
            return self.applied_before(&answer).await;
        }
        let kept = match &new.plan_id {
            Some(plan_id) => Some(self.kept_plan(plan_id, &new).await?),
            None => None,
        };
        let digest = kept.as_ref().map(|kept| kept.pattern.digest.clone()).or(digest);
        let (rules, review_too) = match &kept {
            // Exactly what was shown: the same rules and the same leave for edits that need a look.
            Some(kept) => (kept.rules.clone(), kept.allow_review_edits),
            None => (new.rules.clone(), new.allow_review_edits),
        };
        let parameters = match &kept {
            Some(kept) => kept.parameters.clone(),
            None => new.parameters.clone(),
        };
        let used = self
            .prepare(&new.pattern_name, digest.as_ref(), &new.target_component, parameters, &rules)
            .await?;
        let wanted = Wanted { rules: &rules, review_too };
        let before = self.assess(&used, Arc::clone(&used.tree)).await?;
        let mut application = Application {
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
            findings_before: before.findings.clone(),
            findings_after: before.findings.clone(),
            next_steps: Vec::new(),
            problems: Vec::new(),
        };
        if before.applicability == Applicability::NotApplicable {
            application.status = ApplicationStatus::Blocked;
            application.summary = "the pattern does not know components of this kind".to_owned();
            application.problems.push(application.summary.clone());
            return self.record(application, Vec::new(), &new, keyed).await;
        }
        let plan = self.plan(&used, Arc::clone(&used.tree)).await?;
        let chosen = choose(plan, &before.findings, wanted);
        application.summary.clone_from(&chosen.plan.summary);
        application.next_steps.clone_from(&chosen.plan.next_steps);
        application.withheld = chosen.withheld;
        application.changed_files = paths(&chosen.plan);
        if chosen.plan.edits.is_empty() {
            nothing_to_do(&mut application, &before.findings);
            return self.record(application, Vec::new(), &new, keyed).await;
        }
        let risks = risks(&chosen.plan.edits);
        let staged = match self.stage(&used, chosen.plan).await? {
            Ok(staged) => Arc::new(staged),
            Err(problems) => {
                application.status = ApplicationStatus::Conflict;
                application.problems = problems;
                return self.record(application, Vec::new(), &new, keyed).await;
            }
        };
        application.diff = staged.diff().text;
        if let Some(problem) = self.try_on_result(&used, &staged, wanted, &mut application).await? {
            application.status = ApplicationStatus::NonConvergent;
            application.problems.push(problem);
            return self.record(application, Vec::new(), &new, keyed).await;
        }
        if let Some(kept) = &kept {
            if kept.diff != application.diff {
                application.status = ApplicationStatus::Conflict;
                application.problems.push(
                    "the component has changed since the plan was made; make a new plan with dry_run"
                        .to_owned(),
                );
                return self.record(application, Vec::new(), &new, keyed).await;
            }
            self.0.store.take_plan(&kept.plan_id, self.now()).await.map_err(plan_error)?;
        }
        if new.dry_run {
            return self.keep_plan(application, &new, keyed).await;
        }
        // Kept before the first byte is written, so that a crash leaves no change without its record.
        application.status = ApplicationStatus::Applying;
        let kept = self.record(application.clone(), files(&staged, &risks), &new, keyed).await?;
        if kept.application_id != application.application_id {
            return Ok(kept);
        }
        let written = self.write(&used, &staged, application).await;
        let status = match &written {
            Ok(application) => application.status,
            Err(_) => ApplicationStatus::Conflict,
        };
        self.0
            .store
            .update_application_status(&kept.application_id, status, self.now())
            .await
            .map_err(stored)?;
        written
    }

    /// Finds the plugin and the component, and puts together what the plugin is asked with.
    async fn prepare(
        &self,
        pattern: &str,
        digest: Option<&Digest>,
        target: &str,
        given: Map<String, Value>,
        rules: &[String],
    ) -> Result<Use, EngineError> {
        let plugin = match digest {
            Some(digest) => self.0.plugins.by_digest(digest).ok_or_else(|| {
                Mistake::new(
                    "plugin_gone",
                    format!("pattern `{pattern}` ({}) is not installed any more", digest.short()),
                )
                .hint("put its file back, or begin anew with the version that is installed")
            })?,
            None => self.0.plugins.find(PluginKind::Pattern, pattern).map_err(|unknown| {
                let hint = unknown.hint.unwrap_or_else(|| "see list_patterns".to_owned());
                Mistake::new("unknown_pattern", format!("no pattern is called `{pattern}`"))
                    .hint(hint)
            })?,
        };
        let known: Vec<&str> =
            plugin.description().rules.iter().map(|rule| rule.id.as_str()).collect();
        let unknown: Vec<String> = rules
            .iter()
            .filter(|rule| !known.contains(&rule.as_str()))
            .map(|rule| format!("/rules: `{rule}` is not a rule of `{pattern}`"))
            .collect();
        if !unknown.is_empty() {
            return Err(Mistake::new("unknown_rule", "rules that the pattern does not have")
                .details(unknown)
                .hint(format!("its rules are {}", known.join(", ")))
                .into());
        }
        let components = self.0.components.clone();
        let wanted = target.to_owned();
        let component = tokio::task::spawn_blocking(move || components.resolve(&wanted))
            .await
            .map_err(|panicked| EngineError::internal("failed to resolve a component", panicked))?
            .map_err(component_error)?;
        let mut parameters = component.parameters().clone();
        // The components file holds defaults for every pattern; only what this one knows is meant for it.
        let properties =
            plugin.description().parameters_schema.get("properties").and_then(Value::as_object);
        parameters.retain(|name, _| properties.is_some_and(|known| known.contains_key(name)));
        parameters.extend(given);
        let name = component.name().map_or_else(
            || {
                let last = component.path().file_name();
                last.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            },
            str::to_owned,
        );
        let mut context = json!({"component": name, "ports": self.0.options.ports});
        if !rules.is_empty() {
            context["rules"] = json!(rules);
        }
        let tree: Arc<dyn Tree> = component.tree();
        let reading = Arc::clone(&tree);
        let previous = blocking("reading the record in a component", move || {
            read_from(&*reading).map_err(Unreadable)
        })
        .await?;
        if let Some(previous) = previous.pattern(pattern) {
            context["previous"] = serde_json::to_value(previous)
                .map_err(|error| EngineError::internal("failed to write a context", error))?;
        }
        Ok(Use { tree, plugin, component, target: target.to_owned(), parameters, context })
    }

    async fn assess(&self, used: &Use, tree: Arc<dyn Tree>) -> Result<Assessment, EngineError> {
        let parameters = Value::Object(used.parameters.clone());
        let control = CallControl::default();
        let called =
            self.0.plugins.validate(&used.plugin, tree, &parameters, &used.context, control).await;
        answered(called)
    }

    async fn plan(&self, used: &Use, tree: Arc<dyn Tree>) -> Result<Plan, EngineError> {
        let parameters = Value::Object(used.parameters.clone());
        let control = CallControl::default();
        let called =
            self.0.plugins.plan(&used.plugin, tree, &parameters, &used.context, control).await;
        let plan = answered(called)?;
        let problems = check_plan(&plan, self.0.options.plans);
        if problems.is_empty() {
            return Ok(plan);
        }
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Err(contract(&used.plugin, &shown.join("; ")))
    }

    /// Stages a plan on the component as it is; the inner error names files that are not what they were.
    async fn stage(
        &self,
        used: &Use,
        plan: Plan,
    ) -> Result<Result<StagedPlan, Vec<String>>, EngineError> {
        let tree = Arc::clone(&used.tree);
        let limits = StageLimits { plan: self.0.options.plans, ..StageLimits::default() };
        let staged = tokio::task::spawn_blocking(move || stage(&*tree, &plan, &limits))
            .await
            .map_err(|panicked| EngineError::internal("failed to stage a plan", panicked))?;
        match staged {
            Ok(staged) => Ok(Ok(staged)),
            Err(problems) if problems.is_conflict() => {
                Ok(Err(problems.conflicts.iter().map(ToString::to_string).collect()))
            }
            Err(problems) => Err(contract(&used.plugin, &problems.to_string())),
        }
    }

    /// Runs the pattern on its own result: it must be content with it and must not have made anything worse.
    async fn try_on_result(
        &self,
        used: &Use,
        staged: &StagedPlan,
        wanted: Wanted<'_>,
        application: &mut Application,
    ) -> Result<Option<String>, EngineError> {
        let overlay: Arc<dyn Tree> = Arc::new(OverlayTree::new(Arc::clone(&used.tree), staged));
        let after = self.assess(used, Arc::clone(&overlay)).await?;
        let known: BTreeSet<&str> = application
            .findings_before
            .iter()
            .map(|finding| finding.fingerprint.as_str())
            .collect();
        let new: Vec<String> = after
            .findings
            .iter()
            .filter(|finding| finding.severity != Severity::Advice)
            .filter(|finding| !known.contains(finding.fingerprint.as_str()))
            .map(describe)
            .collect();
        let again = self.plan(used, overlay).await?;
        let again = choose(again, &after.findings, wanted);
        application.findings_after = after.findings;
        if !new.is_empty() {
            return Ok(Some(format!("the change would bring new findings: {}", new.join("; "))));
        }
        if again.plan.edits.is_empty() {
            return Ok(None);
        }
        let paths = paths(&again.plan).join(", ");
        Ok(Some(format!("the pattern would change its own result again: {paths}")))
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

    /// Keeps a plan that was shown, so that exactly it can be applied.
    async fn keep_plan(
        &self,
        mut application: Application,
        new: &NewApplication,
        keyed: Option<Keyed>,
    ) -> Result<Application, EngineError> {
        application.status = ApplicationStatus::Planned;
        let plan_id: PlanId = new_id("plan");
        let body = json!({
            "pattern": application.pattern,
            "target_component": application.target_component,
            "parameters": application.parameters,
            "rules": new.rules,
            "allow_review_edits": new.allow_review_edits,
            "diff": application.diff,
        });
        self.0.store.save_plan(&plan_id, &body, application.applied_at).await.map_err(stored)?;
        application.plan_id = Some(plan_id);
        self.record(application, Vec::new(), new, keyed).await
    }

    /// Returns a plan that was shown before.
    async fn kept_plan(
        &self,
        plan_id: &str,
        new: &NewApplication,
    ) -> Result<KeptPlan, EngineError> {
        let unknown = || Mistake::new("unknown_plan", format!("there is no plan `{plan_id}`"));
        let id: PlanId = plan_id.parse().map_err(|_| unknown())?;
        let record = self.0.store.plan(&id).await.map_err(stored)?.ok_or_else(|| {
            unknown().hint("apply_pattern with dry_run: true makes a plan and answers its plan_id")
        })?;
        if let Some(used_at) = record.used_at {
            return Err(plan_error(StoreError::PlanUsed { id: plan_id.to_owned(), used_at }));
        }
        let kept: KeptPlan = KeptPlan::read(id, &record.body).ok_or_else(|| {
            EngineError::internal("a stored plan cannot be read", plan_id.to_owned())
        })?;
        let mut wrong = Vec::new();
        if kept.pattern.name.as_str() != new.pattern_name {
            wrong.push(format!("/pattern_name: the plan is of `{}`", kept.pattern.name));
        }
        if kept.target_component != new.target_component {
            wrong.push(format!("/target_component: the plan is for `{}`", kept.target_component));
        }
        if !wrong.is_empty() {
            return Err(Mistake::new("other_plan", format!("plan `{plan_id}` is another one"))
                .details(wrong)
                .into());
        }
        Ok(kept)
    }

    async fn record(
        &self,
        application: Application,
        files: Vec<FileRecord>,
        new: &NewApplication,
        keyed: Option<Keyed>,
    ) -> Result<Application, EngineError> {
        let record = to_record(&application, files, new);
        let answer = json!({"application_id": application.application_id.as_str()});
        let entry = keyed.as_ref().map(|keyed| keyed.entry(answer, application.applied_at));
        match self.0.store.save_application(&record, entry).await {
            Ok(()) => Ok(application),
            Err(error) => {
                let answer = self.raced(keyed.as_ref(), error)?;
                self.applied_before(&answer).await
            }
        }
    }

    async fn applied_before(&self, answer: &Value) -> Result<Application, EngineError> {
        let id = answer.get("application_id").and_then(Value::as_str).unwrap_or_default();
        self.application(id).await
    }

    /// Returns a recorded use of a pattern.
    ///
    /// # Errors
    ///
    /// None of that name.
    pub async fn application(&self, id: &str) -> Result<Application, EngineError> {
        let unknown =
            || Mistake::new("unknown_application", format!("there is no application `{id}`"));
        let id: ApplicationId = id.parse().map_err(|_| unknown())?;
        let record = self.0.store.application(&id).await.map_err(stored)?.ok_or_else(unknown)?;
        Ok(from_record(record))
    }

    /// Takes an application back: the files have exactly the bytes that they had before.
    ///
    /// # Errors
    ///
    /// Unknown, not applied, or files that have changed since, all named; then nothing was touched.
    pub async fn revert_application(
        &self,
        application_id: &str,
        by: String,
    ) -> Result<Reverted, EngineError> {
        let mut application = self.application(application_id).await?;
        let hint = match application.status {
            ApplicationStatus::Applied => None,
            ApplicationStatus::Reverted => Some("it was taken back already"),
            _ => Some("it changed nothing, so there is nothing to take back"),
        };
        if let Some(hint) = hint {
            let status = application.status.as_str();
            return Err(Mistake::new(
                "not_applied",
                format!("application `{application_id}` is {status}"),
            )
            .hint(hint)
            .into());
        }
        let components = self.0.components.clone();
        let id = application.application_id.clone();
        let reverted = tokio::task::spawn_blocking(move || components.revert(&id))
            .await
            .map_err(|panicked| EngineError::internal("failed to revert", panicked))?
            .map_err(component_error)?;
        let now = self.now();
        self.0
            .store
            .update_application_status(
                &application.application_id,
                ApplicationStatus::Reverted,
                now,
            )
            .await
            .map_err(stored)?;
        tracing::info!(application = application_id, %by, "application reverted");
        application.status = ApplicationStatus::Reverted;
        let restored = reverted.files.into_iter().map(|file| file.path).collect();
        Ok(Reverted { application, restored })
    }
}

/// The record that patterns leave in a component cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unreadable(String);

impl Engine {
    /// Settles applications that were being written when the server died: the journal knows whether they are on disk.
    pub(crate) async fn settle_applications(&self) -> Result<(), EngineError> {
        let filter = ApplicationFilter {
            status: Some(ApplicationStatus::Applying),
            ..ApplicationFilter::default()
        };
        loop {
            let page = self
                .0
                .store
                .list_applications(&filter, &caelum_store::PageRequest::first(100))
                .await
                .map_err(stored)?;
            if page.items.is_empty() {
                return Ok(());
            }
            for record in page.items {
                let status = if self.0.components.is_applied(&record.id) {
                    ApplicationStatus::Applied
                } else {
                    ApplicationStatus::Conflict
                };
                tracing::warn!(application = %record.id, status = status.as_str(), "settled after a crash");
                self.0
                    .store
                    .update_application_status(&record.id, status, self.now())
                    .await
                    .map_err(stored)?;
            }
        }
    }
}

/// A plan that was shown, and what it was made with.
struct KeptPlan {
    plan_id: PlanId,
    pattern: PinnedPlugin,
    target_component: String,
    parameters: Map<String, Value>,
    rules: Vec<String>,
    allow_review_edits: bool,
    diff: String,
}

impl KeptPlan {
    fn read(plan_id: PlanId, body: &Value) -> Option<Self> {
        Some(KeptPlan {
            plan_id,
            pattern: serde_json::from_value(body.get("pattern")?.clone()).ok()?,
            target_component: body.get("target_component")?.as_str()?.to_owned(),
            parameters: body.get("parameters")?.as_object()?.clone(),
            rules: serde_json::from_value(body.get("rules")?.clone()).ok()?,
            allow_review_edits: body.get("allow_review_edits")?.as_bool()?,
            diff: body.get("diff")?.as_str()?.to_owned(),
        })
    }
}

/// Takes out edits of other rules, and those that somebody should look at when that was not allowed.
fn choose(mut plan: Plan, findings: &[Finding], wanted: Wanted<'_>) -> Chosen {
    let of_rules = |edit: &Edit| {
        wanted.rules.is_empty()
            || edit.resolves.iter().any(|fingerprint| {
                findings.iter().any(|finding| {
                    finding.fingerprint == *fingerprint && wanted.rules.contains(&finding.rule)
                })
            })
    };
    let mut withheld = Vec::new();
    plan.edits.retain(|edit| {
        if !of_rules(edit) {
            return false;
        }
        let hold = edit.risk == Risk::Review && !wanted.review_too;
        if hold {
            let path = edit.change.paths().first().copied().unwrap_or_default().to_owned();
            withheld.push((path, edit.rationale.clone()));
        }
        !hold
    });
    Chosen { plan, withheld }
}

/// Says how an application without any edit ends.
fn nothing_to_do(application: &mut Application, findings: &[Finding]) {
    let blocking = unanswered(findings, &[]);
    if application.withheld.is_empty() && blocking.is_empty() {
        application.status = ApplicationStatus::Unchanged;
        if application.summary.is_empty() {
            "everything is in line already".clone_into(&mut application.summary);
        }
        return;
    }
    application.status = ApplicationStatus::Blocked;
    if !application.withheld.is_empty() {
        application.problems.push(format!(
            "{} edits need somebody's look; allow_review_edits: true applies them",
            application.withheld.len()
        ));
    }
    application.problems.extend(blocking);
}

/// Returns the blocking findings that no edit answers, for people.
fn unanswered(findings: &[Finding], edits: &[Edit]) -> Vec<String> {
    let answered: BTreeSet<&str> =
        edits.iter().flat_map(|edit| &edit.resolves).map(String::as_str).collect();
    findings
        .iter()
        .filter(|finding| finding.severity == Severity::Blocking)
        .filter(|finding| !answered.contains(finding.fingerprint.as_str()))
        .map(describe)
        .collect()
}

fn describe(finding: &Finding) -> String {
    match finding.place() {
        Some(place) => format!("{} {place}: {}", finding.rule, finding.message),
        None => format!("{}: {}", finding.rule, finding.message),
    }
}

fn paths(plan: &Plan) -> Vec<String> {
    let all: BTreeSet<&str> = plan.edits.iter().flat_map(|edit| edit.change.paths()).collect();
    all.into_iter().map(str::to_owned).collect()
}

/// Returns the weighted share of rules that hold: blocking ones weigh 3, warnings 1, advice nothing.
fn score(assessment: &Assessment, plugin: &Plugin) -> Option<f64> {
    let weight = |severity: Severity| match severity {
        Severity::Blocking => 3.0,
        Severity::Warning => 1.0,
        Severity::Advice => 0.0,
    };
    let rules = &plugin.description().rules;
    let of = |id: &str| {
        rules.iter().find(|rule| rule.id == id).map_or(1.0, |rule| weight(rule.severity))
    };
    let passed: f64 = assessment.passed_rules.iter().map(|id| of(id)).sum();
    let failed: BTreeSet<&str> =
        assessment.findings.iter().map(|finding| finding.rule.as_str()).collect();
    let failed: f64 = failed.into_iter().map(of).sum();
    let all = passed + failed;
    (all > 0.0).then(|| 100.0 * passed / all)
}

fn contract(plugin: &Plugin, message: &str) -> EngineError {
    EngineError::Plugin {
        plugin: format!("{} {}", plugin.name(), plugin.version()),
        failure: PluginFailure::Host(HostReason::Contract {
            message: format!("proposed a plan that is refused: {message}"),
        }),
    }
}

/// Takes the answer out of a call; wrong parameters are the caller's mistake, everything else is the plugin's fault.
fn answered<T>(called: Called<T>) -> Result<T, EngineError> {
    called.outcome.map_err(|error| match error.failure {
        PluginFailure::InvalidParameters(problems) => Mistake::new(
            "parameters",
            format!("the parameters do not fit {} `{}`", error.kind, error.plugin),
        )
        .details(
            problems
                .iter()
                .map(|problem| format!("/parameters{}: {}", problem.pointer, problem.message))
                .collect(),
        )
        .hint("list_patterns shows the parameters' schema")
        .into(),
        failure => {
            EngineError::Plugin { plugin: format!("{} {}", error.plugin, error.version), failure }
        }
    })
}

fn plan_error(error: StoreError) -> EngineError {
    match error {
        StoreError::PlanUsed { id, used_at } => {
            Mistake::new("plan_used", format!("plan `{id}` was applied at {used_at}"))
                .hint("make a new plan with dry_run: true")
                .into()
        }
        other => stored(other),
    }
}

fn component_error(error: ComponentsError) -> EngineError {
    if error.is_callers_mistake() {
        Mistake::new("component", error.to_string()).into()
    } else {
        EngineError::internal("failed to work on a component", error)
    }
}
