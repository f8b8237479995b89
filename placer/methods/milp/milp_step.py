"""Shortest step by mixed-integer programming: rounds of one program, with ever more paths through the tasks.

Where nothing is given, a throughput plan comes first, by the program of `placer.methods.milp.milp`: it is a
plan, it says where there is none, and its bound on the largest load times m is a bound.  Then the program of
`formulations.throughput.step_rows` is built for plans that are no worse than the best one.  What it says of
a plan may be too little under ``1f1b``: then the plan's longest path is one more row, and the program is
solved again, until what it proves is the time of a plan.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from formulations.throughput.shared import TIME_UNIT, ThroughputParams
from formulations.throughput.step_rows import StepRules
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.methods.milp import milp
from placer.methods.milp.throughput_program import ThroughputProgram
from placer.options import Communication, Objective, Options, Schedule
from placer.plans.figures import stage_loads
from placer.plans.in_flight import left_in_flight
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.plans.step_time import longest_path, microbatches_of
from placer.reductions.kinds import kinds_of
from placer.reductions.problem import Problem, contract
from placer.reductions.throughput_merges import merge_below
from placer.reductions.windows import windows
from placer.search.run import Outcome, Run, Stopped
from placer.search.step_search import StepSearch
from placer.solvers.solution import STOPS, Settings, Solution, Status
from placer.tolerances import BOUND_MARGIN, EQUAL, FEASIBILITY

__all__ = ["solve"]

logger = logging.getLogger(__name__)

THROUGHPUT_SHARE, THROUGHPUT_S = 0.2, 30.0
"""Work for the throughput plan: a share of what the limits allow, or nominal seconds without limits."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Find the contiguous plan whose step is shortest, or the best one and a bound when a limit strikes.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.
    """
    return _Search(instance, options, run).outcome()


class _Search(StepSearch):
    """The best plan and bound of one solve, and the paths found so far."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.microbatches = microbatches_of(self.instance, self.options)
        flow = self.options.schedule is Schedule.GPIPE or not self.instance.is_training
        self.rules = StepRules(self.microbatches, flow)
        duplex = self.options.communication is Communication.DUPLEX
        self.problem = contract(self.instance, contiguous=True, keep_producers=duplex)
        self.stats.update(nodes=0, rounds=0)

    def search(self) -> None:
        """Solve one program after the other until the gap is proven or nothing new is learnt."""
        self._start()
        while not self.is_infeasible and not self.is_closed and self.best.plan is not None:
            self.run.check()
            before, paths = self.best.value, len(self.rules.paths)
            status = self._round().status
            stop = STOPS.get(status, Stop.FINISHED)
            if stop not in (Stop.FINISHED, Stop.INFEASIBLE):
                raise Stopped(stop)
            if len(self.rules.paths) == paths and self.best.value >= before * (1 - EQUAL):
                return

    def _start(self) -> None:
        """Take the given plan, or the one of the best throughput with its bound."""
        if self.run.start is not None:
            self._take(self.run.start)
        if self.best.plan is not None and self.run.bound_ms:
            return
        work = self.run.portion(THROUGHPUT_SHARE, THROUGHPUT_S)
        part = self.run.part(work=work, quiet=True)
        part.start = self.run.start
        plain = self.options.model_copy(update={"objective": Objective.THROUGHPUT, "samples": None})
        outcome = milp.solve(self.instance, plain, part)
        if outcome.stop is Stop.INFEASIBLE:
            self.is_infeasible, self.message = True, outcome.message
            return
        if outcome.plan is not None:
            self._take(outcome.plan)
        self.best.raise_bound(self.microbatches * (outcome.bound_ms or 0.0), "throughput")

    def _take(self, plan: Plan) -> None:
        """Offer a plan, and learn its longest path where the program says too little of it."""
        self.best.offer(plan, "milp")
        if self.rules.flow or plan.stages is None:
            return
        forward, backward = stage_loads(self.instance, plan, self.options, plan.stages)[0].tolist()
        path = longest_path(forward, backward, self.microbatches)
        if path not in self.rules.paths:
            self.rules = replace(self.rules, paths=(*self.rules.paths, path))

    def _round(self) -> Solution:
        """Build the program for plans no worse than the best one, and solve it."""
        problem = self._reduced()
        params = self._params(problem)
        built = ThroughputProgram(self.instance, self.options, problem, params)
        integers = int(built.program.integer.sum())
        self.stats.update(columns=built.program.columns, rows=built.program.rows, integers=integers)
        self.stats.update(items=problem.size, paths=len(self.rules.paths))
        assert self.best.plan is not None
        solution = built.solve(
            self.run,
            self._settings(),
            self._take,
            start=problem.start(self.best.plan),
            take_bound=lambda bound: self._take_bound(bound, params),
        )
        if solution.status not in (Status.FAILED, Status.INFEASIBLE):
            self._take_bound(solution.bound, params)
        self.stats["nodes"] = int(self.stats["nodes"]) + solution.nodes
        self.stats["rounds"] = int(self.stats["rounds"]) + 1
        return solution

    def _reduced(self) -> Problem:
        """Merge items that no stage may separate without being too slow, where no rule speaks of them."""
        if self.instance.constraints != Constraints() or self.instance.servers:
            return self.problem
        longest = self.best.value / self.microbatches * (1 + EQUAL)
        return merge_below(self.problem, longest, self.options, dominance=False)

    def _params(self, problem: Problem) -> ThroughputParams:
        """Return what the program is built for; its times are those of a step over the microbatches."""
        known_ms = self.best.value / self.microbatches
        return ThroughputParams(
            schedule=self.options.schedule,
            communication=self.options.communication,
            unit_ms=known_ms or 1.0,
            upper_bound_ms=known_ms,
            lower_bound_ms=self.best.bound / self.microbatches,
            windows=windows(problem, kinds_of(problem), known_ms),
            flights=left_in_flight(self.instance, self.options),
            recompute=self.options.recompute,
            start=self.best.plan,
            step=self.rules,
        )

    def _take_bound(self, bound: float | None, params: ThroughputParams) -> None:
        """Take a bound of the program, less its margin."""
        if bound is not None:
            per_microbatch = (bound / TIME_UNIT - BOUND_MARGIN) * params.unit_ms
            self.best.raise_bound(per_microbatch * self.microbatches, "milp")

    def _settings(self) -> Settings:
        """Return how to solve: the gap asked for less what the bound's margin takes."""
        options = self.options
        return Settings(
            gap=max(0.0, options.gap - 2 * BOUND_MARGIN),
            threads=options.threads,
            seed=options.seed,
            memory_limit_mb=options.memory_limit_mb,
            feasibility=FEASIBILITY,
            confirm=True,
        )
