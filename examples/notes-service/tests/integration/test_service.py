"""Starts the real service on a free port and talks to it."""

import json
import pathlib
import tempfile
import threading
import unittest
import urllib.error
import urllib.request

from notes import __version__
from notes.server import NotesServer
from notes.settings import Settings


class ServiceTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        database = str(pathlib.Path(folder.name) / "notes.sqlite3")
        self.server = NotesServer(Settings(host="127.0.0.1", port=0, database=database))
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.server.shutdown)

    def call(self, method, path, document=None):
        """Sends a request and returns status and body."""
        body = None if document is None else json.dumps(document).encode()
        address = f"http://127.0.0.1:{self.server.server_address[1]}{path}"
        request = urllib.request.Request(address, data=body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def test_health_counts_the_notes(self):
        self.call("POST", "/notes", {"text": "one"})
        self.assertEqual(self.call("GET", "/health"), (200, {"status": "ok", "notes": 1, "version": __version__}))

    def test_health_says_when_the_store_is_gone(self):
        self.server.store.close()
        status, body = self.call("GET", "/health")
        self.assertEqual((status, body["status"]), (503, "down"))

    def test_a_note_lives_and_dies(self):
        status, note = self.call("POST", "/notes", {"text": "milk"})
        self.assertEqual(status, 201)
        self.assertEqual(self.call("GET", f"/notes/{note['id']}"), (200, note))
        self.assertEqual(self.call("DELETE", f"/notes/{note['id']}"), (204, None))
        self.assertEqual(self.call("GET", f"/notes/{note['id']}")[0], 404)

    def test_all_pages_together_hold_all_notes(self):
        for number in range(5):
            self.call("POST", "/notes", {"text": f"note {number}"})
        _, first = self.call("GET", "/notes?page=1&size=2")
        texts = []
        for page in range(1, first["pages"] + 1):
            _, body = self.call("GET", f"/notes?page={page}&size=2")
            texts += [item["text"] for item in body["items"]]
        self.assertEqual(texts, [f"note {number}" for number in (4, 3, 2, 1, 0)])

    def test_nonsense_is_refused_with_a_reason(self):
        self.assertEqual(self.call("POST", "/notes", {"text": ""}), (400, {"error": "a note needs text"}))
        self.assertEqual(self.call("GET", "/notes?page=0")[0], 400)
        self.assertEqual(self.call("GET", "/notes?page=x")[0], 400)
        self.assertEqual(self.call("GET", "/nowhere")[0], 404)
        self.assertEqual(self.call("POST", "/elsewhere", {})[0], 404)
