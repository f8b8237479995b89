"""Names of nodes short enough for tables, and never two alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from unicodedata import combining

__all__ = ["short_names"]

LIMIT = 24
"""Characters that a name in a table should not exceed; names within it stay as they are."""

PART = re.compile(r"[^/.:]*[/.:]+|[^/.:]+")
MOST_DROPPED = 16
"""Parts that a name may lose; after these its characters have to go."""

NUMBER = re.compile(r"\d+")


@lru_cache(maxsize=4)  # each row of a table asks for the names of the same instance
def short_names(names: tuple[str, ...]) -> dict[str, str]:
    """Shorten the names of an instance's nodes for tables.

    A long name loses whole parts, as divided by ``/``, ``.`` or ``:``, each run of them replaced by ``…``:
    first those that say nothing, since every name that begins alike goes on with them, then others from the
    left.  Parts with numbers and the last part stay.  Names that differ by numbers alone are shortened alike,
    so that the layers of a model remain recognisable.  What is still too long loses characters in the middle.

    Parameters
    ----------
    names
        All names of the instance, in any order; the same name may occur several times.

    Returns
    -------
    dict
        The short form of each name.  Different names have different forms, none has more characters than its
        name, and they do not depend on the order: a name that cannot be short without being mistaken for
        another keeps as much as it needs.
    """
    if all(len(name) <= LIMIT for name in names):
        return {name: name for name in names}
    families: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        families.setdefault(_shape(name), []).append(name)
    needless = _needless_beginnings(families)
    forms: dict[str, list[str]] = {}
    for shape, members in families.items():
        forms |= _forms(members, _parts_to_drop(shape, needless))
    level = dict.fromkeys(families, 0)
    short = {name: forms[name][0] for name in forms}
    # A family with a form that is not unique goes back to a longer one as a whole, until all are; the last
    # form of each name is the name itself, so this ends.
    while True:
        count = Counter(short.values())
        taken = [
            shape
            for shape, members in families.items()
            if any(count[short[name]] > 1 and short[name] != name for name in members)
        ]
        if not taken:
            return {name: short[name] for name in names}
        for shape in taken:
            level[shape] += 1
            short |= {name: forms[name][level[shape]] for name in families[shape]}


def _shape(name: str) -> str:
    """Name with its numbers made equal."""
    return NUMBER.sub("0", name)


def _needless_beginnings(shapes: Iterable[str]) -> set[str]:
    """Beginnings whose last part follows from the parts before it."""
    following: dict[str, set[str]] = {}
    for shape in shapes:
        start = ""
        for part in PART.findall(shape):
            following.setdefault(start, set()).add(start + part)
            start += part
        following.setdefault(start, set()).add(start)
    return {next(iter(after)) for start, after in following.items() if len(after) == 1 and after != {start}}


def _parts_to_drop(shape: str, needless: set[str]) -> list[int]:
    """Numbers of the parts that may be dropped, those first that are missed least."""
    parts = PART.findall(shape)
    free = [i for i, part in enumerate(parts[:-1]) if not NUMBER.search(part)]
    return sorted(free, key=lambda i: "".join(parts[: i + 1]) not in needless)[:MOST_DROPPED]


def _forms(members: list[str], droppable: list[int]) -> dict[str, list[str]]:
    """Forms of names of one shape, equally many for each, from the best to the name itself."""
    stages = [
        {name: _without(name, set(droppable[:k])) for name in members} for k in range(len(droppable) + 1)
    ]
    fits = [max(map(len, stage.values())) <= LIMIT for stage in stages]
    best = fits.index(True) if any(fits) else len(droppable)
    chosen = stages[best::-1]
    if not any(fits):
        chosen.insert(0, {name: _cut(form) for name, form in chosen[0].items()})
    # Nothing is gained where a lost part was a single character.
    return {name: [s[name] if len(s[name]) < len(name) else name for s in chosen] for name in members}


def _without(name: str, dropped: set[int]) -> str:
    """Name with ``…`` for each run of parts dropped."""
    runs = groupby(enumerate(PART.findall(name)), key=lambda part: part[0] in dropped)
    return "".join("…" if gone else "".join(part for _, part in run) for gone, run in runs)


def _cut(text: str) -> str:
    """Text with ``…`` for characters in the middle, none parted from its accents."""
    if len(text) <= LIMIT:
        return text
    tail = LIMIT - 1 - (LIMIT - 1) // 2
    head, end = text[: LIMIT - 1 - tail], text[-tail:]
    while end and combining(end[0]):
        end = end[1:]
    if combining(text[len(head)]):
        head = head.rstrip("".join(c for c in head if combining(c)))[:-1]
    return f"{head.rstrip('…')}…{end.lstrip('…')}"
