#!/usr/bin/env python3
"""Runs the tests with unittest and writes JUnit XML.

    python3 run_tests.py [unit|integration] [--output FILE]

Ends with 0 when all tests passed, with 1 when one did not, and with 5 when there were none.
"""

import argparse
import pathlib
import sys
import time
import unittest
import xml.etree.ElementTree as ElementTree
from datetime import datetime, timezone


class JUnitResult(unittest.TextTestResult):
    """Remembers each test with its time and how it ended."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.cases = []
        self._began = {}

    def startTest(self, test):
        super().startTest(test)
        self._began[test.id()] = time.perf_counter()

    def record(self, test, kind=None, message="", text=""):
        began = self._began.get(test.id())
        seconds = 0.0 if began is None else time.perf_counter() - began
        self.cases.append((test, seconds, kind, message, text))

    def addSuccess(self, test):
        super().addSuccess(test)
        self.record(test)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.record(test, "failure", str(error[1]), self._exc_info_to_string(error, test))

    def addError(self, test, error):
        super().addError(test, error)
        self.record(test, "error", str(error[1]), self._exc_info_to_string(error, test))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.record(test, "skipped", reason)

    def addExpectedFailure(self, test, error):
        super().addExpectedFailure(test, error)
        self.record(test)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.record(test, "failure", "it passed and was expected to fail")

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            kind = "failure" if issubclass(error[0], test.failureException) else "error"
            self.record(subtest, kind, str(error[1]), self._exc_info_to_string(error, test))


def junit(suite_name, result, began_at, seconds):
    """Returns the result as JUnit XML."""
    count = {kind: sum(case[2] == kind for case in result.cases) for kind in ("failure", "error", "skipped")}
    suite = ElementTree.Element(
        "testsuite",
        name=suite_name,
        tests=str(len(result.cases)),
        failures=str(count["failure"]),
        errors=str(count["error"]),
        skipped=str(count["skipped"]),
        time=f"{seconds:.3f}",
        timestamp=began_at,
    )
    for test, took, kind, message, text in result.cases:
        classname, _, name = test.id().rpartition(".")
        case = ElementTree.SubElement(suite, "testcase", classname=classname, name=name, time=f"{took:.3f}")
        if kind is not None:
            ElementTree.SubElement(case, kind, message=message).text = text
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True)


def main():
    parser = argparse.ArgumentParser(description="Runs the tests and writes JUnit XML.")
    parser.add_argument("suite", nargs="?", default="unit", choices=["unit", "integration"])
    parser.add_argument("--output", type=pathlib.Path)
    arguments = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parent
    output = arguments.output or root / "build" / "test-results" / f"{arguments.suite}.xml"
    began_at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    began = time.perf_counter()
    tests = unittest.defaultTestLoader.discover(
        str(root / "tests" / arguments.suite), top_level_dir=str(root)
    )
    result = unittest.TextTestRunner(resultclass=JUnitResult, verbosity=1).run(tests)
    output.parent.mkdir(parents=True, exist_ok=True)
    report = junit(arguments.suite, result, began_at, time.perf_counter() - began)
    output.write_text(report, encoding="utf-8")
    if not result.cases:
        return 5
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
