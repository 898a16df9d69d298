"""The command line: serve, or start and stop a service in the background."""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from notes.server import NotesServer
from notes.settings import Settings, SettingsError

START_SECONDS_MAX = 10
STOP_SECONDS_MAX = 10


def serve(settings):
    """Serves until it is told to stop."""
    try:
        server = NotesServer(settings)
    except OSError as error:
        print(f"cannot listen on {settings.host}:{settings.port}: {error}", file=sys.stderr)
        return 1

    def stop(*_):
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"listening on {settings.host}:{server.server_address[1]}", flush=True)
    server.serve_forever()
    server.server_close()
    return 0


def start(settings, pid_file):
    """Starts the service in the background and returns once it answers."""
    if running(pid_file):
        print(f"it runs already, as process {running(pid_file)}", file=sys.stderr)
        return 1
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    with open(pid_file.with_suffix(".log"), "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "notes", "serve"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    pid_file.write_text(f"{process.pid}\n")
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            print(f"it ended with {process.returncode}; see {pid_file.with_suffix('.log')}", file=sys.stderr)
            pid_file.unlink()
            return 1
        if answers(settings):
            print(f"started as process {process.pid} on {settings.host}:{settings.port}")
            return 0
        time.sleep(0.05)
    process.terminate()
    pid_file.unlink()
    print(f"it did not answer within {START_SECONDS_MAX} s", file=sys.stderr)
    return 1


def stop(pid_file):
    """Stops the service in the background."""
    pid = running(pid_file)
    if pid is None:
        print("it does not run")
        pid_file.unlink(missing_ok=True)
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS_MAX
    while running(pid_file) and time.monotonic() < deadline:
        time.sleep(0.05)
    if running(pid_file):
        print(f"process {pid} did not end within {STOP_SECONDS_MAX} s", file=sys.stderr)
        return 1
    pid_file.unlink(missing_ok=True)
    print(f"stopped process {pid}")
    return 0


def running(pid_file):
    """Returns the process that the file names, when it is there and not a dead one's remains."""
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return pid
    return None if state == "Z" else pid


def answers(settings):
    """Says whether the service is healthy."""
    try:
        with urllib.request.urlopen(f"http://{settings.host}:{settings.port}/health", timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def main():
    parser = argparse.ArgumentParser(prog="notes", description="A small service that keeps notes.")
    parser.add_argument("command", choices=["serve", "start", "stop"])
    parser.add_argument("--pid-file", type=pathlib.Path, default=pathlib.Path("run/notes.pid"))
    arguments = parser.parse_args()
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.command == "serve":
        return serve(settings)
    if arguments.command == "start":
        return start(settings, arguments.pid_file)
    return stop(arguments.pid_file)


if __name__ == "__main__":
    sys.exit(main())
