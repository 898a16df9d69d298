"""Cuts a list of a known length into pages."""

from dataclasses import dataclass

SIZE_MAX = 100


class PageError(ValueError):
    """A page that cannot be asked for; the text says why."""


@dataclass(frozen=True)
class Page:
    """One page: its number from 1, how many items fit on it, and how many there are in all."""

    number: int
    size: int
    total: int

    def __post_init__(self):
        if self.number < 1:
            raise PageError(f"pages are counted from 1, found {self.number}")
        if not 1 <= self.size <= SIZE_MAX:
            raise PageError(f"a page holds 1 to {SIZE_MAX} items, found {self.size}")

    @property
    def count(self):
        """How many pages there are; an empty list has one, empty page."""
        return max(1, self.total // self.size)

    @property
    def offset(self):
        """How many items lie before this page."""
        return (self.number - 1) * self.size
