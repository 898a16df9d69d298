//! {{title}}: finds what a component lacks, and proposes the change.

use caelum_sdk::{
    About, Assessment, Context, Pattern, Plan, PluginError, Rule, Severity, SourceFile, Target,
    about, assess,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The one rule of this pattern. Add yours beside it.
const LAST_LINE: Rule =
    Rule::new("LL01", Severity::Warning, "the last line of a text file has a line end").fixable();

/// How many files are looked at.
const FILES_MAX: u32 = 1_000;

/// What can be set. The comments become the descriptions that people and models read.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Globs of the files to look at.
    files: Vec<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { files: vec!["**/*.md".to_owned()] }
    }
}

/// Gives the last line of text files its line end.
#[derive(Debug)]
pub struct {{type}};

impl Pattern for {{type}} {
    type Parameters = Parameters;
    const ABOUT: About =
        about!("{{name}}", "{{title}}", "Gives the last line of text files its line end.");
    const RULES: &'static [Rule] = &[LAST_LINE];

    fn validate(
        target: &dyn Target,
        parameters: &Parameters,
        _: &Context,
    ) -> Result<Assessment, PluginError> {
        let files = files(target, parameters)?;
        if files.is_empty() {
            return Ok(Assessment::not_applicable());
        }
        let found = files.iter().filter(|file| lacks_line_end(file)).map(|file| {
            let (line, _) = file.position(file.text().len());
            LAST_LINE.finding("the last line has no line end").at_line(file.path(), line)
        });
        Ok(Assessment::new().check(LAST_LINE.id, found))
    }

    fn plan(
        target: &dyn Target,
        parameters: &Parameters,
        context: &Context,
    ) -> Result<Plan, PluginError> {
        let assessment = assess::<Self>(target, parameters, context)?;
        let mut plan = Plan::new("gives last lines their line ends").findings_of(&assessment);
        for finding in assessment.findings_of(LAST_LINE.id) {
            let Some(path) = finding.path() else { continue };
            let file = SourceFile::read(target, path)?;
            // An edit is bound to the file as it was read here: when the file has changed, nothing is touched.
            plan.edit(
                file.edit()
                    .insert(file.text().len(), file.line_end())
                    .safe()
                    .resolves(finding)
                    .because("tools that join or read lines lose the last one otherwise"),
            );
        }
        Ok(plan)
    }
}

fn files(target: &dyn Target, parameters: &Parameters) -> Result<Vec<SourceFile>, PluginError> {
    let mut files = Vec::new();
    for glob in &parameters.files {
        for entry in target.glob(glob, FILES_MAX)? {
            files.push(SourceFile::read(target, &entry.path)?);
        }
    }
    Ok(files)
}

fn lacks_line_end(file: &SourceFile) -> bool {
    !file.text().is_empty() && !file.text().ends_with('\n')
}

caelum_sdk::export_pattern!({{type}});

#[cfg(test)]
mod tests {
    use caelum_sdk::testing::{FakeTarget, check_pattern, check_plan};
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_the_rules_of_patterns() {
        check_pattern::<{{type}}>();
    }

    #[test]
    fn a_missing_line_end_is_added_and_nothing_else_changes() {
        let target = FakeTarget::new().file("README.md", "# Shop\r\n\r\nEnd").file("a.md", "fine\n");

        // Plans, applies, and checks that the pattern is at rest on its own result.
        let applied = check_plan::<{{type}}>(&target, json!({}), &Context::default());

        assert_eq!(applied.target.text("README.md"), "# Shop\r\n\r\nEnd\r\n");
        assert_eq!(applied.target.text("a.md"), "fine\n");
    }
}
