"""The service over HTTP."""

import json
import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from notes import __version__
from notes.pages import PageError
from notes.store import NoteError, Store

BODY_MAX = 64 * 1024


class Refused(Exception):
    """A request that gets no for an answer."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server_version = f"notes/{__version__}"

    def do_GET(self):
        self.answer(self.read)

    def do_POST(self):
        self.answer(self.create)

    def do_DELETE(self):
        self.answer(self.remove)

    def answer(self, act):
        """Runs an action and sends what it returns or why it was refused."""
        try:
            status, body = act(urlsplit(self.path))
        except Refused as refused:
            status, body = refused.status, {"error": str(refused)}
        except (NoteError, PageError) as error:
            status, body = 400, {"error": str(error)}
        payload = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def read(self, url):
        if url.path == "/health":
            return self.health()
        if url.path == "/notes":
            query = parse_qs(url.query)
            items, page = self.server.store.page(
                number=whole_number(query, "page", 1), size=whole_number(query, "size", 20)
            )
            return 200, {"items": items, "page": page.number, "pages": page.count, "total": page.total}
        note = self.server.store.get(note_id(url.path))
        if note is None:
            raise Refused(404, "there is no such note")
        return 200, note

    def create(self, url):
        if url.path != "/notes":
            raise Refused(404, "notes are created at /notes")
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > BODY_MAX:
            self.close_connection = True
            raise Refused(413, f"a body of at most {BODY_MAX} bytes with its length is needed")
        try:
            document = json.loads(self.rfile.read(int(length)))
        except ValueError as error:
            raise Refused(400, f"the body is no JSON: {error}") from error
        if not isinstance(document, dict):
            raise Refused(400, "the body must be an object with `text`")
        return 201, self.server.store.add(document.get("text"))

    def remove(self, url):
        if not self.server.store.delete(note_id(url.path)):
            raise Refused(404, "there is no such note")
        return 204, None

    def health(self):
        try:
            notes = self.server.store.count()
        except sqlite3.Error as error:
            return 503, {"status": "down", "error": str(error), "version": __version__}
        return 200, {"status": "ok", "notes": notes, "version": __version__}

    def log_message(self, format, *args):
        """Requests are not logged; faults are raised."""


def note_id(path):
    """Returns the number in /notes/{id}."""
    prefix, _, number = path.rpartition("/")
    if prefix != "/notes" or not number.isdigit():
        raise Refused(404, "there is nothing at this address")
    return int(number)


def whole_number(query, name, default):
    """Returns a number of the query, or its default."""
    values = query.get(name)
    if not values:
        return default
    try:
        return int(values[-1])
    except ValueError as error:
        raise Refused(400, f"{name} must be a whole number, found {values[-1]!r}") from error


class NotesServer(ThreadingHTTPServer):
    """The service: listens once it exists, answers once `serve_forever` runs."""

    daemon_threads = True

    def __init__(self, settings):
        self.store = Store(settings.database)
        try:
            super().__init__((settings.host, settings.port), Handler)
        except OSError:
            self.store.close()
            raise

    def server_close(self):
        super().server_close()
        self.store.close()
