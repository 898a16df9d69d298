"""A small service that keeps notes."""

__version__ = "1.0.0"
