"""Performance profiles: how often a method is within a factor of the best (Dolan and Moré, 2002)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

__all__ = ["Entry", "Profile", "profiles"]

FINISHED = ("proven", "infeasible")
"""States of jobs whose time says how long an answer took."""


@dataclass(frozen=True)
class Entry:
    """One job of a batch; objective and bound in ``unit``.

    Parameters
    ----------
    instance, method
        What was solved with what; the method is named with the options in which the batch varies.
    problem
        Identity of the question: objectives of one problem can be compared.
    state
        What came of it (``proven``, ``solved``, ``infeasible``, ``stopped``, ...).
    objective, bound, gap, ratio, seconds
        None where absent; the ratio is to the best objective of the problem.
    reason
        Why there is no plan.
    """

    instance: str
    method: str
    problem: str
    state: str
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None
    ratio: float | None = None
    seconds: float | None = None
    reason: str = ""
    unit: str = "ms"


@dataclass(frozen=True)
class Profile:
    """A method's share of problems (0 to 1) within a factor of the best, as steps of growing factors."""

    method: str
    points: tuple[tuple[float, float], ...]


def profiles(entries: Sequence[Entry], measure: str) -> tuple[list[Profile], int]:
    """Compute the profile of each method.

    Parameters
    ----------
    entries
        The jobs.
    measure
        ``"objective"``: all plans; ``"seconds"``: jobs that ended with a proof.

    Returns
    -------
    profiles : list of Profile
        In the order in which methods first occur.
    problems : int
        How many problems they are about: those that at least one method has a value for.
    """
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for entry in entries:
        value = entry.objective if measure == "objective" else entry.seconds
        if value is None or (measure == "seconds" and entry.state not in FINISHED):
            continue
        row = values[entry.problem]
        row[entry.method] = min(value, row.get(entry.method, inf))
    out = []
    for method in dict.fromkeys(entry.method for entry in entries):
        factors = sorted(_factor(row[method], min(row.values())) for row in values.values() if method in row)
        points = [(1.0, sum(f <= 1.0 for f in factors) / max(1, len(values)))]
        for k, factor in enumerate(factors):
            if 1.0 < factor < inf:
                points.append((factor, (k + 1) / len(values)))
        out.append(Profile(method, tuple(points)))
    return out, len(values)


def _factor(value: float, best: float) -> float:
    if best > 0:
        # Rounding must not make a tie a loss.
        return max(1.0, value / best) if value > best * (1 + 1e-9) else 1.0
    return 1.0 if value <= 0 else inf
