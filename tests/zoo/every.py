"""All entries of the zoo."""

from __future__ import annotations

from tests.zoo.architectures import ARCHITECTURES, EXPORTED
from tests.zoo.entries import Entry
from tests.zoo.wild import ISSUED, LIGHT, WILD

__all__ = ["ENTRIES", "entry"]

ENTRIES = [*ISSUED, *WILD, *LIGHT, *EXPORTED, *ARCHITECTURES]


def entry(name: str) -> Entry:
    """Find an entry by name."""
    return next(e for e in ENTRIES if e.name == name)
