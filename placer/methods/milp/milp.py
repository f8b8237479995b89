"""Throughput by mixed-integer programming: reduce, start, build, solve, decode, expand, evaluate.

Whether there is a plan does not depend on times: where none is known, a program without any finds one, and
what it claims as infeasible is solved a second time in another way.  Then the program is built for plans that
are better than the best one known, which fixes most of the ordered program's variables, and keeps its numbers
within the solver's reach.  When the solver finds a much better plan, the program is built again for that one.

A bound of the solver above a plan that holds is wrong, and no bound of that round is kept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from formulations.throughput.shared import TIME_UNIT, ThroughputParams
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.methods.milp.throughput_program import ThroughputProgram, contracted
from placer.methods.milp.verdict import verdict
from placer.methods.starts.first_fit import first_fit
from placer.methods.starts.timeless import timeless
from placer.options import Formulation, Options, Recompute
from placer.plans.figures import objective_ms
from placer.plans.in_flight import left_in_flight
from placer.plans.plan import Plan
from placer.plans.recompute import with_recompute
from placer.plans.status import Stop
from placer.plans.verify import violations
from placer.reductions.kinds import kinds_of
from placer.reductions.problem import Problem
from placer.reductions.throughput import reduced
from placer.reductions.windows import balance_bound_ms, windows
from placer.search.run import Outcome, Run
from placer.solvers.solution import Settings, Solution, Status
from placer.tolerances import BOUND_MARGIN, EQUAL, FEASIBILITY

__all__ = ["solve"]

logger = logging.getLogger(__name__)

REBUILD = 0.97
"""The program is built again once a plan with at most this share of the known objective is found."""
COARSE = 0.2
"""The same for a program that was solved to its end, where the bound's margin hides that."""

START_SHARE, START_WORK_S = 0.1, 30.0
"""Work for the contiguous plan that starts a non-contiguous one: a share of what the limits allow, or
nominal seconds where there are none."""
START_GAP = 1e-2
"""Gap of that plan."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Find a throughput plan and a bound with the formulation that the options ask for.

    Parameters
    ----------
    instance
        The instance.
    options
        Objective throughput, any kind of plan.
    run
        Clock, stop button, start.

    Returns
    -------
    Outcome
        Its bound never exceeds the objective of its plan.
    """
    search = _Search(instance, options, run)
    search.start()
    while True:
        stop = Stop.FINISHED if search.is_closed else run.stopped()
        if stop is not None:
            return search.stopped(stop)
        if search.plan is None:
            solution = search.find()
            if search.plan is None:
                return search.outcome(solution)
        before = search.objective_ms
        solution = search.round()
        if solution.status is Status.TARGET:
            search.rebuilds = search.objective_ms != before
        elif not search.coarse(before, solution.status):
            return search.outcome(solution)


@dataclass
class _Search:
    """The best plan and bound of one solve, and its figures."""

    instance: Instance
    options: Options
    run: Run
    plan: Plan | None = None
    objective_ms: float | None = None
    bound_ms: float = 0.0
    rebuilds: bool = True
    stats: dict[str, float | int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        options = self.options
        self.problem: Problem = self.contracted(self.instance)
        balance = balance_bound_ms(self.problem, kinds_of(self.problem)) * (1 - EQUAL)
        self.balance_ms = balance
        self.bound_ms = max(balance, self.run.bound_ms or 0.0)
        self.flights = left_in_flight(self.instance, options)
        self.stats.update(nodes=0, rounds=0)

    def contracted(self, instance: Instance) -> Problem:
        """Contract an instance for the kind of plan asked for."""
        return contracted(instance, self.options, contiguous=self.options.strictly_ordered)

    @property
    def is_closed(self) -> bool:
        """Whether the bound is within the gap asked for."""
        if self.objective_ms is None:
            return False
        return self.objective_ms - self.bound_ms <= self.options.gap * self.objective_ms

    def start(self) -> None:
        """Take the given start, else fill devices one after another; a contiguous plan starts a free one."""
        options, run = self.options, self.run
        if run.start is not None:
            self.take(run.start)
        if self.plan is None:
            for found in first_fit(self.problem, options.schedule, options.communication):
                self.take(with_recompute(self.instance, self.problem.plan(found), options))
                if self.plan is not None:
                    break
        if run.start is None and not options.contiguous and options.formulation is not Formulation.PAPER:
            work = START_WORK_S if run.planned is None else START_SHARE * run.planned
            contiguous = options.model_copy(update={"contiguous": True, "gap": max(options.gap, START_GAP)})
            first = solve(self.instance, contiguous, run.part(work=work, quiet=True))
            if first.plan is not None:
                self.take(first.plan)

    def take(self, plan: Plan) -> None:
        """Keep a plan if it is valid and the best so far; tolerances of the solver end here."""
        objective = objective_ms(self.instance, plan, self.options)
        if self.objective_ms is not None and objective >= self.objective_ms:
            return
        broken = violations(self.instance, plan, self.options)
        if broken:
            logger.info("plan dropped: %s", broken[0])
            return
        self.plan, self.objective_ms = plan, objective
        if self.bound_ms > objective * (1 + EQUAL):
            logger.info("the bound %g is refuted by a plan of %g", self.bound_ms, objective)
            self.bound_ms = min(self.balance_ms, objective)
        self.run.keep(plan)
        self.run.report(objective, self.bound_ms, "milp")

    def take_bound(self, bound: float | None, params: ThroughputParams) -> None:
        """Keep a bound of the program, less its margin, if no plan refutes it."""
        if bound is None or bound <= 0:
            return
        bound_ms = (bound / TIME_UNIT - BOUND_MARGIN) * params.unit_ms
        if self.objective_ms is None or bound_ms > self.objective_ms * (1 + EQUAL):
            return
        self.bound_ms = max(min(bound_ms, self.objective_ms), self.bound_ms)
        self.run.report(self.objective_ms, self.bound_ms, "milp")

    def coarse(self, before_ms: float | None, status: Status) -> bool:
        """Whether the plan became so much better that the last program was too coarse to prove the gap.

        When that program was solved to its end, only the margin of its bound can be too large, and any better
        plan is a finer unit.
        """
        assert before_ms is not None
        assert self.objective_ms is not None
        enough = 1.0 if status is Status.OPTIMAL else COARSE
        return self.objective_ms < enough * before_ms and not self.is_closed

    def find(self) -> Solution:
        """Find any plan by a program without times."""
        return self._solve(self.contracted(timeless(self.instance)))

    def round(self) -> Solution:
        """Build the program for plans no worse than the best one, and solve it."""
        return self._solve(self.reduced())

    def _solve(self, problem: Problem) -> Solution:
        """Build and solve the program of a problem, from the best plan, and keep what it brings."""
        params, sure_ms = self.params(problem), self.bound_ms
        built = ThroughputProgram(self.instance, self.options, problem, params)
        columns, rows = built.program.columns, built.program.rows
        self.stats.update(items=problem.size, nets=problem.nets)
        self.stats.update(columns=columns, rows=rows, integers=int(built.program.integer.sum()))
        logger.info("round %d: %d columns, %d rows", self.stats["rounds"], columns, rows)
        solution = built.solve(
            self.run,
            self.settings(),
            self.take,
            start=None if self.plan is None else problem.start(self.plan),
            take_bound=lambda bound: self.take_bound(bound, params),
        )
        self.take_bound(solution.bound, params)
        if solution.status in (Status.FAILED, Status.INFEASIBLE):
            self.bound_ms = min(sure_ms, self.bound_ms)
        self.stats["nodes"] = int(self.stats["nodes"]) + solution.nodes
        self.stats["rounds"] = int(self.stats["rounds"]) + 1
        return solution

    def reduced(self) -> Problem:
        """Reduce the problem for plans no worse than the best one."""
        special = self.instance.constraints != Constraints() or bool(self.instance.servers)
        if self.options.formulation is Formulation.PAPER or special:
            # Reductions keep an optimal plan under the plain costs, not one that keeps all rules.
            return self.problem
        return reduced(
            self.problem,
            self.options.communication,
            self.objective_ms,
            contiguous=self.options.contiguous,
            dominance=self.options.recompute is Recompute.NONE,
        )

    def params(self, problem: Problem) -> ThroughputParams:
        """Return what the program is built for: plans no worse than the best one."""
        options = self.options
        return ThroughputParams(
            schedule=options.schedule,
            communication=options.communication,
            unit_ms=self.objective_ms or 1.0,
            upper_bound_ms=self.objective_ms,
            lower_bound_ms=0.0 if self.plan is None else self.bound_ms,
            each_contiguous=options.per_device_contiguity,
            windows=windows(problem, kinds_of(problem), self.objective_ms)
            if options.strictly_ordered
            else None,
            flights=self.flights,
            recompute=options.recompute,
            start=self.plan,
        )

    def settings(self) -> Settings:
        """Return how to solve: the gap asked for less what the bound's margin takes."""
        options = self.options
        rebuilds = options.strictly_ordered and self.rebuilds and self.objective_ms is not None
        return Settings(
            gap=max(0.0, options.gap - 2 * BOUND_MARGIN / COARSE),
            threads=options.threads,
            seed=options.seed,
            target=REBUILD * TIME_UNIT if rebuilds else None,
            memory_limit_mb=options.memory_limit_mb,
            feasibility=FEASIBILITY,
            confirm=True,
        )

    def stopped(self, stop: Stop) -> Outcome:
        """Say what is held when the run ended between two rounds."""
        message = "" if self.plan is not None else "no plan found in time"
        return Outcome(stop, self.plan, self.bound_ms, message, self.stats)

    def outcome(self, solution: Solution) -> Outcome:
        """Say what is held at the end."""
        stop, message = verdict(solution.status, planned=self.plan is not None)
        if stop is Stop.INFEASIBLE:
            return Outcome(stop, stats=self.stats)
        return Outcome(stop, self.plan, self.bound_ms, message, self.stats) if message else self.stopped(stop)
