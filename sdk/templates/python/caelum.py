"""What every plugin needs: reads that say what went wrong, findings with fingerprints that last, edits that are bound to
the bytes they were made for.

Plain Python without dependencies. Copied into each plugin: change it as you like. `wit_world` and
`componentize_py_types` are made from the WIT files by componentize-py.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Callable, Iterable, NamedTuple, Optional, TypeVar

from componentize_py_types import Err
from wit_world.imports import target, types

# ---- Errors ----------------------------------------------------------------------------------------------------------
# What an exported function raises must be `Err` with a `plugin-error` of the contract. Anything else is a bug and
# becomes a trap.


def invalid_parameters(*problems: tuple[str, str]) -> Err:
    """The parameters cannot be used. Problems are pairs of JSON Pointer and message: give all of them at once."""
    return Err(types.PluginError_InvalidParameters([types.ParameterProblem(*problem) for problem in problems]))


def refused(message: str) -> Err:
    """The host refused something that the plugin cannot do without."""
    return Err(types.PluginError_Host(message))


def other(message: str) -> Err:
    """Anything else, for a person to read."""
    return Err(types.PluginError_Other(message))


# ---- Parameters and descriptions -------------------------------------------------------------------------------------


def parameters_of(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Reads parameters, which the host has checked against the schema, and fills in the defaults that it names."""
    properties = schema.get("properties", {})
    defaults = {name: one["default"] for name, one in properties.items() if "default" in one}
    return {**defaults, **json.loads(text)}


def description(
    id: str, version: str, title: str, summary: str, schema: dict[str, Any], licence: Optional[str] = None
) -> types.Description:
    """Makes the part of a description that patterns and validators share."""
    extensions = [] if licence is None else [("licence", json.dumps(licence))]
    return types.Description(id, version, title, summary, json.dumps(schema), extensions)


# ---- Reads -----------------------------------------------------------------------------------------------------------

READ_BYTES_MAX = 1024 * 1024
"""The most that one read gives."""

Answer = TypeVar("Answer")


def said(path: str, code: Any) -> str:
    """Says in words why a read failed."""
    match code:
        case target.ErrorCode_NotFound():
            return f"`{path}` does not exist"
        case target.ErrorCode_Denied():
            return f"`{path}` may not be read"
        case target.ErrorCode_NotAFile():
            return f"`{path}` is not a regular file"
        case target.ErrorCode_NotADirectory():
            return f"`{path}` is not a directory"
        case target.ErrorCode_NotUtf8():
            return f"`{path}` is not UTF-8 text"
        case target.ErrorCode_BudgetExceeded():
            return f"`{path}` is more than this call may read"
        case target.ErrorCode_Io(value=message):
            return f"`{path}` cannot be read: {message}"
    raise AssertionError(f"the contract has no error {code!r}")


def ask(path: str, question: Callable[[], Answer], *otherwise: type) -> Optional[Answer]:
    """Asks the host. Answers `None` for the errors that are named; the others become an `Err` that says what was
    refused."""
    try:
        return question()
    except Err as error:
        if isinstance(error.value, otherwise):
            return None
        raise refused(said(path, error.value)) from None


def read_if_present(path: str) -> Optional[bytes]:
    """Reads a whole file, however long it is; `None` when it is not there."""
    pieces: list[bytes] = []
    while True:
        offset = sum(map(len, pieces))
        piece = ask(path, lambda: target.read(path, offset, READ_BYTES_MAX), target.ErrorCode_NotFound)
        if piece is None:
            return None
        pieces.append(piece)
        if len(piece) < READ_BYTES_MAX:
            return b"".join(pieces)


def read(path: str) -> bytes:
    """Reads a whole file, however long it is."""
    content = read_if_present(path)
    if content is None:
        raise refused(f"`{path}` does not exist")
    return content


def is_file(path: str) -> bool:
    """Tells whether a regular file that may be read is there."""
    no = (
        target.ErrorCode_NotFound,
        target.ErrorCode_Denied,
        target.ErrorCode_NotAFile,
        target.ErrorCode_NotADirectory,
        target.ErrorCode_NotUtf8,
    )
    return ask(path, lambda: target.read(path, 0, 0), *no) is not None


def glob(pattern: str, limit: int) -> list[str]:
    """Lists the paths of the files that match a glob, sorted by their bytes."""
    return [entry.path for entry in ask(pattern, lambda: target.glob(pattern, limit)) or []]


# ---- Findings --------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """One thing that a pattern looks for, in the order of the contract's `rule`: `wit.Rule(*rule)` describes it."""

    id: str
    title: str
    severity: types.Severity
    fixable: bool = False
    remediation: Optional[str] = None


class Found(NamedTuple):
    """Something that is wrong, and where. `about` says what it is about when the message may change from run to run."""

    message: str
    path: Optional[str] = None
    line: Optional[int] = None
    about: Optional[str] = None


def fingerprint(rule: str, path: str, about: str, occurrence: int) -> str:
    """Makes what lets two runs know the same finding although lines have moved."""
    content = " ".join(about.split())
    digest = hashlib.sha256(f"{rule}\0{path}\0{content}".encode()).hexdigest()[:32]
    return f"{rule}:{digest}:{occurrence}" if occurrence else f"{rule}:{digest}"


@dataclass
class Findings:
    """Findings of one answer, each with a fingerprint of its own."""

    _list: list[tuple[types.Finding, str, int]] = field(default_factory=list)

    def add(self, rule: str, severity: types.Severity, found: Found, remediation: Optional[str] = None) -> None:
        """Adds a finding."""
        message, path, line, about = found
        base = fingerprint(rule, path or "", message if about is None else about, 0)
        equals = sum(1 for _, other, _ in self._list if other == base)
        location = None if path is None else types.Location(path, line, None, None, None)
        mark = f"{base}:{equals}" if equals else base
        finding = types.Finding(rule, severity, message, location, remediation, mark, [])
        self._list.append((finding, base, equals))

    def sorted(self) -> list[types.Finding]:
        """Returns the findings as the contract sorts them: by path, line and rule. Those without a place come first."""

        def place(row: tuple[types.Finding, str, int]) -> tuple[bool, str, int, str, int]:
            finding, _, equals = row
            at = finding.location
            path, line = (at.path, at.line or 0) if at else ("", 0)
            return (at is not None, path, line, finding.rule, equals)

        return [finding for finding, _, _ in sorted(self._list, key=place)]


class Assessment:
    """Puts together what a pattern thinks of a component."""

    def __init__(self, context: str) -> None:
        """`context` is the JSON text that the host gave: when it names `rules`, only those count."""
        self._wanted = json.loads(context).get("rules")
        self._passed: set[str] = set()
        self._skipped: set[str] = set()
        self.findings = Findings()

    def wants(self, rule: Rule) -> bool:
        """Tells whether the caller wants to hear of a rule."""
        return self._wanted is None or rule.id in self._wanted

    def check(self, rule: Rule, found: Iterable[Found]) -> None:
        """Records what a rule found; it holds when that is nothing."""
        if not self.wants(rule):
            return
        found = list(found)
        if not found:
            self._passed.add(rule.id)
        for one in found:
            self.findings.add(rule.id, rule.severity, one, rule.remediation)

    @property
    def passed(self) -> list[str]:
        """The rules that hold."""
        return sorted(self._passed)

    @property
    def skipped(self) -> list[str]:
        """The rules that have nothing to look at."""
        return sorted(self._skipped)

    def skip(self, rule: Rule) -> None:
        """Records that a rule has nothing to look at here."""
        if self.wants(rule):
            self._skipped.add(rule.id)


# ---- Edits -----------------------------------------------------------------------------------------------------------


@dataclass
class SourceFile:
    """A file as it was read: what edits of it are bound to. Positions count bytes, not characters."""

    path: str
    content: bytes

    @classmethod
    def read(cls, path: str) -> "SourceFile":
        """Reads a file."""
        return cls(path, read(path))

    @cached_property
    def sha256(self) -> str:
        """What binds an edit to these bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def text(self) -> Optional[str]:
        """The file as text; `None` when it is not UTF-8."""
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            return None


def by_path(change: Any) -> tuple[str, int]:
    """What the contract sorts edits by: the path, and the first byte within one path."""
    path = getattr(change, "path", None) or getattr(change, "source", "")
    ranges = getattr(change, "ranges", None)
    return (path, ranges[0].start if ranges else 0)
