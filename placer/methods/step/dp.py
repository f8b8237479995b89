"""Exact time of a step by dynamic programming over downsets, with a bound where it stops before the end.

A throughput plan comes first: it is a plan, and its largest load λ at least bounds the time by m λ. Then pipelines
are built from the end (`placer.methods.step.search`), with few labels at first. Where the labels' paths
leave a gap, a last search keeps all labels, with the true times of their suffixes.

Graphs with too many downsets are searched along topological orders: that gives plans, and no bound beyond that
of throughput and of the work.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from placer.arrays import BoolArray
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.methods.downsets import dp, dpl
from placer.methods.step.devices import Devices
from placer.methods.step.downsets import all_downsets, prefixes
from placer.methods.step.labels import Rules
from placer.methods.step.search import Pipelines
from placer.methods.step.stages import Stages
from placer.options import Communication, Objective, Options, Schedule
from placer.plans.figures import objective_of
from placer.plans.in_flight import left_in_flight
from placer.plans.plan import Plan
from placer.plans.recompute import with_recompute
from placer.plans.status import Stop
from placer.plans.step import microbatches_of
from placer.plans.verify import violations
from placer.reductions.problem import Problem, contract
from placer.reductions.throughput import cutoff_merge
from placer.search.run import Outcome, Run, Stopped
from placer.tolerances import CERTAIN, EQUAL

__all__ = ["solve"]

DOWNSETS = 6_000
"""Downsets beyond which only some are looked at: the table of stages grows with their square."""
STAGES = 6_000_000
"""Stages that are kept at most (100 bytes each)."""
THROUGHPUT_SHARE, THROUGHPUT_S = 0.2, 2.0
"""Work for the throughput plan: a share of what the limits allow, or nominal seconds without limits."""
WIDTHS = (2_000, 50_000, 1_000_000)
"""Labels of one length in each search: the first gives a plan, which makes the next one small."""
EXACT_WIDTH = 100_000
"""The same where nothing is below anything."""
PREFIXES = 1_500
"""Downsets along an order."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Find the contiguous plan whose step is shortest, or the best one and a bound when a limit strikes.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.
    """
    search = _Search(instance, options, run)
    stop: Stop | None = None
    try:
        search.start()
        search.improve()
    except Stopped as over:
        stop = over.stop
    return search.outcome(stop)


@dataclass(eq=False)
class _Search:
    """The best plan and bound."""

    instance: Instance
    options: Options
    run: Run
    plan: Plan | None = None
    best_ms: float = np.inf
    bound_ms: float = 0.0
    infeasible: Outcome | None = None
    stats: dict[str, float | int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.microbatches = microbatches_of(self.instance, self.options)
        self.flow = self.options.schedule is Schedule.GPIPE or not self.instance.is_training
        self.bound_ms = self.run.bound_ms or 0.0

    def start(self) -> None:
        """Take the given plan, and the one of the best throughput with its bound."""
        if self.run.start is not None:
            self.take(self.run.start)
        self.raise_bound(self._work_bound())
        if self.instance.constraints != Constraints():  # which the search for throughput does not know
            return
        work = THROUGHPUT_S if self.run.planned is None else THROUGHPUT_SHARE * self.run.planned
        part = self.run.part(work=work, quiet=True)
        part.start = self.run.start
        plain = self.options.model_copy(update={"objective": Objective.THROUGHPUT, "samples": None})
        find = dpl.solve if self.instance.servers else dp.solve
        outcome = find(self.instance, plain, part)
        if outcome.stop is Stop.INFEASIBLE:
            self.infeasible = outcome
            return
        if outcome.plan is not None:
            self.take(outcome.plan)
        self.raise_bound(self.microbatches * (outcome.bound_ms or 0.0))

    def take(self, plan: Plan) -> float:
        """Keep a plan if it is valid and the best so far; returns the time of the best one in ms."""
        value = objective_of(self.instance, plan, self.options)
        if value < self.best_ms and not violations(self.instance, plan, self.options):
            self.plan, self.best_ms = plan, value
            self.run.keep(plan)
            self.run.report(value, min(self.bound_ms, value), "dp")
        return self.best_ms

    def raise_bound(self, bound_ms: float) -> None:
        """Keep a bound if it is better."""
        if np.isfinite(bound_ms) and bound_ms > self.bound_ms:
            self.bound_ms = float(bound_ms)
            self.run.report(None if self.plan is None else self.best_ms, self.bound_ms, "dp")

    @property
    def is_closed(self) -> bool:
        """Whether the gap asked for is proven."""
        gap_ms = max(self.options.gap, EQUAL) * self.best_ms
        return self.plan is not None and self.best_ms - self.bound_ms <= gap_ms

    def _work_bound(self) -> float:
        """Least work of all items together, however it is shared (see `Rules.at_least`)."""
        problem = self._contracted()
        times = problem.time_ms.sum(axis=0)[:, self.instance.device_class]
        least = np.where(problem.allowed, times, np.inf).min(axis=1)
        devices = np.array([min(len(self.instance.devices), problem.size)])
        rules = Rules(self.microbatches, self.flow)
        return float(rules.at_least(rules.empty, np.array([least.sum()]), devices)[0]) * CERTAIN

    def _contracted(self) -> Problem:
        duplex = self.options.communication is Communication.DUPLEX
        return contract(self.instance, contiguous=True, keep_producers=duplex)

    def improve(self) -> None:
        """Search over all downsets, or over those along orders where there are too many."""
        if self.infeasible is not None or self.is_closed:
            return
        problem = self._contracted()
        if self.plan is not None:  # items that no stage may separate without being too slow
            longest = self.best_ms / self.microbatches
            problem = cutoff_merge(problem, self.options.communication, longest, contiguous=True)
        downsets = all_downsets(problem, DOWNSETS, self.run)
        self.stats.update(items=problem.size, downsets=0 if downsets is None else len(downsets))
        if downsets is not None and self._search(problem, downsets, proves=True):
            return
        before = np.inf
        while self.best_ms < before or before == np.inf:
            before = self.best_ms
            if not self._search(problem, self._along(problem), proves=False) or self.best_ms == np.inf:
                break

    def _along(self, problem: Problem) -> BoolArray:
        """Prefixes of topological orders, ``(M, N)``: that of the items, and one along the best plan."""
        orders = [np.arange(problem.size)]
        if self.plan is not None and self.plan.stages is not None:
            place = {d: s for s, d in enumerate(self.plan.stages)}
            first = [int(nodes[0]) for nodes in problem.members]
            stage = np.array([place[d] for d in self.plan.device[first].tolist()])
            orders.append(np.lexsort((np.arange(problem.size), stage)))
        return prefixes(orders, PREFIXES)

    def _search(self, problem: Problem, downsets: BoolArray, *, proves: bool) -> bool:
        """Search the pipelines between some downsets; whether the table of stages had room."""
        longest = self.best_ms / self.microbatches
        stages = Stages.between(problem, downsets, self.options, longest, STAGES, self.run)
        if stages is None:
            return False
        self.stats["stages"] = len(stages.way)
        pipelines = Pipelines(
            stages=stages,
            rules=Rules(self.microbatches, self.flow),
            flights=left_in_flight(self.instance, self.options),
            gap=EQUAL,
            offer=lambda chain: self.take(self._plan(stages, chain)),
            run=self.run,
            best_ms=self.best_ms,
        )
        for width in WIDTHS:
            bound = pipelines.search(width)
            if proves and bound == np.inf:
                self.infeasible = Outcome(Stop.INFEASIBLE, stats=self.stats)
                return True
            if proves:
                self.raise_bound(bound * CERTAIN)
            if self.is_closed or not pipelines.was_cut:
                break
        if proves and not self.is_closed and not self.flow:
            self.raise_bound(pipelines.search(EXACT_WIDTH, exact=True) * CERTAIN)
        return True

    def _plan(self, stages: Stages, chain: list[int]) -> Plan:
        """Return the plan of a pipeline."""
        ways = [stages.ways[stages.way[k]] for k in chain]
        devices = Devices.of(stages)
        order = devices.named(ways) or devices.in_order(ways)
        device = np.empty(stages.problem.size, dtype=np.int64)
        for k, d in zip(chain, order, strict=True):
            device[stages.items(k)] = d
        plan = Plan(stages.problem.lift(device), stages=tuple(order))
        return with_recompute(self.instance, plan, self.options)

    def outcome(self, stop: Stop | None) -> Outcome:
        """Say what was found, and why the search stopped (None: it came to its end)."""
        if self.infeasible is not None and self.plan is None:
            return self.infeasible
        if self.plan is None:
            return Outcome(stop or Stop.FINISHED, None, self.bound_ms, "no plan found", self.stats)
        closed = self.is_closed
        message = "" if closed else "stopped before the optimum was proven"
        bound = min(self.bound_ms, self.best_ms)
        return Outcome(
            Stop.FINISHED if closed else stop or Stop.FINISHED, self.plan, bound, message, self.stats
        )
