//! A pattern that plans what a host must refuse, in the way its parameters say.

use caelum_sdk::{
    About, Assessment, Change, Content, Context, Edit, FileRef, Ownership, Pattern, Plan,
    PluginError, Rule, Severity, SourceFile, Target, about, assess,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Says who it is.
pub struct BadPlans;

/// What to do wrong.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// What to do wrong.
    pub fault: Fault,
    /// The path to do it with: of the new file for the faults that make one, otherwise of an existing text file.
    pub path: String,
    /// How much of it: edits, or bytes.
    pub amount: usize,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { fault: Fault::None, path: "MARK".to_owned(), amount: 1 }
    }
}

/// What can be wrong with a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Nothing: makes `path` where it is missing, and is at rest then.
    None,
    /// Makes `path` whatever is there, and again on the result.
    NeverAtRest,
    /// Adds a line to `path` on every run.
    AppendsForever,
    /// Replaces overlapping ranges of `path`.
    Overlap,
    /// Replaces a range beyond the end of `path`.
    BeyondEnd,
    /// Replaces a range of `path` whose end lies before its start.
    Backwards,
    /// Names another hash than that of `path`.
    StaleHash,
    /// Names a hash that is no hash.
    MalformedHash,
    /// Makes `path` twice.
    Twice,
    /// Makes `path` in lower and in upper case.
    CaseTwins,
    /// Deletes and changes `path`.
    DeleteAndChange,
    /// Makes `amount` files.
    ManyEdits,
    /// Makes `path` with `amount` bytes.
    HugeFile,
    /// Makes `path`, which brings a finding that was not there before.
    NewFinding,
    /// Resolves a finding that nobody has found.
    ResolvesNothing,
    /// Leaves its own blocking finding unanswered.
    StaysBlocked,
    /// Panics while it plans.
    Panic,
    /// Fails while it plans.
    Error,
}

const MISSING: Rule = Rule::new("BP01", Severity::Warning, "the mark is there").fixable();
const CAUSED: Rule = Rule::new("BP02", Severity::Warning, "the mark does no harm");
const STUCK: Rule = Rule::new("BP03", Severity::Blocking, "what nobody can answer");

impl Pattern for BadPlans {
    type Parameters = Parameters;
    const ABOUT: About = about!("bad-plans", "Bad plans", "Plans what a host must refuse.");
    const RULES: &'static [Rule] = &[MISSING, CAUSED, STUCK];

    fn validate(
        target: &dyn Target,
        parameters: &Parameters,
        _: &Context,
    ) -> Result<Assessment, PluginError> {
        let marked = target.is_file(&parameters.path)?;
        let harmful = marked && parameters.fault == Fault::NewFinding;
        let stuck = parameters.fault == Fault::StaysBlocked;
        Ok(Assessment::new()
            .check(MISSING.id, (!marked).then(|| MISSING.finding("there is no mark")))
            .check(CAUSED.id, harmful.then(|| CAUSED.finding("the mark does harm")))
            .check(STUCK.id, stuck.then(|| STUCK.finding("this stays"))))
    }

    fn plan(
        target: &dyn Target,
        parameters: &Parameters,
        context: &Context,
    ) -> Result<Plan, PluginError> {
        let assessment = assess::<Self>(target, parameters, context)?;
        let mut plan = Plan::new("does what it was told").findings_of(&assessment);
        for edit in edits(target, parameters)? {
            let edit = edit.safe().because("it was told to");
            let missing = assessment.findings_of(MISSING.id);
            let edit =
                if edit.path() == parameters.path { edit.resolves_all(missing) } else { edit };
            plan.edits.push(edit);
        }
        if parameters.fault == Fault::ResolvesNothing
            && let Some(edit) = plan.edits.first_mut()
        {
            edit.resolves = vec!["BP01:nobody-found-this".to_owned()];
        }
        Ok(plan)
    }
}

fn edits(target: &dyn Target, parameters: &Parameters) -> Result<Vec<Edit>, PluginError> {
    let path = parameters.path.as_str();
    let create = |path: &str| Edit::create(path, "made\n");
    // A path that cannot be read counts as missing here, so that wild ones reach the plan.
    let missing = !target.is_file(path).unwrap_or(false);
    let file = || SourceFile::read(target, path);
    Ok(match parameters.fault {
        Fault::None | Fault::NewFinding | Fault::ResolvesNothing | Fault::StaysBlocked => {
            missing.then(|| create(path)).into_iter().collect()
        }
        Fault::NeverAtRest => vec![create(path)],
        Fault::AppendsForever => {
            let file = file()?;
            vec![file.edit().insert(file.text().len(), "again\n")]
        }
        Fault::Overlap => vec![file()?.edit().remove(0..4).substitute(2..6, "x")],
        Fault::BeyondEnd => {
            let file = file()?;
            let end = file.text().len();
            vec![file.edit().remove(end..end + 1)]
        }
        Fault::Backwards => vec![backwards(file()?.base())],
        Fault::StaleHash => vec![SourceFile::new(path, "what it never was").edit().insert(0, "x")],
        Fault::MalformedHash => {
            let base = FileRef { path: path.to_owned(), sha256: "sha256:ABC".to_owned() };
            vec![Edit::replace(&base).insert(0, "x")]
        }
        Fault::Twice => vec![create(path), create(path)],
        Fault::CaseTwins => vec![create(&path.to_lowercase()), create(&path.to_uppercase())],
        Fault::DeleteAndChange => {
            let file = file()?;
            vec![Edit::delete(file.base()), file.edit().insert(0, "x")]
        }
        Fault::ManyEdits => {
            (0..parameters.amount).map(|index| create(&format!("{path}-{index}"))).collect()
        }
        Fault::HugeFile => vec![Edit::create(path, Content::Bytes(vec![b'x'; parameters.amount]))],
        Fault::Panic => panic!("a pattern that panics on demand"),
        Fault::Error => return Err(PluginError::other("a pattern that fails on demand")),
    })
}

fn backwards(base: &FileRef) -> Edit {
    let mut edit = Edit::replace(base).owned(Ownership::Block).remove(0..1);
    if let Change::Replace { ranges, .. } = &mut edit.change {
        for replacement in ranges {
            (replacement.range.start, replacement.range.end) = (3, 1);
        }
    }
    edit
}

caelum_sdk::export_pattern!(BadPlans);

#[cfg(test)]
mod tests {
    use caelum_sdk::testing::{FakeTarget, check_pattern, check_plan};

    use super::*;

    #[test]
    fn without_a_fault_it_is_a_good_pattern() {
        check_pattern::<BadPlans>();
        let applied =
            check_plan::<BadPlans>(&FakeTarget::new(), serde_json::json!({}), &Context::default());

        assert_eq!(applied.target.text("MARK"), "made\n");
    }
}
