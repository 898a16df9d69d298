import unittest

from notes.settings import Settings, SettingsError


class SettingsTest(unittest.TestCase):
    def test_defaults_hold_where_nothing_is_set(self):
        self.assertEqual(Settings.from_environment({}), Settings("127.0.0.1", 8093, "notes.sqlite3"))

    def test_the_environment_decides(self):
        settings = Settings.from_environment({"NOTES_PORT": "9000", "NOTES_HOST": "::1"})
        self.assertEqual((settings.port, settings.host), (9000, "::1"))

    def test_a_port_must_be_one(self):
        for port in ("", "http", "-1", "65536"):
            with self.subTest(port=port), self.assertRaisesRegex(SettingsError, "NOTES_PORT must be a port"):
                Settings.from_environment({"NOTES_PORT": port})
