"""Settings, read from the environment and checked before anything starts."""

import os
from dataclasses import dataclass


class SettingsError(ValueError):
    """A setting that cannot be used; the text says which and why."""


@dataclass(frozen=True)
class Settings:
    """Where the service listens and where it keeps its notes."""

    host: str = "127.0.0.1"
    port: int = 8093
    database: str = "notes.sqlite3"

    @classmethod
    def from_environment(cls, environment=None):
        """Reads the settings; variables that are not set keep their defaults."""
        environment = os.environ if environment is None else environment
        port = environment.get("NOTES_PORT", str(cls.port))
        if not port.isdigit() or not 0 <= int(port) <= 65535:
            raise SettingsError(f"NOTES_PORT must be a port from 0 to 65535, found {port!r}")
        return cls(
            host=environment.get("NOTES_HOST", cls.host),
            port=int(port),
            database=environment.get("NOTES_DATABASE", cls.database),
        )
