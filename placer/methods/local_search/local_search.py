"""Local search on throughput: move single items downhill, restart, respect memory throughout.

The paper's baseline (best improvement over moves of single colocation groups, restarts) ignores memory;
here bytes beyond a limit weigh more than any time, so that the descent first mends what a start breaks.
Under contiguity a move keeps the order of the devices; the order itself is redrawn between descents.
All microbatches count as in flight everywhere: more than ``1f1b`` keeps, so that plans are sure to hold.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.methods.local_search.kernels import arrays
from placer.methods.local_search.kernels import moves as kernel
from placer.methods.local_search.kernels.views import StateView, StaticView
from placer.methods.starts.pipelines import (
    adjacency,
    balanced,
    in_wanted_order,
    positions,
    resample_order,
    stage,
    topological_rank,
)
from placer.options import Communication, Options, Schedule
from placer.plans.status import Stop
from placer.reductions.problem import Problem, contract
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run
from placer.search.work import START_ENTRY_S, VISIT_S

__all__ = [
    "TOO_LARGE",
    "Search",
    "exceeds_memory",
    "items_to_move",
    "make_state",
    "make_static",
    "solve",
    "state_ms",
]

TOO_LARGE = "the table of nets and devices exceeds the memory limit"
FRESH = 8
"""One descent in so many begins at a new start, the others at a kick of the best plan."""
DESCENTS = 600
"""Descents from new starts or from kicks, at most; small instances take 20 and 4 per item."""
WORK = 30_000_000
"""Evaluated nets and devices after which no further descent begins (a few seconds)."""
LONGEST = 300_000_000
"""Work after which a descent ends short of a local optimum, once it holds a plan (large instances)."""
SLICE = 10_000_000
"""Work between two looks at the clock (below 0.1 s)."""
KICKS = (0.0, 0.01, 0.03, 0.1)
"""Shares of the items that a kick displaces, at least one item."""
MODELS = {
    Communication.SEQUENTIAL: arrays.SEQUENTIAL,
    Communication.OVERLAP: arrays.OVERLAP,
    Communication.DUPLEX: arrays.DUPLEX,
}


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Descend from balanced starts and from kicks of the best plan so far.

    Deterministic for a seed unless a limit stops it.  Starts from ``run.start`` where there is one.
    """
    problem = items_to_move(instance, options)
    if exceeds_memory(problem, options):
        return Outcome(Stop.MEMORY_LIMIT, message=TOO_LARGE)
    search = Search(problem, options, run)
    stop = search.run_all()
    stats = {"descents": search.descents, "work": search.work}
    message = "no start could be mended to respect all limits" if search.best.plan is None else ""
    return Outcome(stop, search.best.plan, message=message, stats=stats)


def exceeds_memory(problem: Problem, options: Options) -> bool:
    """Whether the table of nets and devices takes more than half of the memory limit."""
    table = problem.nets * len(problem.instance.devices) * 8
    return table > options.memory_limit_mb * 2**20 // 2


def items_to_move(instance: Instance, options: Options) -> Problem:
    """Contract the instance; its edges are the order that moves have to respect, if any."""
    problem = contract(instance, contiguous=options.contiguous)
    # Without contiguity the edges between the items may even be cyclic.
    return problem if options.contiguous else replace(problem, edges=problem.edges[:0])


class Search:
    """The state of one search.

    Parameters
    ----------
    problem
        The items; its edges are the order that moves have to respect.
    options, run
        As for a method.
    """

    def __init__(self, problem: Problem, options: Options, run: Run) -> None:
        self.problem = problem
        self.run = run
        self.rng = np.random.default_rng(options.seed)
        self.static = make_static(problem, options)
        self.state = make_state(self.static)
        self.views = StaticView(self.static), StateView(self.state)
        self.best = Incumbent(problem.instance, options, run)
        self.entries = problem.size + len(problem.edges) + len(problem.net_items)
        self.work = 0
        self.descents = 0

    def run_all(self) -> Stop:
        """Run all descents; the result is ``best``."""
        if self.run.start is not None:
            self.descend(self.problem.start(self.run.start))
        while self.descents < min(DESCENTS, 20 + 4 * self.problem.size) and (
            self.work < WORK or self.best.plan is None
        ):
            stop = self.run.stopped()
            if stop is not None or self.best.given_suffices:
                return stop or Stop.FINISHED
            self.run.spend(START_ENTRY_S * self.entries)
            start = self.next_start()
            if start is not None:
                self.descend(start)
            self.descents += 1
        return self.run.stopped() or Stop.FINISHED

    def descend(self, device: IntArray, *, only_mend: bool = False) -> None:
        """Descend from an assignment of items, and again whenever a redrawn device order helps.

        With ``only_mend`` just until all memory limits hold.
        """
        reached = np.inf
        self.state.device[:] = device
        while True:
            order = resample_order(self.problem, self.state.device, self.rng)
            self.state.position[:] = positions(order)
            done = False
            enough = self.work + LONGEST
            while not done and self.run.stopped() is None and (self.work < enough or self._value() == np.inf):
                work, done = kernel.improve(*self.views, SLICE, only_mend)
                self.work += work
                self.run.spend(VISIT_S * work)
            value = self._value()
            if value < self.best.value:
                self.best.offer(self.problem.plan(self.state.device), "local search")
            if not len(self.problem.edges) or not done or value >= reached * (1 - arrays.EPSILON):
                return
            reached = value

    def next_start(self) -> IntArray | None:
        """Alternate between new starts and kicks of the best assignment."""
        if self.best.plan is not None and self.descents % FRESH:
            return self._kicked(self.problem.start(self.best.plan))
        instance = self.problem.instance
        hosts = np.array([d.is_host for d in instance.devices])
        order = np.argsort(hosts, kind="stable") if not self.descents else self.rng.permutation(len(hosts))
        order = in_wanted_order(self.problem, order)
        rank = topological_rank(instance, self.rng if self.descents else None)
        return stage(self.problem, order, balanced(self.problem, order, rank))

    def _kicked(self, device: IntArray) -> IntArray | None:
        """Move a random connected cluster of items to one device; the order of the devices stays."""
        order = resample_order(self.problem, device, self.rng)
        target = positions(order)[device]
        share = self.rng.choice(KICKS)
        cluster = self._cluster(int(self.rng.integers(self.problem.size)), 1 + int(share * self.problem.size))
        target[cluster] = self.rng.integers(len(order))
        return stage(self.problem, order, target)

    def _cluster(self, seed: int, size: int) -> list[int]:
        """Collect ``size`` items around one, along the nets in random order."""
        static, found, frontier = self.static, {seed}, [seed]
        while frontier and len(found) < size:
            i = frontier.pop(int(self.rng.integers(len(frontier))))
            for e in static.item_nets[static.item_start[i] : static.item_start[i + 1]]:
                fresh = [j for j in self.problem.net(e).tolist() if j not in found][: size - len(found)]
                found.update(fresh)
                frontier += fresh
        return sorted(found)

    def _value(self) -> float:
        """Objective of the state in ms, recomputed; inf while memory is exceeded."""
        return state_ms(self.static, self.state, self.views)


def state_ms(static: arrays.Static, state: arrays.State, views: tuple[StaticView, StateView]) -> float:
    """Objective of a state in ms, filled anew from its devices; inf while memory is exceeded."""
    kernel.fill(*views)
    if kernel.memory_excess(*views) > 0:
        return np.inf
    load = state.load
    return float(load[0].max() + load[1].max() if static.gpipe else load[2].max())


def make_static(problem: Problem, options: Options) -> arrays.Static:
    """Lay out the items, their nets and the device limits for the kernel."""
    instance = problem.instance
    size = problem.size
    net_of = np.repeat(np.arange(problem.nets), np.diff(problem.net_start))
    item_start, item_nets = adjacency(size, problem.net_items, net_of)
    after_start, after = adjacency(size, problem.edges[:, 0], problem.edges[:, 1])
    before_start, before = adjacency(size, problem.edges[:, 1], problem.edges[:, 0])
    return arrays.Static(
        time=np.ascontiguousarray(problem.time_ms),
        memory=problem.worst_bytes,
        allowed=problem.allowed,
        class_of=instance.device_class,
        limit=np.array([d.memory_limit_bytes for d in instance.devices]),
        net_start=problem.net_start,
        net_items=problem.net_items,
        net_cost=problem.net_cost_ms,
        net_way=problem.net_backward.astype(np.int64),
        item_start=item_start,
        item_nets=item_nets,
        before_start=before_start,
        before=before,
        after_start=after_start,
        after=after,
        communication=MODELS[options.communication],
        gpipe=options.schedule is Schedule.GPIPE,
    )


def make_state(static: arrays.Static) -> arrays.State:
    """Allocate a state; it has no meaning before ``device`` is set and the kernel fills the rest."""
    devices = len(static.limit)
    return arrays.State(
        device=np.zeros(len(static.memory), dtype=np.int64),
        position=np.arange(devices),
        held=np.zeros((len(static.net_way), devices), dtype=np.int64),
        compute=np.zeros((2, devices)),
        receive=np.zeros((2, devices)),
        send=np.zeros((2, devices)),
        used=np.zeros(devices),
        load=np.zeros((3, devices)),
        top=np.zeros((3, 3), dtype=np.int64),
        parts=np.zeros((2, 3, 2)),
        verdict=np.zeros(3),
        best=np.zeros(3),
        hot=np.zeros(devices, dtype=np.bool_),
    )
