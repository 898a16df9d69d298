"""Keeps notes in SQLite."""

import sqlite3
import threading
from datetime import datetime, timezone

from notes.pages import Page

TEXT_MAX = 10_000


class NoteError(ValueError):
    """A note that cannot be kept; the text says why."""


class Store:
    """Notes in one SQLite file. May be used by several threads."""

    def __init__(self, path):
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS notes ("
            " id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, created_at TEXT NOT NULL)"
        )
        self._database.commit()

    def close(self):
        """Closes the file; the store cannot be used afterwards."""
        with self._lock:
            self._database.close()

    def add(self, text):
        """Keeps a note and returns it."""
        if not isinstance(text, str) or not text.strip():
            raise NoteError("a note needs text")
        if len(text) > TEXT_MAX:
            raise NoteError(f"a note has at most {TEXT_MAX} characters, found {len(text)}")
        created_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with self._lock, self._database:
            cursor = self._database.execute(
                "INSERT INTO notes (text, created_at) VALUES (?, ?)", (text, created_at)
            )
        return {"id": cursor.lastrowid, "text": text, "created_at": created_at}

    def get(self, note_id):
        """Returns a note, or None."""
        with self._lock:
            row = self._database.execute(
                "SELECT id, text, created_at FROM notes WHERE id = ?", (note_id,)
            ).fetchone()
        return None if row is None else dict(zip(("id", "text", "created_at"), row))

    def delete(self, note_id):
        """Removes a note and says whether there was one."""
        with self._lock, self._database:
            cursor = self._database.execute("DELETE FROM notes WHERE id = ?", (note_id,))
        return cursor.rowcount > 0

    def count(self):
        """Returns how many notes there are."""
        with self._lock:
            return self._database.execute("SELECT count(*) FROM notes").fetchone()[0]

    def page(self, number, size):
        """Returns one page of notes, newest first, with the page itself."""
        page = Page(number=number, size=size, total=self.count())
        with self._lock:
            rows = self._database.execute(
                "SELECT id, text, created_at FROM notes ORDER BY id DESC LIMIT ? OFFSET ?",
                (page.size, page.offset),
            ).fetchall()
        return [dict(zip(("id", "text", "created_at"), row)) for row in rows], page
