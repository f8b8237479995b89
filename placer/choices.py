"""What to say of a name that is none of those there are: close ones, and which there are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

__all__ = ["close_to", "none_of", "offer"]

SEARCHED = 20_000
"""Names among which close ones are looked for."""
SHOWN = 24
"""Names that are listed."""


def close_to(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was most likely meant, or None.

    Upper and lower case, ``-``, ``_`` and blanks count for nothing, nor does the order of what these and
    ``:`` part.
    """
    plain: dict[str, str] = {}
    for some in islice(known, SEARCHED):
        plain.setdefault(_plain(some), some)
    found = get_close_matches(_plain(name), plain, n=1, cutoff=0.65)
    return plain[found[0]] if found else None


def none_of(what: str, name: object, known: Iterable[str]) -> str:
    """Say that there is no ``what`` of this name, and what there is."""
    return f"there is no {what} {str(name)!r}{offer(name, known)}"


def offer(name: object, known: Iterable[str]) -> str:
    """Say what there is in place of a name that is none of those, to be put behind what says so."""
    names = [str(some) for some in known]
    if not names:
        return ""
    close = close_to(str(name), names)
    return ("" if close is None else f" (did you mean {close!r}?)") + f"; choose from {_one_of(names)}"


def _one_of(names: Iterable[str]) -> str:
    """List names; of many the first ones."""
    every = [str(name) for name in names]
    more = len(every) - SHOWN
    return ", ".join(every[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _plain(name: str) -> str:
    return " ".join(sorted(re.split(r"[-_:\s]+", name.casefold().strip())))
