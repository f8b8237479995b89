"""Better latency plans by annealing; it proves nothing."""

from __future__ import annotations

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.methods.latency.gathered import csr
from placer.methods.latency.kernels.piece_annealing import Costs, Sample, anneal
from placer.methods.local_search.kernels.twister import Twister
from placer.options import Options
from placer.plans.plan import Plan, pieces_in_order
from placer.plans.status import Stop
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run
from placer.search.work import SCHEDULE_ENTRY_S

__all__ = ["solve"]

SCHEDULES = ((0.02, 0.01), (0.1, 0.01))
"""First temperature as a share of the makespan, and last one as a share of that, of annealings in turn."""
MOVES_PER_ITEM, MOST_ENTRIES = 10_000, 400_000_000
"""Moves of one annealing, and entries of schedules that they may take, at most."""
SLICES = 50
"""Looks at the clock in one annealing."""
PATIENCE = 2
"""Annealings in a row without a better plan after which no more are tried."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Improve a latency plan.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.  Without a start in the run there is nothing to improve.
    """
    best = Incumbent(instance, options, run)
    best.follow(run)
    if best.plan is None or best.value <= 0.0:
        return best.outcome(Stop.FINISHED, "needs a plan")
    places = _Places(instance, options.pieces)
    twister = Twister(options.seed)
    failures = tried = 0
    while failures < PATIENCE and not best.proven and run.stopped() is None:
        before = best.value
        places.put(best.plan)
        hot, cooling = SCHEDULES[tried % len(SCHEDULES)]
        _course(places, twister, best, run, (hot * before, cooling))
        tried += 1
        failures = 0 if best.value < before else failures + 1
    return best.outcome(run.stopped() or Stop.FINISHED, stats={"annealings": tried})


def _course(places: _Places, twister: Twister, best: Incumbent, run: Run, heat: tuple[float, float]) -> None:
    """Anneal once from where the items are."""
    hot, cooling = heat
    found = np.empty_like(places.place)
    moves = max(SLICES, min(MOVES_PER_ITEM * len(found), MOST_ENTRIES // places.entries))
    for part in range(SLICES):
        if run.stopped() is not None:
            return
        top, low = (hot * cooling ** ((part + i) / SLICES) for i in range(2))
        seen = places.sample.seen
        value = anneal(places.sample, twister, moves // SLICES, top, low, found)
        run.spend(SCHEDULE_ENTRY_S * places.entries * (places.sample.seen - seen))
        if value < best.value:
            best.offer(places.plan(found), "annealing")


class _Places:
    """Where items may be: a slot for each piece of each accelerator, and the hosts."""

    def __init__(self, instance: Instance, pieces: int) -> None:
        item = np.zeros(instance.n, dtype=np.int64)
        label: dict[object, int] = {}
        for v, name in enumerate(instance.colocate):
            item[v] = label.setdefault((v,) if name is None else name, len(label))
        members: list[list[int]] = [[] for _ in label]
        for v, i in enumerate(item.tolist()):
            members[i].append(v)
        accelerators = [d.index for d in instance.devices if not d.is_host]
        self.hosts = [d.index for d in instance.devices if d.is_host]
        self.device = np.array([*np.repeat(accelerators, pieces), *self.hosts], dtype=np.int64)
        self.slots, self.pieces, self.item = len(accelerators) * pieces, pieces, item
        slot = np.arange(self.slots)
        self.place = np.zeros(len(label), dtype=np.int64)
        self.entries = 2 * len(instance.edges) + 2 * instance.n + self.slots
        costs = Costs(
            *csr([part.tolist() for part in instance.predecessors]),
            *csr([part.tolist() for part in instance.successors]),
            *csr(members),
            item,
            instance.class_time_ms,
            instance.class_transfer_ms,
            np.array([instance.allowed[part].all(axis=0) for part in members]),
            np.asarray(np.bincount(item, weights=instance.resident_bytes), dtype=np.float64),
            np.array([d.memory_limit_bytes for d in instance.devices], dtype=np.float64),
            self.device,
            instance.device_class[self.device],
            np.where(slot % pieces > 0, slot - 1, -1),
        )
        self.sample = Sample(costs, self.place)

    def put(self, plan: Plan) -> None:
        """Bring the items where a plan has them; those that it splits, where it has one of their nodes."""
        first = {int(d): p for p, d in reversed(list(enumerate(self.device.tolist())))}
        held = np.array([first[d] for d in plan.device.tolist()])
        ahead: dict[int, int] = {}
        for d, _, nodes in pieces_in_order(plan):
            held[nodes] += ahead.get(d, 0)
            ahead[d] = ahead.get(d, 0) + 1
        self.place[self.item] = held

    def plan(self, place: IntArray) -> Plan:
        """Return the plan of places, ``(N,)``."""
        at = place[self.item]
        return Plan(self.device[at], np.where(at < self.slots, at % self.pieces, -1))
