"""The best balance of a chain: an exact dynamic program over its cut points.

Where every item follows the one before it, stages are runs of items.  A plan is better balanced if its
loads, sorted from the largest down, are smaller where they differ first; then the sum of transfers counts,
then the number of devices.  That order stays when both plans get the same further stage, so of all ways to
end a pipeline from an item on with the same number of devices of each kind, the best one is enough.  Counting
stages from the end also tells how many microbatches are in flight.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from math import prod

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.instance.instance import Instance
from placer.options import Communication, Options, Recompute, Schedule
from placer.plans.in_flight import left_in_flight
from placer.plans.plan import Plan
from placer.reductions.kinds import Kinds, kinds_of
from placer.reductions.problem import Problem
from placer.search.run import Run
from placer.tolerances import EQUAL, MEMORY_TOLERANCE

__all__ = ["best_balance"]

STEPS = 400_000
"""Steps of the largest program that is solved: some seconds."""

Used = tuple[int, ...]
"""Devices of each kind that are in use."""
Value = tuple[tuple[int, ...], int]
"""Loads from the largest down and transfers, in whole units that rounding does not tell apart."""


@dataclass(frozen=True, eq=False)
class _Runs:
    """Runs of items: kind, first item, end, rank of the load and transfers in units, each ``(R,)``."""

    kind: IntArray
    first: IntArray
    end: IntArray
    load: IntArray
    moved: IntArray


def best_balance(
    instance: Instance, options: Options, run: Run, problem: Problem, limit_ms: float
) -> Plan | None:
    """Return the best balanced plan with loads up to a limit; None where this program does not apply.

    Parameters
    ----------
    instance, options
        What the plan is for.
    run
        Its limits are obeyed.
    problem
        The instance, contracted for contiguous plans; its directions may be merged.
    limit_ms
        The largest load allowed.
    """
    rules = instance.constraints
    gpipe = options.schedule is Schedule.GPIPE and instance.is_training
    special = instance.servers or rules.apart or gpipe or options.recompute is not Recompute.NONE
    if not options.contiguous or special or not _is_chain(problem):
        return None
    kinds = kinds_of(problem)
    states = prod(kinds.count(k) + 1 for k in range(len(kinds.devices)))
    if states * problem.size > STEPS:
        return None
    runs = _runs(problem, kinds, options.communication, limit_ms * (1 + EQUAL))
    if runs is None or states * len(runs.kind) > STEPS:
        return None
    return _Search(instance, options, problem, kinds, runs).best(run)


def _is_chain(problem: Problem) -> bool:
    """Whether every item follows the one before it."""
    follows = problem.edges[problem.edges[:, 1] - problem.edges[:, 0] == 1, 0]
    return len(np.unique(follows)) == problem.size - 1


def _runs(problem: Problem, kinds: Kinds, communication: Communication, limit_ms: float) -> _Runs | None:
    """Return the runs of items that a device may hold by itself; None if some item is in none."""
    n, found = problem.size, []
    for k in range(len(kinds.devices)):
        room = kinds.limit_bytes[k] * (1 + MEMORY_TOLERANCE)
        for i in range(n):
            closed = ~kinds.allowed[i:, k]
            most = int(np.argmax(closed)) if closed.any() else n - i
            held = np.cumsum(problem.memory_bytes[i : i + most])
            compute = np.cumsum(kinds.time_ms[:, i : i + most, k], axis=1)
            most = int(np.count_nonzero((held <= room) & (compute.sum(axis=0) <= limit_ms)))
            if most:
                received, sent = _transfers(problem, kinds, i, most, k)
                load = _load(compute[:, :most], received, sent, communication)
                moved = (received + sent).sum(axis=0)
                fits = np.flatnonzero(load <= limit_ms)
                found.append(
                    np.stack([0 * fits + k, 0 * fits + i, i + 1 + fits, load[fits], moved[fits]], axis=1)
                )
    table = np.concatenate(found) if found else np.zeros((0, 5))
    load, moved = table[:, 3], table[:, 4]
    order = np.argsort(load, kind="stable")
    # Loads that rounding may have made different have one rank.
    step = np.diff(load[order], prepend=0.0) > EQUAL * load[order]
    rank = np.empty(len(load), dtype=np.int64)
    rank[order] = np.cumsum(step)
    unit = max(limit_ms * EQUAL, 1e-300)
    whole = table[:, :3].astype(np.int64)
    return _Runs(whole[:, 0], whole[:, 1], whole[:, 2], rank, np.round(moved / unit).astype(np.int64))


def _load(
    compute: FloatArray, received: FloatArray, sent: FloatArray, communication: Communication
) -> FloatArray:
    if communication is Communication.OVERLAP:
        by_way = np.maximum(compute, received + sent)
    elif communication is Communication.DUPLEX:
        by_way = np.maximum(compute, np.maximum(received, sent))
    else:
        by_way = compute + received + sent
    return np.asarray(by_way.sum(axis=0))


def _transfers(problem: Problem, kinds: Kinds, i: int, most: int, k: int) -> tuple[FloatArray, FloatArray]:
    """Return what runs of 1..most items from item i on receive and send on a kind, ``(2, most)`` each.

    A net costs from its first item in the run on, unless the run holds all of it.
    """
    start = problem.net_start[:-1]
    received, sent = np.zeros((2, most + 1)), np.zeros((2, most + 1))
    if not len(start):
        return received[:, 1:], sent[:, 1:]
    behind = np.where(problem.net_items >= i, problem.net_items, problem.size)
    first = np.minimum.reduceat(behind, start) - i
    whole = np.where(
        np.minimum.reduceat(problem.net_items, start) >= i,
        np.maximum.reduceat(problem.net_items, start) - i,
        most,
    )
    producer = problem.net_items[start] - i
    cost, way = problem.net_cost_ms[:, kinds.class_index[k]], problem.net_backward.astype(np.int64)
    inside = np.where(producer >= 0, producer, most)
    for table, begin, end in ((received, first, np.minimum(inside, whole)), (sent, inside, whole)):
        paid = (begin < most) & (begin < end)
        np.add.at(table, (way[paid], begin[paid] + 1), cost[paid])
        over = paid & (end < most)
        np.subtract.at(table, (way[over], end[over] + 1), cost[over])
    return tuple(np.cumsum(table, axis=1)[:, 1:] for table in (received, sent))  # type: ignore[return-value]


class _Search:
    """The program: from each item on, the best way to end with so many devices of each kind."""

    def __init__(
        self, instance: Instance, options: Options, problem: Problem, kinds: Kinds, runs: _Runs
    ) -> None:
        self.instance, self.problem, self.kinds, self.runs = instance, problem, kinds, runs
        self.flights = left_in_flight(instance, options)
        rules = instance.constraints
        total = sum(kinds.count(k) for k in range(len(kinds.devices)))
        self.most_devices = min(total, rules.max_devices or total)
        needed = set(rules.use_devices)
        names = [instance.devices[int(d[0])].name for d in kinds.devices]
        self.needed = tuple(kinds.count(k) if name in needed else 0 for k, name in enumerate(names))
        self.resident = np.concatenate([[0.0], np.cumsum(problem.memory_bytes)])
        self.activation = np.concatenate([[0.0], np.cumsum(problem.activation_bytes)])

    def best(self, run: Run) -> Plan | None:
        """Search; None where there is no plan or a limit strikes."""
        n, runs = self.problem.size, self.runs
        begin = np.argsort(runs.first, kind="stable")
        bounds = np.searchsorted(runs.first[begin], np.arange(n + 1))
        nothing: Used = (0,) * len(self.kinds.devices)
        found: list[dict[Used, tuple[Value, int, Used]]] = [{} for _ in range(n)]
        found.append({nothing: (((), 0), -1, nothing)})
        for i in range(n - 1, -1, -1):
            if run.stopped() is not None:
                return None
            for r in begin[bounds[i] : bounds[i + 1]].tolist():
                self._extend(found, i, r)
        ends = [
            ((loads + (0,) * (self.most_devices - len(loads)), moved, len(loads)), used)
            for used, ((loads, moved), _, _) in found[0].items()
            if all(u >= need for u, need in zip(used, self.needed, strict=True))
        ]
        return self._plan(found, min(ends)[1]) if ends else None

    def _extend(self, found: list[dict[Used, tuple[Value, int, Used]]], i: int, r: int) -> None:
        """Put a run in front of all that follows its end."""
        runs, k = self.runs, int(self.runs.kind[r])
        load, moved = int(runs.load[r]), int(runs.moved[r])
        for used, ((loads, before), _, _) in found[int(runs.end[r])].items():
            if not self._may_follow(used, k, r):
                continue
            more = (*used[:k], used[k] + 1, *used[k + 1 :])
            falling = [-x for x in loads]
            insort(falling, -load)
            value = (tuple(-x for x in falling), before + moved)
            known = found[i].get(more)
            if known is None or value < known[0]:
                found[i][more] = (value, r, used)

    def _may_follow(self, used: Used, k: int, r: int) -> bool:
        """Whether a run may stand on a device of its kind before those in use: count, order, memory."""
        stage, rank = sum(used) + 1, int(self.kinds.rank[k])
        if used[k] >= self.kinds.count(k) or stage > self.most_devices:
            return False
        if rank >= 0 and any(u and 0 <= self.kinds.rank[other] < rank for other, u in enumerate(used)):
            return False
        i, j = int(self.runs.first[r]), int(self.runs.end[r])
        held = self.resident[j] - self.resident[i]
        held += (self.flights.at(stage) - 1) * (self.activation[j] - self.activation[i])
        return bool(held <= self.kinds.limit_bytes[k] * (1 + MEMORY_TOLERANCE))

    def _plan(self, found: list[dict[Used, tuple[Value, int, Used]]], used: Used) -> Plan:
        """Read the plan; devices of a kind in rising order."""
        device = np.zeros(self.problem.size, dtype=np.int64)
        given = [0] * len(used)
        stages, i = [], 0
        while i < self.problem.size:
            _, r, used = found[i][used]
            k, j = int(self.runs.kind[r]), int(self.runs.end[r])
            d = int(self.kinds.devices[k][given[k]])
            given[k] += 1
            device[i:j] = d
            stages.append(d)
            i = j
        return Plan(device[self.problem.item], stages=tuple(stages))
