"""The pattern `text-hygiene` of the polyglot kit, in Python: tidies text files, byte for byte, and what lies about them.
Its twins in Rust and JavaScript answer the same, to the letter."""

import json
import re
from dataclasses import dataclass
from typing import Any, Optional

from caelum import (
    Assessment,
    Found,
    Rule,
    SourceFile,
    by_path,
    description,
    glob,
    is_file,
    other,
    parameters_of,
)
from wit_world import exports
from wit_world.exports import pattern as wit
from wit_world.imports.types import Finding, Severity

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "description": "What to tidy.",
    "type": "object",
    "properties": {
        "files": {
            "description": "Globs of the text files.",
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "default": ["**/*.md", "**/*.txt"],
        },
        "editorconfig": {
            "description": "Whether there should be an `.editorconfig`.",
            "type": "boolean",
            "default": True,
        },
    },
    "additionalProperties": False,
}

LINE_END = Rule("TH01", "every text file ends with a line end", Severity.WARNING, fixable=True)
WHITE_SPACE = Rule("TH02", "no line ends in white space", Severity.ADVICE, fixable=True)
EDITORCONFIG = Rule("TH03", "an `.editorconfig` says how files are written", Severity.ADVICE, fixable=True)
LEFTOVER = Rule("TH04", "no leftovers of merges lie about", Severity.WARNING, fixable=True)
LICENCE = Rule("TH05", "the licence file has the name that tools look for", Severity.ADVICE, fixable=True)
ENCODING = Rule(
    "TH06",
    "text files are UTF-8",
    Severity.WARNING,
    remediation="Convert the file to UTF-8, or leave it out of `files`.",
)

SETTINGS = """root = true

[*]
charset = utf-8
end_of_line = lf
insert_final_newline = true
trim_trailing_whitespace = true
"""
"""What a new `.editorconfig` says."""

FILES_MAX = 1_000
"""How many files one glob may match; more are not tidied by a plan that people can read."""


@dataclass
class Text:
    """A text file and what is untidy about it."""

    file: SourceFile

    @property
    def lacks_line_end(self) -> bool:
        """Whether the last line has no line end."""
        return bool(self.file.content) and not self.file.content.endswith(b"\n")

    @property
    def line_end(self) -> str:
        """How the first line ends."""
        first = self.file.content.find(b"\n")
        return "\r\n" if first > 0 and self.file.content[first - 1 : first] == b"\r" else "\n"

    @property
    def spaces(self) -> list[tuple[int, int, int]]:
        """White space at the ends of lines: the line, from 1, the first byte, and the byte after the last one."""
        content = self.file.content
        found = re.finditer(rb"[ \t]+(?=\r?\n|\Z)", content)
        return [(content.count(b"\n", 0, match.start()) + 1, *match.span()) for match in found]


def matching(globs: list[str]) -> list[str]:
    """Lists what the globs match, sorted."""
    paths: set[str] = set()
    for pattern in globs:
        found = glob(pattern, FILES_MAX)
        if len(found) == FILES_MAX:
            raise other(f"`{pattern}` matches {FILES_MAX} files or more; name fewer in `files`")
        paths.update(found)
    return sorted(paths)


class Survey:
    """What lies in the tree, as far as the rules are about it. Reads, and judges nothing."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        files = [SourceFile.read(path) for path in matching(parameters["files"])]
        self.texts = [Text(file) for file in files if file.text is not None]
        self.foreign = [file for file in files if file.text is None]
        self.leftovers = [SourceFile.read(path) for path in matching(["**/*.orig"])]
        self.licence = SourceFile.read("LICENCE") if is_file("LICENCE") else None
        self.has_editorconfig = is_file(".editorconfig")
        self.has_license = is_file("LICENSE")

    def judge(self, parameters: dict[str, Any], context: str) -> Optional[Assessment]:
        """Says what is wrong; nothing when there is no text file."""
        if not self.texts and not self.foreign:
            return None
        assessment = Assessment(context)
        ends = [
            Found("the last line has no line end", text.file.path, text.file.content.count(b"\n") + 1)
            for text in self.texts
            if text.lacks_line_end
        ]
        assessment.check(LINE_END, ends)
        blank = []
        for text in self.texts:
            if spaces := text.spaces:
                count = len(spaces)
                message = "a line ends in white space" if count == 1 else f"{count} lines end in white space"
                blank.append(Found(message, text.file.path, spaces[0][0], about="white space"))
        assessment.check(WHITE_SPACE, blank)
        left = "the file was left behind by a merge"
        assessment.check(LEFTOVER, [Found(left, file.path) for file in self.leftovers])
        assessment.check(ENCODING, [Found("the file is not UTF-8 text", file.path) for file in self.foreign])
        if not parameters["editorconfig"]:
            assessment.skip(EDITORCONFIG)
        else:
            missing = [] if self.has_editorconfig else [Found("there is no `.editorconfig`")]
            assessment.check(EDITORCONFIG, missing)
        if self.licence is None and not self.has_license:
            assessment.skip(LICENCE)
        else:
            odd = [] if self.has_license else [Found("tools look for `LICENSE`", "LICENCE")]
            assessment.check(LICENCE, odd)
        return assessment

    def answer(self, finding: Finding) -> Optional[wit.Edit]:
        """Returns what would answer a finding, if anything would."""
        path = finding.location.path if finding.location else None
        text = next((text for text in self.texts if text.file.path == path), None)
        risk, ownership = wit.Risk.REVIEW, wit.Ownership.BLOCK
        change: wit.Change
        if finding.rule == LINE_END.id and text:
            end = len(text.file.content)
            change = replace(text.file, [wit.Replacement(end, end, text.line_end)])
            risk, why = wit.Risk.SAFE, "tools that join files expect it"
        elif finding.rule == WHITE_SPACE.id and text:
            change = replace(text.file, [wit.Replacement(start, end, "") for _, start, end in text.spaces])
            # In Markdown, two blanks at the end of a line break it.
            risk = wit.Risk.REVIEW if text.file.path.endswith(".md") else wit.Risk.SAFE
            why = "nobody sees it, and every editor changes it"
        elif finding.rule == EDITORCONFIG.id:
            change = wit.Change_Create(wit.CreateFile(".editorconfig", wit.Content_Text(SETTINGS)))
            risk, ownership, why = wit.Risk.SAFE, wit.Ownership.SEED, "editors keep to it by themselves"
        elif finding.rule == LEFTOVER.id:
            file = next(file for file in self.leftovers if file.path == path)
            change, why = wit.Change_Delete(wit.DeleteFile(file.path, file.sha256)), "the merge is over"
        elif finding.rule == LICENCE.id and self.licence:
            change = wit.Change_Rename(wit.RenameFile("LICENCE", "LICENSE", self.licence.sha256))
            why = "tools look for `LICENSE`"
        else:
            return None
        return wit.Edit(change, ownership, risk, [finding.fingerprint], why)


def replace(file: SourceFile, ranges: list[wit.Replacement]) -> wit.Change:
    """Changes parts of a file."""
    return wit.Change_Replace(wit.ReplaceRanges(file.path, file.sha256, ranges))


class Pattern(exports.Pattern):
    """What the host asks."""

    def describe(self) -> wit.PatternDescription:
        about = description(
            id="text-hygiene",
            version="0.1.0",
            title="Text hygiene",
            summary="Ends text files with a line end, removes white space at the ends of lines, and clears up beside "
            "them. Changes no other byte.",
            schema=SCHEMA,
            licence="MIT OR Apache-2.0",
        )
        rules = [LINE_END, WHITE_SPACE, EDITORCONFIG, LEFTOVER, LICENCE, ENCODING]
        return wit.PatternDescription(about, [wit.Rule(*rule) for rule in rules], ["**/*.md", "**/*.txt"])

    def validate(self, parameters: str, context: str) -> wit.Assessment:
        given = parameters_of(parameters, SCHEMA)
        assessment = Survey(given).judge(given, context)
        if assessment is None:
            return wit.Assessment(wit.Applicability.NOT_APPLICABLE, [], [], [], [])
        findings = assessment.findings.sorted()
        applicability = wit.Applicability.APPLICABLE if findings else wit.Applicability.ALREADY_APPLIED
        return wit.Assessment(applicability, findings, assessment.passed, assessment.skipped, [])

    def plan(self, parameters: str, context: str) -> wit.ChangePlan:
        given = parameters_of(parameters, SCHEMA)
        survey = Survey(given)
        assessment = survey.judge(given, context)
        findings = assessment.findings.sorted() if assessment else []
        edits = [edit for edit in map(survey.answer, findings) if edit is not None]
        foreign = [f"- `{finding.location.path}`" for finding in findings if finding.rule == ENCODING.id]
        steps = []
        if foreign:
            steps.append(
                wit.NextStep(
                    id="convert-to-utf-8",
                    title="Convert files to UTF-8",
                    instructions="These files are not UTF-8, so nothing was changed in them:\n" + "\n".join(foreign),
                    blocking=False,
                    validator="command-succeeded",
                    validator_parameters=json.dumps({"exit_codes": [0]}),
                )
            )
        component = json.loads(context).get("component")
        of = f" of `{component}`" if component is not None else ""
        edits.sort(key=lambda edit: by_path(edit.change.value))
        return wit.ChangePlan(f"tidies the text files{of}", edits, steps, findings, [])
