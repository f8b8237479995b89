"""How much the tests try: one setting, the environment variable ``PLACER_TEST_LEVEL``.

``quick`` (the default, ``make test``) touches every feature with few random instances and leaves out what
is marked slow; ``broad`` (``.ci/run``) runs everything, with a third of the random instances; ``full``
(``make test-all``) all of them; ``stress`` tries twenty times as many, and a whole number so many times as
many.  ``PLACER_TEST_SEED`` is the first seed, for instances
that no run has seen.
"""

import math
import os
from collections.abc import Callable
from typing import TypeVar

__all__ = ["BROAD", "FIRST_SEED", "FULL", "LEVEL", "QUICK", "count", "first", "seeds"]

T = TypeVar("T")

QUICK, BROAD, FULL, STRESS = "quick", "broad", "full", "stress"
FACTORS = {QUICK: 1 / 8, BROAD: 1 / 3, FULL: 1.0, STRESS: 20.0}
LEAST = 2
"""Random instances that every level tries, unless a test needs more."""

LEVEL = os.environ.get("PLACER_TEST_LEVEL", QUICK)
FIRST_SEED = int(os.environ.get("PLACER_TEST_SEED", "0"))
FACTOR = FACTORS[LEVEL] if LEVEL in FACTORS else float(int(LEVEL))


def count(full: int, least: int = LEAST) -> int:
    """Say how many random instances this run tries of what tries ``full`` at the full level."""
    return max(min(least, full), math.ceil(full * FACTOR))


def seeds(full: int, start: int = 0) -> range:
    """Seeds of the random instances that this run tries, from ``start`` on or where the user wants."""
    first = start + FIRST_SEED
    return range(first, first + count(full))


def first(make: Callable[[int], T | None], seed: int) -> T:
    """Return what the seed makes, or the next that makes something: a test must have something to check."""
    for attempt in range(100):
        made = make(seed + 1_000_003 * attempt)
        if made is not None:
            return made
    raise AssertionError("a hundred seeds make nothing to check")
