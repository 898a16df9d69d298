"""Exercises the start-up checks of .caelum/preflight.sh: each kind can fail, and says what is missing."""

import os
import pathlib
import socket
import subprocess
import unittest


def component():
    """Returns the directory that holds .caelum."""
    for folder in pathlib.Path(__file__).resolve().parents:
        if (folder / ".caelum" / "preflight.sh").is_file():
            return folder
    raise AssertionError("there is no .caelum/preflight.sh above this test")


def preflight(*arguments):
    """Runs the checks that are given, and none that are declared."""
    return subprocess.run(
        ["sh", str(component() / ".caelum" / "preflight.sh"), "--only-arguments", *arguments],
        env={"PATH": os.environ.get("PATH", "/usr/bin:/bin")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class PreflightTest(unittest.TestCase):
    def assert_fails(self, result, text):
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn(text, result.stderr)

    def test_what_is_there_passes(self):
        result = preflight("--require-file", ".caelum/component.json", "--require-env", "PATH")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_a_missing_variable_is_named(self):
        self.assert_fails(preflight("--require-env", "CAELUM_SURELY_NOT_SET"), "CAELUM_SURELY_NOT_SET is not set")

    def test_a_missing_file_is_named(self):
        self.assert_fails(preflight("--require-file", "surely/not/there"), "surely/not/there is missing")

    def test_ports_are_told_free_and_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = str(listener.getsockname()[1])
            self.assert_fails(preflight("--require-free-port", port), f"port {port} is in use")
            self.assertEqual(preflight("--require-tcp", f"127.0.0.1:{port}").returncode, 0)
        self.assert_fails(preflight("--require-tcp", f"127.0.0.1:{port}"), "does not accept connections")

    def test_the_command_runs_only_after_all_checks(self):
        passed = preflight("--require-env", "PATH", "--", "echo", "started")
        self.assertEqual((passed.returncode, passed.stdout), (0, "started\n"))
        refused = preflight("--require-env", "CAELUM_SURELY_NOT_SET", "--", "echo", "started")
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))


if __name__ == "__main__":
    unittest.main()
