"""How long a batch will still take, and how well that is known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Estimate", "estimate"]

FEWEST = 5
"""Jobs that must have ended before anything is said."""
SIGMAS = 2.0


@dataclass(frozen=True)
class Estimate:
    """Seconds left: what is expected, and a range that holds about 19 times out of 20.

    It rests on the jobs that have ended: where the remaining ones are of another kind, it is wrong.
    """

    seconds: float
    low: float
    high: float

    def __str__(self) -> str:
        low, high = _shown(self.low), _shown(self.high)
        return f"about {low} left" if low == high else f"{low} to {high} left"


def estimate(
    ended: Mapping[str, Sequence[float]],
    waiting: Mapping[str, int],
    running: Iterable[tuple[str, float]],
    parallel: int,
) -> Estimate | None:
    """Estimate the time left from the jobs that have ended.

    Parameters
    ----------
    ended
        Seconds of the jobs that ended in this session, by kind (the method and its options).
    waiting
        Number of jobs not yet started, by kind.
    running
        Kind and seconds so far of each running job.
    parallel
        Jobs that run at the same time.

    Returns
    -------
    Estimate or None
        None while fewer than five jobs have ended.
    """
    every = [seconds for times in ended.values() for seconds in times]
    if len(every) < FEWEST:
        return None
    mean = variance = longest = 0.0
    for kind, count in waiting.items():
        sample = ended.get(kind, ())
        m, v = _moments(sample if len(sample) >= FEWEST else every)
        mean += count * m
        # The spread of the jobs to come, and that of the mean itself, which all of them share.
        known = len(sample) if len(sample) >= FEWEST else len(every)
        variance += count * v + count**2 * v / known
    for kind, elapsed in running:
        m, v = _moments(ended.get(kind) or every)
        left = max(m - elapsed, math.sqrt(v) if elapsed > m else 0.0)
        mean, variance, longest = mean + left, variance + v, max(longest, left)
    # The last jobs do not share the machine: never less than the longest one.
    expected = max(mean / parallel, longest)
    spread = SIGMAS * math.sqrt(variance) / parallel
    return Estimate(expected, max(0.0, expected - spread), expected + spread)


def _moments(sample: Sequence[float]) -> tuple[float, float]:
    mean = sum(sample) / len(sample)
    return mean, sum((x - mean) ** 2 for x in sample) / max(1, len(sample) - 1)


def _shown(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
