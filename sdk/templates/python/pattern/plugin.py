"""{{title}}: finds what a component lacks, and proposes the change."""

from caelum import Assessment, Found, Rule, SourceFile, by_path, description, glob, parameters_of
from wit_world import exports
from wit_world.exports import pattern as wit
from wit_world.imports.types import Severity

# What can be set. The descriptions are what people and models read.
SCHEMA = {
    "type": "object",
    "properties": {
        "files": {
            "description": "Globs of the files to look at.",
            "type": "array",
            "items": {"type": "string"},
            "default": ["**/*.md"],
        },
    },
    "additionalProperties": False,
}

# The one rule of this pattern. Add yours beside it.
LAST_LINE = Rule("LL01", "the last line of a text file has a line end", Severity.WARNING, fixable=True)

# How many files are looked at.
FILES_MAX = 1_000


def files_of(parameters: str) -> dict[str, SourceFile]:
    """Reads the files that the parameters name."""
    globs = parameters_of(parameters, SCHEMA)["files"]
    paths = {path for pattern in globs for path in glob(pattern, FILES_MAX)}
    return {path: SourceFile.read(path) for path in sorted(paths)}


def look(files: dict[str, SourceFile], context: str) -> Assessment:
    """Finds what is wrong."""
    assessment = Assessment(context)
    lacking = [file for file in files.values() if file.content and not file.content.endswith(b"\n")]
    found = [Found("the last line has no line end", file.path, file.content.count(b"\n") + 1) for file in lacking]
    assessment.check(LAST_LINE, found)
    return assessment


class Pattern(exports.Pattern):
    def describe(self) -> wit.PatternDescription:
        about = description(
            id="{{name}}",
            version="0.1.0",
            title="{{title}}",
            summary="Gives the last line of text files its line end.",
            schema=SCHEMA,
        )
        return wit.PatternDescription(about, rules=[wit.Rule(*LAST_LINE)], applies_to=[])

    def validate(self, parameters: str, context: str) -> wit.Assessment:
        files = files_of(parameters)
        if not files:
            return wit.Assessment(wit.Applicability.NOT_APPLICABLE, [], [], [], [])
        assessment = look(files, context)
        findings = assessment.findings.sorted()
        applicability = wit.Applicability.APPLICABLE if findings else wit.Applicability.ALREADY_APPLIED
        return wit.Assessment(applicability, findings, assessment.passed, assessment.skipped, [])

    def plan(self, parameters: str, context: str) -> wit.ChangePlan:
        files = files_of(parameters)
        findings = look(files, context).findings.sorted()
        edits = []
        for finding in findings:
            file = files[finding.location.path]
            # Positions count bytes. An edit is bound to the file as it was read: when it has changed, nothing is touched.
            end = len(file.content)
            line_end = "\r\n" if b"\r\n" in file.content else "\n"
            change = wit.Change_Replace(
                wit.ReplaceRanges(file.path, file.sha256, [wit.Replacement(end, end, line_end)])
            )
            why = "tools that join or read lines lose the last one otherwise"
            edits.append(wit.Edit(change, wit.Ownership.BLOCK, wit.Risk.SAFE, [finding.fingerprint], why))
        edits.sort(key=lambda edit: by_path(edit.change.value))
        return wit.ChangePlan("gives last lines their line ends", edits, [], findings, [])
