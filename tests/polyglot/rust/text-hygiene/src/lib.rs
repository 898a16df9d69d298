//! The pattern `text-hygiene` of the polyglot kit, in Rust: tidies text files, byte for byte, and what lies about them.
//! Its twins in Python and JavaScript answer the same, to the letter.

mod survey;

use caelum_sdk::{
    About, Assessment, Context, Edit, NextStep, Ownership, Pattern, Plan, PluginError, Rule,
    Severity, Target, assess,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::survey::Survey;

/// Tidies text files.
#[derive(Debug)]
pub struct TextHygiene;

/// What to tidy.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Globs of the text files.
    #[schemars(length(min = 1))]
    pub files: Vec<String>,
    /// Whether there should be an `.editorconfig`.
    pub editorconfig: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { files: vec!["**/*.md".to_owned(), "**/*.txt".to_owned()], editorconfig: true }
    }
}

const LINE_END: Rule =
    Rule::new("TH01", Severity::Warning, "every text file ends with a line end").fixable();
const WHITE_SPACE: Rule =
    Rule::new("TH02", Severity::Advice, "no line ends in white space").fixable();
const EDITORCONFIG: Rule =
    Rule::new("TH03", Severity::Advice, "an `.editorconfig` says how files are written").fixable();
const LEFTOVER: Rule =
    Rule::new("TH04", Severity::Warning, "no leftovers of merges lie about").fixable();
const LICENCE: Rule =
    Rule::new("TH05", Severity::Advice, "the licence file has the name that tools look for")
        .fixable();
const ENCODING: Rule = Rule::new("TH06", Severity::Warning, "text files are UTF-8")
    .remediation("Convert the file to UTF-8, or leave it out of `files`.");

/// What a new `.editorconfig` says.
const SETTINGS: &str = "root = true\n\n[*]\ncharset = utf-8\nend_of_line = lf\n\
                        insert_final_newline = true\ntrim_trailing_whitespace = true\n";

impl Pattern for TextHygiene {
    type Parameters = Parameters;

    const ABOUT: About = caelum_sdk::about!(
        "text-hygiene",
        "Text hygiene",
        "Ends text files with a line end, removes white space at the ends of lines, and clears up beside them. Changes \
         no other byte.",
    );

    const RULES: &'static [Rule] =
        &[LINE_END, WHITE_SPACE, EDITORCONFIG, LEFTOVER, LICENCE, ENCODING];

    const APPLIES_TO: &'static [&'static str] = &["**/*.md", "**/*.txt"];

    fn validate(
        target: &dyn Target,
        parameters: &Parameters,
        _: &Context,
    ) -> Result<Assessment, PluginError> {
        Ok(judge(&Survey::of(target, parameters)?, parameters))
    }

    fn plan(
        target: &dyn Target,
        parameters: &Parameters,
        context: &Context,
    ) -> Result<Plan, PluginError> {
        let survey = Survey::of(target, parameters)?;
        let assessment = assess::<Self>(target, parameters, context)?;
        let of = context.component.as_ref().map(|name| format!(" of `{name}`")).unwrap_or_default();
        let mut plan = Plan::new(format!("tidies the text files{of}")).findings_of(&assessment);
        for finding in assessment.findings() {
            let path = finding.path().unwrap_or_default();
            if let Some(edit) = answer(&survey, &finding.rule, path) {
                plan.edit(edit.resolves(finding));
            }
        }
        let foreign: Vec<String> = assessment
            .findings_of(ENCODING.id)
            .filter_map(|finding| Some(format!("- `{}`", finding.path()?)))
            .collect();
        if !foreign.is_empty() {
            plan.next_step(
                NextStep::new(
                    "convert-to-utf-8",
                    "Convert files to UTF-8",
                    format!(
                        "These files are not UTF-8, so nothing was changed in them:\n{}",
                        foreign.join("\n")
                    ),
                )
                .judged_by("command-succeeded", json!({"exit_codes": [0]})),
            );
        }
        Ok(plan)
    }
}

/// Says what is wrong with what was found.
fn judge(survey: &Survey, parameters: &Parameters) -> Assessment {
    if survey.is_empty() {
        return Assessment::not_applicable();
    }
    let ends = survey.texts.iter().filter(|text| text.lacks_line_end).map(|text| {
        LINE_END
            .finding("the last line has no line end")
            .at_line(text.file.path(), text.last_line())
    });
    let spaces = survey.texts.iter().filter_map(|text| {
        let (first, _) = text.spaces.first()?;
        let message = match text.spaces.len() {
            1 => "a line ends in white space".to_owned(),
            count => format!("{count} lines end in white space"),
        };
        let finding = WHITE_SPACE.finding(message).at_line(text.file.path(), *first);
        Some(finding.about("white space"))
    });
    let leftovers = survey
        .leftovers
        .iter()
        .map(|file| LEFTOVER.finding("the file was left behind by a merge").at(&file.path));
    let foreign =
        survey.foreign.iter().map(|path| ENCODING.finding("the file is not UTF-8 text").at(path));
    let assessment = Assessment::new()
        .check(LINE_END.id, ends)
        .check(WHITE_SPACE.id, spaces)
        .check(LEFTOVER.id, leftovers)
        .check(ENCODING.id, foreign);
    let assessment = match parameters.editorconfig {
        true => {
            let missing = (!survey.has_editorconfig)
                .then(|| EDITORCONFIG.finding("there is no `.editorconfig`"));
            assessment.check(EDITORCONFIG.id, missing)
        }
        false => assessment.skip(EDITORCONFIG.id),
    };
    match (&survey.licence, survey.has_license) {
        (None, false) => assessment.skip(LICENCE.id),
        (licence, has_license) => {
            let odd = licence
                .as_ref()
                .filter(|_| !has_license)
                .map(|file| LICENCE.finding("tools look for `LICENSE`").at(&file.path));
            assessment.check(LICENCE.id, odd)
        }
    }
}

/// Returns what would answer a finding, if anything would.
fn answer(survey: &Survey, rule: &str, path: &str) -> Option<Edit> {
    let text = survey.texts.iter().find(|text| text.file.path() == path);
    if rule == LINE_END.id {
        let file = &text?.file;
        let edit = file.edit().insert(file.text().len(), file.line_end());
        Some(edit.safe().because("tools that join files expect it"))
    } else if rule == WHITE_SPACE.id {
        let text = text?;
        let edit = text
            .spaces
            .iter()
            .fold(text.file.edit(), |edit, (_, range)| edit.remove(range.clone()));
        // In Markdown, two blanks at the end of a line break it.
        let edit = if path.ends_with(".md") { edit.review() } else { edit.safe() };
        Some(edit.because("nobody sees it, and every editor changes it"))
    } else if rule == EDITORCONFIG.id {
        let edit = Edit::create(".editorconfig", SETTINGS).owned(Ownership::Seed);
        Some(edit.safe().because("editors keep to it by themselves"))
    } else if rule == LEFTOVER.id {
        let file = survey.leftovers.iter().find(|file| file.path == path)?;
        Some(Edit::delete(file).because("the merge is over"))
    } else if rule == LICENCE.id {
        let file = survey.licence.as_ref()?;
        Some(Edit::rename(file, "LICENSE").because("tools look for `LICENSE`"))
    } else {
        None
    }
}

caelum_sdk::export_pattern!(TextHygiene);

#[cfg(test)]
mod tests {
    use super::*;
    use caelum_sdk::testing::{FakeTarget, check_pattern, check_plan};

    #[test]
    fn it_keeps_the_contract() {
        check_pattern::<TextHygiene>();
    }

    #[test]
    fn it_is_at_rest_after_its_own_plan() {
        let target = FakeTarget::new()
            .file("README.md", "# Ümlaut  \r\n\r\ntext\t \r\nlast  ")
            .file("notes/a.txt", "one \ntwo")
            .file("notes/a.txt.orig", "old")
            .file("LICENCE", "MIT\n");

        let applied = check_plan::<TextHygiene>(&target, json!({}), &Context::default());

        assert_eq!(applied.target.text("README.md"), "# Ümlaut\r\n\r\ntext\r\nlast\r\n");
        assert_eq!(applied.target.text("notes/a.txt"), "one\ntwo\n");
        assert_eq!(applied.target.text("LICENSE"), "MIT\n");
        assert_eq!(applied.target.text(".editorconfig"), SETTINGS);
    }
}
