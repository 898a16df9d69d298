"""The validator `coverage-floor` of the polyglot kit, in Python: asks for a share of covered lines, read from the LCOV
reports that a step has left. Its twins in Rust and JavaScript answer the same, to the letter."""

import json
import re
from dataclasses import dataclass
from typing import Any, Optional

from caelum import Findings, Found, description, invalid_parameters, parameters_of, read_if_present
from wit_world import exports
from wit_world.exports.validator import (
    Decision,
    Evidence,
    Outcome,
    Phase,
    Reason,
    ValidatorDescription,
    Verdict,
    VerdictKind,
)
from wit_world.imports import control, log, types

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "description": "How much has to be covered.",
    "type": "object",
    "properties": {
        "report": {
            "description": "The LCOV report, relative to a machine's evidence.",
            "type": "string",
            "minLength": 1,
            "default": "lcov.info",
        },
        "percent_min": {
            "description": "The least share of all lines that must be covered, in percent.",
            "type": "integer",
            "format": "uint32",
            "minimum": 0,
            "maximum": 100,
            "default": 80,
        },
        "file_percent_min": {
            "description": "The least share of the lines of each single file, in percent; 0 asks nothing of single files.",
            "type": "integer",
            "format": "uint32",
            "minimum": 0,
            "maximum": 100,
            "default": 0,
        },
        "review_percent_min": {
            "description": "From this share on, though it is below `percent_min`, a person decides. Without it nobody is "
            "asked.",
            "type": ["integer", "null"],
            "format": "uint32",
            "minimum": 0,
            "maximum": 100,
            "default": None,
        },
        "exclude": {
            "description": "Source files to leave out: those whose path begins with one of these.",
            "type": "array",
            "items": {"type": "string"},
            "default": [],
        },
    },
    "additionalProperties": False,
}


class Fault(Exception):
    """Why a report shows nothing."""

    def __init__(self, code: str, message: str, line: Optional[int] = None) -> None:
        super().__init__(message)
        self.code, self.message, self.line = code, message, line


def malformed(line: int, message: str) -> Fault:
    """Something in a report is wrong."""
    return Fault("report-malformed", message, line)


@dataclass
class Lines:
    """How many lines there are, and how many of them have run."""

    found: int = 0
    hit: int = 0

    def is_below(self, percent: int) -> bool:
        """Whether the share lies below a whole number of percent, without rounding."""
        return self.hit * 100 < percent * self.found

    def share(self) -> str:
        """Writes the share with one decimal, rounded down: what is not quite enough must not look as if it were."""
        tenths = self.hit * 1_000 // self.found
        return f"{tenths // 10}.{tenths % 10}"


@dataclass
class Covered(Lines):
    """How much of a source file has run, and the line of the report that names it."""

    source: str = ""
    line: int = 0


def number(text: str, line: int, key: str) -> int:
    """Reads a number of at most nine digits."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise malformed(line, f"`{key}` has no number")
    return int(text)


def lcov(content: bytes) -> list[Covered]:
    """Reads an LCOV report: which source files it names, and how many of their lines have run."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise Fault("report-not-text", "the report is not UTF-8 text") from None
    files: list[Covered] = []
    record: Optional[Covered] = None
    sums: dict[str, int] = {}
    for at, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if line == "end_of_record":
            if record is None:
                raise malformed(at, "a record ends that never began")
            record.found = sums.get("LF", record.found)
            record.hit = sums.get("LH", record.hit)
            if record.hit > record.found:
                raise malformed(
                    record.line, f"`{record.source}` has {record.hit} covered lines of {record.found}"
                )
            files.append(record)
            record, sums = None, {}
            continue
        key, colon, value = line.partition(":")
        if not colon:
            continue
        if key == "SF":
            if record is not None:
                raise malformed(at, f"a record begins before that of line {record.line} has ended")
            record = Covered(source=value, line=at)
        elif key in ("LF", "LH", "DA"):
            if record is None:
                raise malformed(at, f"`{key}` stands outside a record")
            if key == "DA":
                hits = number((value.split(",") + [""])[1], at, key)
                record.found += 1
                record.hit += hits > 0
            else:
                sums[key] = number(value, at, key)
    if record is not None:
        raise Fault("report-cut-off", f"the record of `{record.source}` has no end: the report is cut off", record.line)
    return files


def reason(code: str, message: str, path: Optional[str] = None, line: Optional[int] = None) -> Reason:
    """Makes a reason."""
    return Reason(code, message, path, line)


def summary(reasons: list[Reason]) -> str:
    """Says the first reason, and how many more there are."""
    first = reasons[0].message
    return first if len(reasons) == 1 else f"{first} (and {len(reasons) - 1} more)"


class Judgement:
    """What was learned so far, and what it means."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self.parameters = parameters
        self.failed: list[Reason] = []
        self.unknown: list[Reason] = []
        self.open: list[Reason] = []  # What a person has to decide.
        self.findings = Findings()
        self.machines = 0
        self.files = 0
        self.total = Lines()
        self.least: Optional[Covered] = None  # The file with the smallest share.

    def ending(self, outcome: Outcome) -> None:
        """Takes in how the program ended on one machine."""
        on = f"on `{outcome.machine}`, "
        if outcome.timed_out:
            self.failed.append(reason("timed-out", on + "the program was ended when its time was up"))
        elif outcome.signal is not None:
            self.failed.append(reason("ended-by-signal", on + f"the program was ended by signal {outcome.signal}"))
        elif outcome.exit_code is None:
            self.unknown.append(reason("no-exit-code", on + "there is no exit code"))
        elif outcome.exit_code != 0:
            self.failed.append(reason("nonzero-exit", on + f"the program ended with {outcome.exit_code}"))

    def outcome(self, outcome: Outcome) -> None:
        """Takes in what one machine has left."""
        machine, report = outcome.machine, self.parameters["report"]
        self.machines += 1
        self.ending(outcome)
        path = f"evidence/{machine}/{report}"
        content = read_if_present(path)
        if content is None:
            message = f"`{report}` was not collected on `{machine}`; name it in the action's `collect`"
            self.unknown.append(reason("report-missing", message))
            return
        try:
            self.report(machine, path, lcov(content))
        except Fault as fault:
            self.unknown.append(reason(fault.code, f"on `{machine}`, {fault.message}", path, fault.line))

    def report(self, machine: str, path: str, files: list[Covered]) -> None:
        """Takes in the report of one machine."""
        exclude = tuple(self.parameters["exclude"])
        files = [file for file in files if not file.source.startswith(exclude)]
        lines = Lines(sum(file.found for file in files), sum(file.hit for file in files))
        if lines.found == 0:
            raise Fault("report-empty", "the report names no lines")
        fields = [("machine", machine), ("files", str(len(files))), ("percent", lines.share())]
        log.log(log.Level.INFO, "a report was read", fields)
        self.all_lines(machine, path, lines)
        self.single_files(machine, path, files)
        self.files += len(files)
        self.total.found += lines.found
        self.total.hit += lines.hit

    def all_lines(self, machine: str, path: str, lines: Lines) -> None:
        """Compares the share of all lines."""
        wanted, review = self.parameters["percent_min"], self.parameters["review_percent_min"]
        if not lines.is_below(wanted):
            return
        message = (
            f"on `{machine}`, {lines.share()} % of {lines.found} lines are covered; at least {wanted} % are wanted"
        )
        undecided = review is not None and not lines.is_below(review)
        (self.open if undecided else self.failed).append(reason("coverage-low", message, path))

    def single_files(self, machine: str, path: str, files: list[Covered]) -> None:
        """Compares the share of each file."""
        wanted = self.parameters["file_percent_min"]
        low = 0
        for file in files:
            if file.found == 0:
                continue
            if self.least is None or file.hit * self.least.found < self.least.hit * file.found:
                self.least = file
            if not file.is_below(wanted):
                continue
            low += 1
            message = (
                f"on `{machine}`, {file.share()} % of the lines of `{file.source}` are covered; "
                f"at least {wanted} % are wanted"
            )
            found = Found(message, path, file.line, about=file.source)
            self.findings.add("CF01", types.Severity.WARNING, found, "Write tests that run its uncovered lines.")
        if low:
            message = f"on `{machine}`, {low} files are covered by less than {wanted} %"
            self.failed.append(reason("file-coverage-low", message, path))

    def hear_reviewers(self, evidence: Evidence) -> None:
        """Lets people decide what is open. Who did the work has no vote."""
        if not self.open:
            return
        votes = [
            review
            for review in evidence.reviews
            if review.subject_digest == evidence.subject_digest and review.reviewer != evidence.performer
        ]
        rejected = next((review for review in votes if review.decision == Decision.REJECTED), None)
        if rejected is not None:
            message = f"`{rejected.reviewer}` has rejected it: {rejected.reason}"
            self.failed += [*self.open, reason("review-rejected", message)]
            self.open = []
        elif any(review.decision == Decision.APPROVED for review in votes):
            self.open = []

    def verdict(self, evidence: Evidence) -> Verdict:
        """Says what all of it means."""
        self.hear_reviewers(evidence)
        total = self.total
        if self.failed:
            kind, told, reasons = VerdictKind.FAIL, summary(self.failed), self.failed + self.unknown
        elif self.unknown:
            kind, told, reasons = VerdictKind.INCONCLUSIVE, summary(self.unknown), self.unknown
        elif self.open:
            kind, told, reasons = VerdictKind.NEEDS_REVIEW, summary(self.open), self.open
        else:
            on = "" if self.machines == 1 else f" on {self.machines} machines"
            told = f"{total.share()} % of {total.found} lines in {self.files} files are covered{on}"
            kind, reasons = VerdictKind.PASS, []
        metrics: dict[str, Any] = {
            "machines": self.machines,
            "files": self.files,
            "lines_found": total.found,
            "lines_hit": total.hit,
        }
        if total.found:
            metrics["percent"] = total.share()
        extensions = []
        if self.least is not None:
            extensions.append(("coverage-floor/least-covered", json.dumps(self.least.source)))
        return Verdict(kind, told, reasons, json.dumps(metrics), self.findings.sorted(), extensions)


class Validator(exports.Validator):
    """What the host asks."""

    def describe(self) -> ValidatorDescription:
        about = description(
            id="coverage-floor",
            version="0.1.0",
            title="Coverage floor",
            summary="Passes when the step's program ended well and covered enough lines on every machine. Reads LCOV "
            "reports: name them in the action's `collect`.",
            schema=SCHEMA,
            licence="MIT OR Apache-2.0",
        )
        return ValidatorDescription(about, [Phase.AFTER], ["exit-code", "lcov"])

    def judge(self, evidence: Evidence, parameters: str) -> Verdict:
        given = parameters_of(parameters, SCHEMA)
        wanted, review = given["percent_min"], given["review_percent_min"]
        if review is not None and review > wanted:
            raise invalid_parameters(("/review_percent_min", f"expected at most `percent_min`, which is {wanted}"))
        machines = len(evidence.outcomes)
        if machines == 0:
            message = "no program has run: there is no outcome to judge"
            return Verdict(VerdictKind.INCONCLUSIVE, message, [reason("no-outcome", message)], "{}", [], [])
        judgement = Judgement(given)
        for done, outcome in enumerate(evidence.outcomes):
            control.progress(done, machines, outcome.machine)
            judgement.outcome(outcome)
        control.progress(machines, machines, "done")
        return judgement.verdict(evidence)
