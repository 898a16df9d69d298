//! One case, given to a plugin as the server would: the answer as JSON, and what every plugin has promised whatever it
//! answers.

use std::sync::Arc;

use caelum_components::{OverlayTree, StageLimits, stage};
use caelum_core::evidence::VerdictKind;
use caelum_core::pattern::{Assessment, Plan};
use caelum_core::plugin::{PluginFailure, PluginKind};
use caelum_core::tree::Tree;
use caelum_plugin_host::{CallControl, CallReport, Called};
use serde_json::{Value, json};

use super::answer;
use super::case::Case;
use super::subject::Subject;

/// What came of a case.
pub(super) struct Exercise {
    /// The answer: the same for the same case, byte for byte.
    pub(super) answer: Value,
    /// How it ended.
    pub(super) ending: Ending,
    /// Promises that were broken.
    pub(super) broken: Vec<String>,
    /// What each call took, in their order.
    pub(super) reports: Vec<CallReport>,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// A verdict.
    Verdict(VerdictKind),
    /// An assessment and a plan.
    Planned,
    /// No answer.
    Failed,
}

/// A plugin without an answer: the answer as JSON, and how it ended.
type Answered<T> = Result<T, Value>;

impl Exercise {
    /// Gives a case to the plugin.
    pub(super) async fn of(subject: &Subject, case: &Case) -> Self {
        let mut exercise = Exercise {
            answer: Value::Null,
            ending: Ending::Failed,
            broken: Vec::new(),
            reports: Vec::new(),
        };
        let answered = match subject.plugin.kind() {
            PluginKind::Validator => exercise.judge(subject, case).await,
            PluginKind::Pattern => exercise.improve(subject, case).await,
        };
        exercise.answer = answered.unwrap_or_else(|failure| json!({"error": failure}));
        exercise.broken.extend(
            case.missing()
                .into_iter()
                .map(|what| format!("it asks for {what}, which the recording does not hold")),
        );
        exercise
    }

    fn take<T>(&mut self, called: Called<T>) -> Answered<T> {
        self.reports.push(called.report);
        called.outcome.map_err(|error| {
            if let PluginFailure::Host(reason) = &error.failure {
                self.broken.push(format!("it does not answer: it {reason}"));
            }
            answer::failure(&error.failure)
        })
    }

    async fn judge(&mut self, subject: &Subject, case: &Case) -> Answered<Value> {
        let Case { evidence, phase, parameters, tree, .. } = case;
        let called = subject
            .plugins
            .judge(
                &subject.plugin,
                evidence,
                *phase,
                Arc::clone(tree),
                parameters,
                CallControl::default(),
            )
            .await;
        let verdict = self.take(called)?;
        let nothing = evidence.outcomes.is_empty()
            && evidence.probes.is_empty()
            && evidence.reviews.is_empty()
            && evidence.files.is_empty();
        if verdict.kind == VerdictKind::Pass && nothing {
            self.broken.push("it passes without any evidence".to_owned());
        }
        if verdict.kind != VerdictKind::Pass && verdict.reasons.is_empty() {
            self.broken.push(format!("it says `{}` without a reason", verdict.kind.as_str()));
        }
        self.ending = Ending::Verdict(verdict.kind);
        Ok(json!({"verdict": answer::verdict(&verdict)}))
    }

    async fn improve(&mut self, subject: &Subject, case: &Case) -> Answered<Value> {
        let before = self.assess(subject, case, &case.tree).await?;
        let plan = self.plan(subject, case, &case.tree).await?;
        let staged = match stage(case.tree.as_ref(), &plan, &StageLimits::default()) {
            Ok(staged) => staged,
            Err(problems) => {
                self.broken.push(format!("its plan cannot be applied: {problems}"));
                let problems = problems.to_string();
                return Ok(
                    json!({"assessment": answer::assessment(&before), "plan": {"error": problems}}),
                );
            }
        };
        self.ending = Ending::Planned;
        let mut answer = json!({
            "assessment": answer::assessment(&before),
            "plan": answer::plan(&plan, &staged),
        });
        if staged.is_empty() {
            return Ok(answer);
        }
        let tree: Arc<dyn Tree> = Arc::new(OverlayTree::new(Arc::clone(&case.tree), &staged));
        let after = self.assess(subject, case, &tree).await?;
        self.compare(&before, &plan, &after);
        let again = self.plan(subject, case, &tree).await?;
        match stage(tree.as_ref(), &again, &StageLimits::default()) {
            Ok(staged) if staged.is_empty() => {}
            Ok(staged) => self.broken.push(format!(
                "it does not come to rest: on its own result it would change\n{}",
                staged.diff().text.trim_end()
            )),
            Err(problems) => self.broken.push(format!(
                "it does not come to rest: on its own result it plans what cannot be applied: {problems}"
            )),
        }
        answer["after"] = answer::assessment(&after);
        Ok(answer)
    }

    /// Notes what a plan has promised and its result does not keep.
    fn compare(&mut self, before: &Assessment, plan: &Plan, after: &Assessment) {
        let known = |fingerprint: &String| {
            let mut all = before.findings.iter().chain(&plan.findings);
            all.any(|finding| finding.fingerprint == *fingerprint)
        };
        for edit in &plan.edits {
            let path = edit.change.paths()[0];
            if edit.rationale.is_empty() {
                self.broken.push(format!("its edit of `{path}` says no reason"));
            }
            for fingerprint in edit.resolves.iter().filter(|fingerprint| !known(fingerprint)) {
                self.broken.push(format!(
                    "its edit of `{path}` resolves `{fingerprint}`, which was not found"
                ));
            }
        }
        for finding in &after.findings {
            let resolved =
                plan.edits.iter().any(|edit| edit.resolves.contains(&finding.fingerprint));
            let what = format!("{} {}", finding.rule, finding.message);
            if resolved {
                self.broken.push(format!("still found, though an edit resolves it: {what}"));
            } else if !known(&finding.fingerprint) {
                self.broken.push(format!("found only after its own plan: {what}"));
            }
        }
    }

    async fn assess(
        &mut self,
        subject: &Subject,
        case: &Case,
        tree: &Arc<dyn Tree>,
    ) -> Answered<Assessment> {
        let Subject { plugins, plugin, .. } = subject;
        let tree = Arc::clone(tree);
        let control = CallControl::default();
        let called = plugins.validate(plugin, tree, &case.parameters, &case.context, control).await;
        self.take(called)
    }

    async fn plan(
        &mut self,
        subject: &Subject,
        case: &Case,
        tree: &Arc<dyn Tree>,
    ) -> Answered<Plan> {
        let Subject { plugins, plugin, .. } = subject;
        let tree = Arc::clone(tree);
        let control = CallControl::default();
        let called = plugins.plan(plugin, tree, &case.parameters, &case.context, control).await;
        self.take(called)
    }
}
