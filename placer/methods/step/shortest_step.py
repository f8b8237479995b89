"""Exact time of a step by dynamic programming over downsets, with a bound where it stops before the end.

A throughput plan comes first: it is a plan, and its largest load λ at least bounds the time by m λ.  Then
pipelines are built from the end (`placer.methods.step.pipeline_search`), with few labels at first.  Where the
labels' paths leave a gap, a last search keeps all labels, with the true times of their suffixes.

Graphs with too many downsets are searched along topological orders: that gives plans, and no bound beyond
that of throughput and of the work.  With ``auto``, what is small and still open after that is left to the
program of ordered slots.
"""

from __future__ import annotations

import numpy as np

from placer.arrays import BoolArray
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.methods.downsets import dp, dpl
from placer.methods.milp import milp_step
from placer.methods.step import virtual_plans
from placer.methods.step.all_downsets import all_downsets, prefixes
from placer.methods.step.device_sets import Devices, pipeline_plan
from placer.methods.step.pipeline_search import Pipelines
from placer.methods.step.possible_stages import Stages
from placer.methods.step.suffix_labels import Rules
from placer.options import Communication, Objective, Options, Recompute, Schedule
from placer.plans.in_flight import left_in_flight
from placer.plans.recompute import with_recompute
from placer.plans.status import Stop
from placer.plans.step_time import microbatches_of
from placer.reductions.problem import Problem, contract
from placer.reductions.throughput_merges import merge_below
from placer.search.run import Outcome, Run
from placer.search.step_search import StepSearch
from placer.tolerances import CERTAIN, EXACT

__all__ = ["solve"]

DOWNSETS = 6_000
"""Downsets beyond which only some are looked at: the table of stages grows with their square."""
STAGES = 6_000_000
"""Stages that are kept at most (60 bytes each)."""
PREFIXES = 1_500
"""Downsets along an order."""
THROUGHPUT_SHARE, THROUGHPUT_S = 0.2, 2.0
"""Work for the throughput plan: a share of what the limits allow, or nominal seconds without limits."""
WIDTHS = (2_000, 50_000, 1_000_000)
"""Labels of one length in each search: the first gives a plan, which makes the next one small."""
EXACT_WIDTH = 100_000
"""The same where nothing is below anything."""
WORK_BOUND_S = 1e-6
"""Nominal seconds for the bound on the work, for each node."""
PROGRAM_SIZE = 3_000
"""Nodes x devices up to which the program of ordered slots is solved."""
PROGRAM_S = 20.0
"""Its work where no limit is set, in nominal seconds."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Find the contiguous plan whose step is shortest, or the best one and a bound when a limit strikes.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.
    """
    if options.virtual_stages > 1:
        return virtual_plans.solve(instance, options, run)
    if options.recompute is Recompute.LAYERS:
        return _by_layer(instance, options, run)
    return _Search(instance, options, run).outcome()


def _by_layer(instance: Instance, options: Options, run: Run) -> Outcome:
    """Start from a plan whose stages recompute as a whole: it is one in which all of their layers do."""
    whole = options.model_copy(update={"recompute": Recompute.AUTO})
    part = run.part(work=run.portion(THROUGHPUT_SHARE, PROGRAM_S), quiet=True)
    part.start = None if run.start is None else with_recompute(instance, run.start, whole)
    found = _Search(instance, whole, part).outcome().plan
    search = _Search(instance, options, run)
    if found is not None:
        search.best.offer(found, "stages")
    return search.outcome()


class _Search(StepSearch):
    """The best plan and bound of one solve, and its figures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.microbatches = microbatches_of(self.instance, self.options)
        flow = self.options.schedule is Schedule.GPIPE or not self.instance.is_training
        self.rules = Rules(self.microbatches, flow, bool(self.instance.class_sync_ms.any()))

    def search(self) -> None:
        self.start()
        self.improve()
        if self.options.method == "auto":
            self.prove()

    def start(self) -> None:
        """Take the given plan, and the one of the best throughput with its bound."""
        if self.run.start is not None:
            self.best.offer(self.run.start, "start")
        self.best.raise_bound(self._work_bound(), "work")
        self.run.spend(WORK_BOUND_S * self.instance.n)
        self.run.check()
        rules, by_layer = self.instance.constraints, self.options.recompute is Recompute.LAYERS
        if by_layer or rules != Constraints():  # which the search for throughput does not know
            return
        work = self.run.portion(THROUGHPUT_SHARE, THROUGHPUT_S)
        part = self.run.part(work=work, quiet=True)
        part.start = self.run.start
        plain = self.options.model_copy(update={"objective": Objective.THROUGHPUT, "samples": None})
        teams = bool(self.instance.pools)  # which the program for servers does not know: without uplinks then
        flat = self.instance.replace(servers=()) if teams and self.instance.servers else self.instance
        find = dpl.solve if flat.servers else dp.solve
        outcome = find(flat, plain, part)
        if outcome.stop is Stop.INFEASIBLE:
            self.is_infeasible, self.message = True, outcome.message
            return
        if outcome.plan is not None:
            self.best.offer(outcome.plan, "throughput")
        self.best.raise_bound(self.microbatches * (outcome.bound_ms or 0.0), "throughput")

    def _work_bound(self) -> float:
        """Time that the least work of all items takes, however it is shared (see `Rules.at_least`)."""
        problem = self._contracted()
        times = problem.load_ms.sum(axis=0)[:, self.instance.device_class]
        least = np.where(problem.allowed, times, np.inf).min(axis=1)
        count = min(len(self.instance.devices), sum(self.instance.pools) or len(self.instance.devices))
        devices = np.array([min(count, problem.size)])
        bound = float(self.rules.at_least(self.rules.empty, np.array([least.sum()]), devices)[0])
        if self.instance.pools:  # a stage works for all devices of its team
            classes = [self.instance.classes[c] for c in self.instance.device_class]
            width = np.array([1 if cls.pool is None else cls.mode.width for cls in classes])
            shared = np.where(problem.allowed, times * width, np.inf).min(axis=1).sum()
            bound = max(bound, self.microbatches * float(shared) / sum(self.instance.pools))
        return bound * CERTAIN if bound < np.inf else 0.0

    def _contracted(self) -> Problem:
        duplex = self.options.communication is Communication.DUPLEX
        return contract(self.instance, contiguous=True, keep_producers=duplex)

    def improve(self) -> None:
        """Search over all downsets, or over those along orders where there are too many."""
        if self.is_infeasible or self.is_closed:
            return
        problem = self._contracted()
        if self.best.plan is not None:  # items that no stage may separate without being too slow
            longest = self.best.value / self.microbatches
            problem = merge_below(problem, longest, self.options, dominance=False)
        downsets = all_downsets(problem, DOWNSETS, self.run)
        self.stats.update(items=problem.size, downsets=0 if downsets is None else len(downsets))
        if downsets is not None and self._search(problem, downsets, proves=True):
            return
        while True:
            before = self.best.value
            held = self._search(problem, self._along(problem), proves=False)
            if not held or self.best.value >= before or self.is_closed:
                return

    def prove(self) -> None:
        """Leave what is open to the program of ordered slots, where it is small."""
        size = self.instance.n * len(self.instance.devices)
        if self.is_infeasible or self.is_closed or size > PROGRAM_SIZE:
            return
        part = self.run.part(work=PROGRAM_S if self.run.planned is None else None, quiet=True)
        part.start, part.bound_ms = self.best.plan, self.best.bound or None
        outcome = milp_step.solve(self.instance, self.options.model_copy(update={"method": "milp"}), part)
        if outcome.stop is Stop.INFEASIBLE and self.best.plan is None:
            self.is_infeasible, self.message = True, outcome.message
        if outcome.plan is not None:
            self.best.offer(outcome.plan, "milp")
        self.best.raise_bound(outcome.bound_ms or 0.0, "milp")

    def _along(self, problem: Problem) -> BoolArray:
        """Prefixes of topological orders, ``(M, N)``: that of the items, and one along the best plan."""
        orders = [np.arange(problem.size)]
        plan = self.best.plan
        if plan is not None and plan.stages is not None:
            place = {d: s for s, d in enumerate(plan.stages)}
            stage = np.array([place[d] for d in problem.start(plan).tolist()])
            orders.append(np.lexsort((np.arange(problem.size), stage)))
        return prefixes(orders, PREFIXES)

    def _search(self, problem: Problem, downsets: BoolArray, *, proves: bool) -> bool:
        """Search the pipelines between some downsets; whether the table of stages had room."""
        best = self.best
        longest = best.value / self.microbatches
        stages = Stages.between(problem, downsets, self.options, longest, STAGES, self.run)
        if stages is None:
            return False
        self.stats["stages"], proves = len(stages.way), proves and stages.is_exact
        devices = Devices.of(stages)

        def offer(chain: list[int]) -> float:
            return best.offer(pipeline_plan(stages, devices, chain), "pipelines")

        flights = left_in_flight(self.instance, self.options)
        pipelines = Pipelines(stages, devices, self.rules, flights, EXACT, offer, self.run, best.value)
        for width in WIDTHS:
            bound = pipelines.search(width)
            if proves and bound == np.inf:
                self.is_infeasible = True
                return True
            if proves:
                best.raise_bound(bound * CERTAIN, "pipelines")
            if self.is_closed or not pipelines.was_cut:
                break
        if proves and not self.is_closed and (self.instance.servers or not self.rules.flow):
            best.raise_bound(pipelines.search(EXACT_WIDTH, exact=True) * CERTAIN, "pipelines")
        return True
