"""What got better or worse between two batches, beyond noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Literal

from placer.errors import InputError, UsageError
from placer.formats.csv_table import to_csv
from placer.studies.batch.names import cells
from placer.studies.batch.records import Record, State, read_records
from placer.studies.batch.store import Store
from placer.studies.saved import Document
from placer.tolerances import EQUAL

__all__ = ["NOISE", "NOISE_S", "Change", "Difference", "Turn", "compare_batches", "describe"]

NOISE = 0.5
"""Relative difference of two times on one machine that means nothing."""
NOISE_S = 0.1
"""Seconds by which two times must differ at all to mean something."""
RANK = {State.FAILED: 0, State.STOPPED: 1, State.SOLVED: 2, State.PROVEN: 3, State.INFEASIBLE: 3}
"""What is known in each state; jobs that do not apply or still wait cannot be ranked."""


class Turn(StrEnum):
    """Which way something went."""

    BETTER = "better"
    WORSE = "worse"
    DIFFERENT = "different"


class Change(Document):
    """One difference of one job: its status, objective (ms), bound (ms) or seconds in both batches."""

    instance: str
    method: str
    what: Literal["status", "objective", "bound", "seconds"]
    turn: Turn
    a: str | float | None
    b: str | float | None


class Difference(Document):
    """Two batches side by side.

    Parameters
    ----------
    jobs
        Jobs that both have: the same content of the instance and the same options.
    same
        Those without any change.
    only_a, only_b
        Jobs that one of them lacks, or has not run yet.
    time_ratio
        Geometric mean of seconds in B over seconds in A (each plus 0.1 s), over the jobs that ran in
        both.
    noise
        Relative difference of times that was taken for noise.
    changes
        All that changed; differences of times only beyond the noise.
    """

    format: Literal["placer-difference"] = "placer-difference"
    version: Literal[1] = 1
    jobs: int
    same: int
    only_a: int
    only_b: int
    time_ratio: float | None
    noise: float
    changes: list[Change]

    @property
    def worse(self) -> list[Change]:
        """Results that got worse, times aside: another machine, another load changes those."""
        return [c for c in self.changes if c.turn is Turn.WORSE and c.what != "seconds"]

    def count(self, turn: Turn, what: str) -> int:
        """Count the changes of one kind."""
        return sum(change.turn is turn and change.what == what for change in self.changes)

    def to_csv(self) -> str:
        """Return the changes as CSV with a header line."""
        return to_csv(Change.model_fields, map(cells, self.changes))


def compare_batches(folder_a: str | Path, folder_b: str | Path, *, noise: float = NOISE) -> Difference:
    """Compare the jobs of two batches.

    Objectives, bounds and statuses are compared to a relative 1e-9; times count as different only if they
    differ by more than ``noise`` (relative to the smaller one) and 0.1 s.

    Raises
    ------
    InputError
        When a folder is none of a batch.
    UsageError
        When the batches have no job in common.
    """
    a, b = (_records(folder) for folder in (folder_a, folder_b))
    common = [key for key in a if key in b]
    if not common:
        raise UsageError("the two batches have no job in common (the same instance with the same options)")
    changes: list[Change] = []
    same = 0
    for key in common:
        found = _changes(a[key], b[key], noise)
        same += not found
        changes += found
    ratios = [
        (y.seconds + NOISE_S) / (x.seconds + NOISE_S)
        for x, y in ((a[key], b[key]) for key in common)
        if x.seconds is not None and y.seconds is not None and State.FAILED not in (x.state, y.state)
    ]
    return Difference(
        jobs=len(common),
        same=same,
        only_a=len(a) - len(common),
        only_b=len(b) - len(common),
        time_ratio=math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None,
        noise=noise,
        changes=changes,
    )


def _records(folder: str | Path) -> dict[str, Record]:
    store = Store(folder)
    manifest = store.manifest()
    if not manifest.jobs:
        raise InputError("this is no folder of a batch (no manifest.json with jobs)", source=str(folder))
    return {r.key: r for r in read_records(store, manifest) if r.state is not State.WAITING}


def _changes(a: Record, b: Record, noise: float) -> list[Change]:
    def change(
        what: Literal["status", "objective", "bound", "seconds"], turn: Turn, x: object, y: object
    ) -> Change:
        return Change.model_validate(
            {"instance": a.instance, "method": a.method, "what": what, "turn": turn, "a": x, "b": y}
        )

    found = []
    if a.state is not b.state:
        found.append(change("status", _ranked(a.state, b.state), a.state.value, b.state.value))
    if a.objective is not None and b.objective is not None and not _equal(a.objective, b.objective):
        turn = Turn.BETTER if b.objective < a.objective else Turn.WORSE
        found.append(change("objective", turn, a.objective, b.objective))
    if (a.bound or b.bound) and not (
        a.bound is not None and b.bound is not None and _equal(a.bound, b.bound)
    ):
        turn = Turn.BETTER if (b.bound or 0.0) > (a.bound or 0.0) else Turn.WORSE
        found.append(change("bound", turn, a.bound, b.bound))
    if State.FAILED not in (a.state, b.state) and a.seconds is not None and b.seconds is not None:
        low, high = sorted((a.seconds, b.seconds))
        if high - low > NOISE_S and high > low * (1 + noise):
            turn = Turn.BETTER if b.seconds < a.seconds else Turn.WORSE
            found.append(change("seconds", turn, a.seconds, b.seconds))
    return found


def _ranked(a: State, b: State) -> Turn:
    """Judge a change of state; a plan against a proof that there is none is neither up nor down."""
    if a not in RANK or b not in RANK or (State.INFEASIBLE in (a, b) and min(RANK[a], RANK[b]) >= 2):
        return Turn.DIFFERENT
    return Turn.BETTER if RANK[b] > RANK[a] else Turn.WORSE


def _equal(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=EQUAL)


def describe(difference: Difference) -> Sequence[str]:
    """Say in a few lines what changed."""
    d = difference
    lines = [f"{d.jobs} jobs in both, {d.same} unchanged; {d.only_a} only in A, {d.only_b} only in B"]
    for what in ("status", "objective", "bound", "seconds"):
        counts = ", ".join(f"{n} {turn}" for turn in Turn if (n := d.count(turn, what)))
        if counts:
            lines.append(f"{what}: {counts}")
    if d.time_ratio is not None:
        lines.append(
            f"time: {d.time_ratio:.3g} times that of A (geometric mean); differences of single jobs below "
            f"{100 * d.noise:.0f} % or {NOISE_S} s are taken for noise"
        )
    return lines
