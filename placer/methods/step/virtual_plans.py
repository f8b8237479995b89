"""The shortest step with virtual stages: plans by local search, bounds by largest loads and by paths.

Starts cut the items, in topological orders, into virtual stages of equal work.  The bound on the largest load
by counting comes first; the others, which take longer, when the first plans are there and leave a gap.
"""

from __future__ import annotations

import numpy as np

from placer.arrays import IntArray
from placer.instance.graphs import depth_first
from placer.instance.instance import Instance
from placer.instance.interchangeable import interchangeable
from placer.methods.step import virtual_bound
from placer.methods.step.all_virtual import all_assignments, all_rings
from placer.methods.step.virtual_costs import Costs
from placer.methods.step.virtual_search import Found, LocalSearch
from placer.options import Options
from placer.plans.interleaved import ranks_of
from placer.plans.plan import Plan
from placer.plans.virtual_stages import stage_of_nodes
from placer.reductions.problem import contract
from placer.search.run import Outcome, Run
from placer.search.step_search import StepSearch
from placer.tolerances import CERTAIN, EQUAL

__all__ = ["solve"]

FEW, BATCH = 60_000, 2_000
"""Plans that are all evaluated, and at once."""
VAIN = 40
"""Random starts in a row that bring nothing, after which the search ends."""
PATHS_SHARE, PATHS_S = 0.2, 5.0
"""Work for the bound by paths: a share of what the limits allow, or nominal seconds without limits."""
LOAD_SHARE, LOAD_S = 0.3, 15.0
"""The same for the bound on the largest load by column generation."""
LONG = 16
"""Groups of microbatches beyond which filling and draining matter little, and the bound by paths as well."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Look for the plan with virtual stages whose step is shortest, and bound it.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.
    """
    return _Search(instance, options, run).outcome()


class _Search(StepSearch):
    """The best plan and bound of one solve, and its figures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.problem = contract(self.instance, contiguous=True)
        self.count = self.options.microbatches or self.instance.training.microbatches
        self.ranks = ranks_of(self.instance)
        self.costs = Costs(self.problem, self.options, self.count)
        self.devices, spare = self._ring()
        kinds = interchangeable(
            self.instance.devices,
            self.problem.allowed,
            lambda d: (d.class_index, d.memory_limit_bytes, d.rank, d.server),
        )
        alike = np.zeros(len(self.instance.devices), dtype=np.int64)
        for kind, members in enumerate(kinds):
            alike[members] = kind
        rng = np.random.default_rng(self.options.seed)
        self.local = LocalSearch(self.costs, spare, alike, self.run, rng)
        self.found: Found | None = None

    def _ring(self) -> tuple[IntArray, list[int]]:
        """Devices of the ranks, fast ones where there are more, server by server; and those that are left."""
        usable = self.instance.allowed.any(axis=0) & ~np.array([d.is_host for d in self.instance.devices])
        times = self.problem.time_ms.sum(axis=0)[:, self.instance.device_class]
        speed = np.where(np.isfinite(times), times, np.nanmax(times[np.isfinite(times)])).sum(axis=0)
        fast = sorted(np.flatnonzero(usable).tolist(), key=lambda d: (speed[d], d))
        required = {self.instance.device_index[name] for name in self.instance.constraints.use_devices}
        fast.sort(key=lambda d: d not in required)
        chosen, devices = fast[: self.ranks], self.instance.devices

        def place(d: int) -> tuple[int, int, int]:
            rank, server = devices[d].rank, devices[d].server
            return (-1 if rank is None else rank, -1 if server is None else server, d)

        return np.array(sorted(chosen, key=place)), fast[self.ranks :]

    def search(self) -> None:
        if not self.try_all():
            self.start()
            self.prove()
            self.vary()

    def try_all(self) -> bool:
        """Evaluate all plans, if they are few; whether they are."""
        usable = [*self.devices.tolist(), *self.local.spare]
        rings = all_rings(self.instance, usable, self.ranks, self.local.alike, FEW)
        if rings is None or not rings:
            return False
        stages = self.options.virtual_stages * self.ranks
        every = all_assignments(self.problem, stages, FEW // len(rings))
        if every is None:
            return False
        for ring in rings:
            for some in np.array_split(every, -(-len(every) // BATCH)):
                best = self.local.best_of(some, np.array(ring))
                if best is not None:
                    self._take(best)
        if self.found is None or self.found.value[0] > 0:
            self.is_infeasible = True
        else:
            self.best.raise_bound(self.best.value, "all plans")
        return True

    def start(self) -> None:
        """Bound the largest load by counting, and improve the starts."""
        stages = self.options.virtual_stages * self.ranks
        self.stats.update(items=self.problem.size, virtual_stages=stages)
        load = virtual_bound.heaviest_load(self.problem, self.ranks)
        self.best.raise_bound(self.count * load, "largest load")
        if self.run.start is not None:
            self.best.offer(self.run.start, "start")
            at = np.zeros(self.problem.size, dtype=np.int64)
            at[self.problem.item] = stage_of_nodes(self.run.start)
            self._take(self.local.judged(at, np.array(self.run.start.stages)))
        for order in self._orders():
            self._take(self.local.descend(self.local.judged(self._even(order), self.devices)))
            if self.is_closed:
                return

    def _orders(self) -> list[IntArray]:
        """Topological orders of the items: the given one, and one that keeps branches together."""
        size, edges = self.problem.size, self.problem.edges
        roots = np.flatnonzero(np.bincount(edges[:, 1], minlength=size) == 0)
        deep = np.array(depth_first(size, edges, roots.tolist())[::-1])
        given = np.arange(size)
        return [given] if (deep == given).all() else [given, deep]

    def _even(self, order: IntArray) -> IntArray:
        """Virtual stages of items, ``(N,)``, each with its share of the work by the speed of its device."""
        times = self.problem.time_ms.sum(axis=0)[:, self.instance.device_class[self.devices]]
        least = np.where(np.isfinite(times), times, np.inf).min(axis=1)
        least[np.isinf(least)] = 0.0  # what none of these devices can take
        with np.errstate(invalid="ignore"):
            slow = np.nansum(np.where(np.isfinite(times), times, 0.0), axis=0)
        speed = 1.0 / np.maximum(slow, EQUAL * max(slow.max(), EQUAL))
        share = np.tile(speed / speed.sum(), self.options.virtual_stages) / self.options.virtual_stages
        work = least[order] + EQUAL * (least.sum() or 1.0)
        middle = (np.cumsum(work) - work / 2) / work.sum()
        at = np.empty(len(order), dtype=np.int64)
        at[order] = np.minimum(np.searchsorted(np.cumsum(share), middle), len(share) - 1)
        return at

    def prove(self) -> None:
        """Raise the bound, by paths and then by column generation, within shares of the limits."""
        chunks = self.options.virtual_stages
        if not self.is_closed and self.count <= LONG * self.ranks:
            part = self.run.part(work=self.run.portion(PATHS_SHARE, PATHS_S), quiet=True)
            bound = virtual_bound.path_bound(self.problem, self.ranks, chunks, self.count, part)
            self.best.raise_bound(bound, "paths")
        if not self.is_closed:
            part = self.run.part(work=self.run.portion(LOAD_SHARE, LOAD_S), quiet=True)
            load, none = virtual_bound.relaxed_load(self.instance, self.options, self.ranks, part)
            self.is_infeasible = none
            self.best.raise_bound(self.count * load * CERTAIN, "largest load by column generation")
        self.run.check()

    def vary(self) -> None:
        """Go on from random changes of the best plan until they bring nothing."""
        vain = 0
        while self.found is not None and vain < VAIN and not self.is_closed and not self.is_infeasible:
            changed = self.local.descend(self.local.kicked(self.found))
            vain = 0 if self._take(changed) else vain + 1

    def _take(self, found: Found) -> bool:
        """Keep a plan if it is better than the best one; whether it is."""
        if self.found is not None and found.value >= self.found.value:
            return False
        self.found = found
        if found.value[0] == 0:
            self.best.offer(self._plan(found), "local search")
        return True

    def _plan(self, found: Found) -> Plan:
        ranks = len(found.devices)
        item = self.problem.item
        return Plan(
            found.devices[found.at % ranks][item],
            stages=tuple(found.devices.tolist()),
            recompute=found.recompute,
            chunk=(found.at // ranks)[item],
        )
