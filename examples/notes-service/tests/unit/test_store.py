import unittest

from notes.store import TEXT_MAX, NoteError, Store


class StoreTest(unittest.TestCase):
    def setUp(self):
        self.store = Store(":memory:")
        self.addCleanup(self.store.close)

    def test_a_note_comes_back_as_it_was_kept(self):
        note = self.store.add("milk and eggs")
        self.assertEqual(self.store.get(note["id"]), note)

    def test_a_note_that_is_not_there_is_none(self):
        self.assertIsNone(self.store.get(7))

    def test_a_deleted_note_is_gone(self):
        note = self.store.add("old")
        self.assertTrue(self.store.delete(note["id"]))
        self.assertFalse(self.store.delete(note["id"]))
        self.assertEqual(self.store.count(), 0)

    def test_the_newest_note_comes_first(self):
        for text in ("one", "two", "three"):
            self.store.add(text)
        items, page = self.store.page(number=1, size=2)
        self.assertEqual([item["text"] for item in items], ["three", "two"])
        self.assertEqual(page.total, 3)

    def test_a_page_beyond_the_end_is_empty(self):
        items, _ = self.store.page(number=9, size=20)
        self.assertEqual(items, [])

    def test_notes_need_text(self):
        for text in (None, 3, "", "  \n"):
            with self.subTest(text=text), self.assertRaises(NoteError):
                self.store.add(text)

    def test_notes_have_a_limit(self):
        self.store.add("x" * TEXT_MAX)
        with self.assertRaisesRegex(NoteError, "at most 10000 characters, found 10001"):
            self.store.add("x" * (TEXT_MAX + 1))
