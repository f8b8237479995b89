"""Names that come from files, made harmless for terminals and spreadsheets.

They are never used as names of files and never reach a shell; reports escape them for HTML themselves.
"""

from __future__ import annotations

__all__ = ["cell", "shown"]

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet evaluate a cell."""


def shown(name: str, limit: int = 60) -> str:
    """Return ``name`` on one line without control characters, shortened in the middle.

    Escape sequences of terminals, line breaks and marks that change the direction of text become `�`.
    """
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    if len(line) <= limit:
        return line
    head = (limit - 1) // 2
    return f"{line[:head]}…{line[len(line) - (limit - 1 - head) :]}"


def cell(text: str) -> str:
    """Return ``text`` for a cell of a CSV file, never a formula."""
    line = shown(text, 1000)
    return f"'{line}" if line.lstrip().startswith(FORMULA) else line
