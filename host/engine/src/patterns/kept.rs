//! Plans that were shown: kept, found again, and applied at most once.

use caelum_core::clock::Timestamp;
use caelum_core::id::PlanId;
use caelum_core::pattern::ApplicationStatus;
use caelum_core::plugin::PinnedPlugin;
use serde_json::{Map, Value, json};

use crate::engine::Engine;
use crate::error::{EngineError, Mistake};
use crate::executions::{new_id, stored};
use crate::request::{Application, NewApplication};

/// A plan that was shown, and what it was made with.
pub(super) struct KeptPlan {
    pub(super) plan_id: PlanId,
    pub(super) pattern: PinnedPlugin,
    target_component: String,
    pub(super) parameters: Map<String, Value>,
    pub(super) rules: Vec<String>,
    pub(super) allow_review_edits: bool,
    pub(super) diff: String,
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

impl Engine {
    /// Keeps a plan that was shown, so that exactly it can be applied.
    pub(super) async fn keep_plan(
        &self,
        application: &mut Application,
        new: &NewApplication,
    ) -> Result<(), EngineError> {
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
        Ok(())
    }

    /// Returns a plan that was shown before.
    pub(super) async fn kept_plan(
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
            return Err(used_plan(plan_id, used_at));
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
}

/// Says that a plan was applied before.
pub(super) fn used_plan(id: &str, used_at: Timestamp) -> EngineError {
    Mistake::new("plan_used", format!("plan `{id}` was applied at {used_at}"))
        .hint("make a new plan with dry_run: true")
        .into()
}
