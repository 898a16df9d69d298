import unittest

from notes.pages import SIZE_MAX, Page, PageError


class PagesTest(unittest.TestCase):
    def test_an_empty_list_has_one_page(self):
        self.assertEqual(Page(number=1, size=20, total=0).count, 1)

    def test_full_pages_are_counted(self):
        self.assertEqual(Page(number=1, size=20, total=40).count, 2)

    def test_a_page_that_is_not_full_counts_too(self):
        self.assertEqual(Page(number=1, size=20, total=41).count, 3)

    def test_the_offset_skips_the_pages_before(self):
        self.assertEqual(Page(number=3, size=20, total=41).offset, 40)

    def test_pages_are_counted_from_one(self):
        with self.assertRaisesRegex(PageError, "counted from 1, found 0"):
            Page(number=0, size=20, total=1)

    def test_sizes_have_limits(self):
        for size in (0, SIZE_MAX + 1):
            with self.subTest(size=size), self.assertRaises(PageError):
                Page(number=1, size=size, total=1)
