"""Names that come from files, made harmless for terminals and tables.

They are never used as names of files and never reach a shell; reports escape them for HTML themselves.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

__all__ = ["cells", "shown"]


def shown(name: str, limit: int = 60) -> str:
    """Return ``name`` on one line without control characters, shortened in the middle.

    Escape sequences of terminals, line breaks and marks that change the direction of text become `�`.
    """
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    if len(line) <= limit:
        return line
    head = (limit - 1) // 2
    return f"{line[:head]}…{line[len(line) - (limit - 1 - head) :]}"


def cells(row: BaseModel) -> dict[str, Any]:
    """Return the values of a row for a table, each text on one line."""
    values = row.model_dump(mode="json")
    return {name: shown(v, 1000) if isinstance(v, str) else v for name, v in values.items()}
