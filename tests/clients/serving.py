"""The server under test, and the connection that no Python SDK brings along: lines of JSON over TCP."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading


def settings(data):
    """Returns the settings of a server with a data directory of its own, for clients that hand on no environment."""
    given = {name: value for name, value in os.environ.items() if name.startswith("CAELUM_WORKFLOW_")}
    return given | {"CAELUM_WORKFLOW_DATA_DIR": str(data)}


@contextlib.contextmanager
def data_directory(home):
    """Gives a data directory that goes away: servers that share one wait for each other."""
    with tempfile.TemporaryDirectory(prefix="data-", dir=home) as directory:
        yield pathlib.Path(directory)


@contextlib.contextmanager
def serving(program, home):
    """Runs the server on any free port and gives its `host:port`."""
    with data_directory(home) as data, serving_at(program, home, data) as address:
        yield address


@contextlib.contextmanager
def serving_at(program, home, data):
    """Runs the server over that data directory."""
    process = subprocess.Popen(
        [program, "serve", "--port", "0"],
        cwd=pathlib.Path(home) / "root", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, env=os.environ | settings(data),
    )
    log, found = [], threading.Event()
    address = None

    def read():
        nonlocal address
        for line in process.stderr:
            log.append(line)
            if address is None and "listening" in line:
                match = re.search(r"127\.0\.0\.1:\d+", line)
                address = match and match[0]
                found.set()
        found.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        found.wait(60)
        assert address, "the server does not say where it listens:\n" + "".join(log)
        yield address
    except BaseException:
        print("".join(log), file=sys.stderr)
        raise
    finally:
        process.terminate()
        # Long enough for calls that still run; a call that was cancelled does not.
        code = process.wait(60)
        reader.join()
        assert code == 0, f"the server ended with {code}:\n" + "".join(log)


@contextlib.asynccontextmanager
async def raw_tcp(anyio, address, read_message, write_message):
    """A transport as the SDKs want it: two streams of messages, which travel as lines of JSON over a TCP connection."""
    host, port = address.rsplit(":", 1)
    stream = await anyio.connect_tcp(host, int(port))
    incoming, read = anyio.create_memory_object_stream(0)
    write, outgoing = anyio.create_memory_object_stream(0)

    async def receive():
        buffer = b""
        async with incoming:
            with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                while True:
                    buffer += await stream.receive()
                    *lines, buffer = buffer.split(b"\n")
                    for line in lines:
                        await incoming.send(read_message(line))

    async def send():
        async with outgoing:
            async for message in outgoing:
                await stream.send(write_message(message).encode() + b"\n")

    async with stream, anyio.create_task_group() as group:
        group.start_soon(receive)
        group.start_soon(send)
        yield read, write
        group.cancel_scope.cancel()
