"""Throughput by mixed-integer programming: reduce, start, build, solve, decode, expand, evaluate.

Whether there is a plan does not depend on times: where none is known, a program without any finds one, and
what it claims as infeasible is solved a second time in another way.  Then the program is built for plans that
are better than the best one known, which fixes most of the ordered program's variables, and keeps its numbers
within the solver's reach.  When the solver finds a much better plan, the program is built again for that one.

A bound of the solver above a plan that holds is wrong, and no bound of that round is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from formulations.throughput.shared import TIME_UNIT, ThroughputParams
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.methods.anchors import anchor_bound
from placer.methods.colgen import colgen
from placer.methods.downsets import dpl
from placer.methods.local_search import contiguous_annealing
from placer.methods.milp import sequence_search
from placer.methods.milp.device_sequences import are_few, is_plain
from placer.methods.milp.throughput_program import ThroughputProgram, contracted
from placer.methods.milp.verdict import verdict
from placer.methods.starts.first_fit import first_fit
from placer.methods.starts.timeless import timeless
from placer.options import Communication, Formulation, Options
from placer.plans.in_flight import left_in_flight
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.reductions.kinds import kinds_of
from placer.reductions.problem import Problem
from placer.reductions.throughput_merges import merge_below
from placer.reductions.windows import balance_bound_ms, windows
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run
from placer.solvers.solution import Settings, Solution, Status
from placer.tolerances import BOUND_MARGIN, EQUAL, FEASIBILITY

__all__ = ["solve"]

Method = Callable[[Instance, Options, Run], Outcome]

logger = logging.getLogger(__name__)

REBUILD = 0.97
"""The program is built again once a plan with at most this share of the known objective is found."""
COARSE = 0.2
"""The same for a program that was solved to its end, where the bound's margin hides that."""

START, START_GAP = (0.1, 30.0), 1e-2
"""Work for a plan along linear orders to start from, or, where plans keep further rules, for a contiguous
plan that starts a non-contiguous one: a share of what the limits allow, or nominal seconds where there are
none.  Gap of the latter."""
FIRST, SEQUENCES = (0.25, 60.0), (0.5, 150.0)
"""Work for the program of all sequences of devices before single ones are tried, and for these, likewise."""
NEAR, HUBS, WIDER = (0.05, 15.0), (0.02, 5.0), (0.3, 100.0)
"""Work for better plans near that one, for a bound by hubs, and for one by plans that need not be contiguous,
likewise."""
FIRST_FREE, COLUMNS = (0.02, 5.0), (0.5, 150.0)
"""Work for the program of non-contiguous plans before column generation is asked for a bound, which becomes a
row of the program, and for a plan, and for that, likewise."""


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
    best = search.best
    while True:
        stop = Stop.FINISHED if best.is_within(options.gap) else run.stopped()
        if stop is not None:
            return search.stopped(stop)
        if best.plan is None:
            solution = search.find()
            if best.plan is None:
                return search.outcome(solution)
        before = best.value
        solution = search.round()
        if solution.status is Status.WORK_LIMIT and search.part is not run:
            search.ask_others()
            search.part = run
        elif solution.status is Status.TARGET:
            search.rebuilds = best.value != before
        elif not search.coarse(before, solution.status):
            return search.outcome(solution)


@dataclass
class _Search:
    """The steps of one solve, and its figures."""

    instance: Instance
    options: Options
    run: Run
    rebuilds: bool = True
    stats: dict[str, float | int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        options = self.options
        self.problem: Problem = self.contracted(self.instance)
        self.best = Incumbent(self.instance, options, self.run)
        self.best.raise_bound(balance_bound_ms(self.problem, kinds_of(self.problem)) * (1 - EQUAL), "work")
        self.flights = left_in_flight(self.instance, options)
        self.part = self.run
        """What the whole program runs in; less than everything until other programs were tried."""
        self.stats.update(nodes=0, rounds=0)

    def contracted(self, instance: Instance) -> Problem:
        """Contract an instance for the kind of plan asked for."""
        return contracted(instance, self.options, contiguous=self.options.strictly_ordered)

    def start(self) -> None:
        """Take the given start, else fill devices one after another, then look for a better one."""
        options, run = self.options, self.run
        if run.start is not None:
            self.take(run.start)
        if self.best.plan is None:
            for found in first_fit(self.problem, options.schedule, options.communication):
                self.take(self.problem.plan(found))
                if self.best.plan is not None:
                    break
        if run.start is not None or options.formulation is Formulation.PAPER:
            return
        if is_plain(self.instance, options):
            self.start_from_orders()
        elif not options.contiguous:
            contiguous = options.model_copy(update={"contiguous": True, "gap": max(options.gap, START_GAP)})
            first = solve(self.instance, contiguous, run.part(work=run.portion(*START), quiet=True))
            if first.plan is not None:
                self.take(first.plan)

    def start_from_orders(self) -> None:
        """Take plans along linear orders and near them; try the whole program only for a while."""
        options = self.options
        narrower = None if options.strictly_ordered else options.model_copy(update={"contiguous": True})
        self.ask("linear orders", dpl.solve, START, narrower)
        if self.best.plan is None:
            return
        if options.contiguous:
            self.ask("annealing", contiguous_annealing.solve, NEAR)
        self.ask("anchors", anchor_bound.solve, HUBS)
        self.part = self.run.part(work=self.run.portion(*(FIRST if options.contiguous else FIRST_FREE)))

    def ask_others(self) -> None:
        """Solve other programs: of single sequences of devices, or of single devices' sets."""
        if not self.options.contiguous:
            self.ask("columns", colgen.solve, COLUMNS)
        elif are_few(self.instance, self.options):
            self.ask("sequences", sequence_search.solve, SEQUENCES)
        elif self.options.communication is Communication.SEQUENTIAL:
            self.ask("columns", colgen.bound_contiguous, WIDER)

    def ask(
        self, source: str, method: Method, work: tuple[float, float], options: Options | None = None
    ) -> None:
        """Take the plan and the bound of another method, from the best ones so far."""
        part = self.run.part(work=self.run.portion(*work), quiet=True)
        part.start, part.bound_ms = self.best.plan, self.best.bound or None
        found = method(self.instance, options or self.options, part)
        if found.plan is not None:
            self.take(found.plan)
        if options is None:
            self.best.raise_bound(found.bound_ms or 0.0, source)

    def take(self, plan: Plan) -> None:
        """Offer a plan; tolerances of the solver end here."""
        self.best.offer(plan, "milp")

    def take_bound(self, bound: float | None, params: ThroughputParams) -> None:
        """Take a bound of the program, less its margin; without a plan it has no times."""
        if bound is not None and self.best.plan is not None:
            self.best.raise_bound((bound / TIME_UNIT - BOUND_MARGIN) * params.unit_ms, "milp")

    def coarse(self, before_ms: float, status: Status) -> bool:
        """Whether the plan became so much better that the last program was too coarse to prove the gap.

        When that program was solved to its end, only the margin of its bound can be too large, and any better
        plan is a finer unit.
        """
        enough = 1.0 if status is Status.OPTIMAL else COARSE
        return self.best.value < enough * before_ms and not self.best.is_within(self.options.gap)

    def find(self) -> Solution:
        """Find any plan by a program without times."""
        return self._solve(self.contracted(timeless(self.instance)))

    def round(self) -> Solution:
        """Build the program for plans no worse than the best one, and solve it."""
        return self._solve(self.reduced())

    def _solve(self, problem: Problem) -> Solution:
        """Build and solve the program of a problem, from the best plan, and keep what it brings."""
        params, sure_ms = self.params(problem), self.best.bounds.get("milp", 0.0)
        built = ThroughputProgram(self.instance, self.options, problem, params)
        columns, rows = built.program.columns, built.program.rows
        self.stats.update(items=problem.size, nets=problem.nets)
        self.stats.update(columns=columns, rows=rows, integers=int(built.program.integer.sum()))
        logger.info("round %d: %d columns, %d rows", self.stats["rounds"], columns, rows)
        solution = built.solve(
            self.part,
            self.settings(),
            self.take,
            start=None if self.best.plan is None else problem.start(self.best.plan),
            take_bound=lambda bound: self.take_bound(bound, params),
        )
        self.take_bound(solution.bound, params)
        if solution.status in (Status.FAILED, Status.INFEASIBLE):
            self.best.bounds["milp"] = sure_ms
        self.stats["nodes"] = int(self.stats["nodes"]) + solution.nodes
        self.stats["rounds"] = int(self.stats["rounds"]) + 1
        return solution

    def reduced(self) -> Problem:
        """Reduce the problem for plans no worse than the best one."""
        special = self.instance.constraints != Constraints() or bool(self.instance.servers)
        if self.options.formulation is Formulation.PAPER or special:
            # Reductions keep an optimal plan under the plain costs, not one that keeps all rules.
            return self.problem
        return merge_below(self.problem, self.best.value * (1 + EQUAL), self.options)

    def params(self, problem: Problem) -> ThroughputParams:
        """Return what the program is built for: plans no worse than the best one."""
        options, plan = self.options, self.best.plan
        known_ms = None if plan is None else self.best.value
        return ThroughputParams(
            schedule=options.schedule,
            communication=options.communication,
            unit_ms=known_ms or 1.0,
            upper_bound_ms=known_ms,
            lower_bound_ms=0.0 if plan is None else self.best.bound,
            each_contiguous=options.per_device_contiguity,
            windows=windows(problem, kinds_of(problem), known_ms) if options.strictly_ordered else None,
            flights=self.flights,
            recompute=options.recompute,
            start=plan,
        )

    def settings(self) -> Settings:
        """Return how to solve: the gap asked for less what the bound's margin takes."""
        options = self.options
        rebuilds = options.strictly_ordered and self.rebuilds and self.best.plan is not None
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
        message = "" if self.best.plan is not None else "no plan found in time"
        return self.best.outcome(stop, message, self.stats)

    def outcome(self, solution: Solution) -> Outcome:
        """Say what is held at the end."""
        stop, message = verdict(solution.status, planned=self.best.plan is not None)
        if message or stop is Stop.INFEASIBLE:
            return self.best.outcome(stop, message, self.stats)
        return self.stopped(stop)
