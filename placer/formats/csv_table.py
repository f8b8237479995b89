"""Tables as CSV in which no cell is a formula."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from types import SimpleNamespace

__all__ = ["read_cell", "to_csv"]

FORMULA = re.compile(r"'*\s*[=+\-@\t\r]")
"""How a text begins that a spreadsheet would evaluate, or that looks as if it were marked already."""


def to_csv(columns: Iterable[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return a header line and a line per row.

    Numbers stay numbers and None is empty; a text that a spreadsheet would run gets an apostrophe in front.

    Parameters
    ----------
    columns
        Names of the columns.
    rows
        Values by column; what belongs to no column is left out.
    """
    names = list(columns)
    lines: list[str] = []
    # With this end of a line, texts are quoted that contain either of its characters.
    writer = csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n")
    writer.writerow(map(_cell, names))
    writer.writerows([_cell(row[name]) for name in names] for row in rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)


def read_cell(text: str) -> str:
    """Return what a cell of `to_csv` was made from."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value
