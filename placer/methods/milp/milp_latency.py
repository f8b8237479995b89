"""The integer programs for latency: start, network of downsets, program, plan."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from formulations.latency import ordered as latency_ordered
from formulations.latency import paper as latency_paper
from formulations.latency import start as latency_start
from formulations.latency.latency_problem import LatencyProblem
from formulations.latency.network import Network, along_tokens, long_paths, refine
from formulations.program import Program
from placer.arrays import FloatArray
from placer.instance.instance import Instance
from placer.methods.latency import dp_latency
from placer.methods.milp.latency_fill import fill, from_network
from placer.methods.milp.verdict import verdict
from placer.methods.starts.timeless import timeless
from placer.options import Formulation, Options
from placer.plans.latency_schedule import latency_schedule
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.reductions import free_nodes
from placer.reductions.inverse import Inverse
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run
from placer.search.work import NETWORK_ENTRY_S
from placer.solvers import highs
from placer.solvers.solution import Settings, Solution, Status
from placer.tolerances import EQUAL, FEASIBILITY, PROGRAM_MARGIN

__all__ = ["solve"]

logger = logging.getLogger(__name__)

START = 0.1, 30.0
"""Work for a plan to start from: a share of what limits allow, or nominal seconds where there are none."""
NETWORK_ARCS = 20_000
"""Arcs of the network: more give a better bound and a slower program."""
NETWORK_SHARE = 0.4
"""Share of the work that growing the network may take where there is a limit."""
COARSE_STEP = 0.5
"""First trial upper bound above the proven bound, as a share; doubled from trial to trial."""
FINE_STEP = 0.005
"""The same once a trial has left a path."""
COARSE = 0.5
"""A program whose solution has at most this share of the upper bound is built again for that solution, where
its margin hides the gap."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Solve the latency problem by an integer program (``options.formulation``).

    Parameters
    ----------
    instance
        The instance.
    options
        Pieces, formulation, gap, threads, seed and memory limit are used.
    run
        Its start plan is the first incumbent; without one a greedy plan is.

    Returns
    -------
    Outcome
    """
    paper = options.formulation is Formulation.PAPER
    smaller, inverse = (instance, Inverse(instance)) if paper else free_nodes.apply(instance)
    search = _Search(options, run.part(inverse=inverse), smaller)
    if not np.isfinite(search.problem.least_ms).all():
        return search.outcome(Stop.INFEASIBLE)
    return (search.paper() if paper else search.ordered()).inverted(inverse)


class _Search:
    """The steps that improve plan and bound, on the smaller instance."""

    def __init__(self, options: Options, run: Run, instance: Instance) -> None:
        self.options, self.run, self.instance = options, run, instance
        self.problem = LatencyProblem.of(instance, options.pieces)
        self.best = Incumbent(instance, options, run)
        self.ranked = self.waiting = False
        """Whether the paper's program has ranks in any case, and whether a plan did not hold without them."""
        self.stats: dict[str, float | int | str] = {
            "nodes_reduced": self.problem.n,
            "pieces": self.problem.slots,
        }
        if run.start is not None:
            self.offer(run.start, "start")
        if self.best.plan is None:
            for plan in fill(self.problem):
                self.offer(plan, "greedy")

    def offer(self, plan: Plan | None, phase: str) -> None:
        """Take a plan of the smaller instance if it is valid and better."""
        if plan is not None and self.best.offer(plan, phase) == np.inf:
            self.waiting = True

    @property
    def upper_ms(self) -> float:
        """An upper bound on the optimum: the best plan, or one that holds for every plan."""
        return min(self.best.value, self.problem.safe_upper_ms)

    @property
    def closed(self) -> bool:
        """Whether the gap asked for is proven."""
        return self.best.is_within(self.options.gap)

    def ordered(self) -> Outcome:
        """Grow the network, then solve the ordered program where it leaves a gap."""
        if self.best.plan is None and (failed := self.find()) is not None:
            return failed
        if self.run.start is None:
            self.start_from_labels()
        network = self.grow()
        return self.improve(lambda: self.ordered_program(network))

    def start_from_labels(self) -> None:
        """Take the best plan of a short search along downsets, whose bound is left to others."""
        part = self.run.part(work=self.run.portion(*START), quiet=True)
        part.start = self.best.plan
        self.offer(dp_latency.solve(self.instance, self.options, part).plan, "labels")

    def paper(self) -> Outcome:
        """Solve the paper's program."""
        if self.best.plan is None and (failed := self.find()) is not None:
            return failed
        return self.improve(self.paper_program)

    def improve(self, solve_one: Callable[[], Solution]) -> Outcome:
        """Improve the plan by a program; build that again where a much better plan shows it too coarse."""
        while True:
            stop = Stop.FINISHED if self.closed else self.run.stopped()
            if stop is not None:
                return self.outcome(stop)
            before, self.waiting = self.best.value, False
            solution = solve_one()
            self.waiting = self.waiting and not self.ranked and self.options.formulation is Formulation.PAPER
            coarse = self.best.value <= COARSE * before or self.waiting
            if not coarse or self.closed or solution.status is not Status.OPTIMAL:
                return self._closing(solution)
            self.ranked = self.ranked or self.waiting

    def find(self) -> Outcome | None:
        """Find any plan by the same programs without times; what to report if there is none."""
        free = timeless(self.instance)
        options = self.options.model_copy(update={"gap": 0.0})
        search = _Search(options, self.run.part(quiet=True), free)
        if self.options.formulation is Formulation.PAPER:
            solution = search.paper_program()
        else:
            network = search.grow()
            if not np.isfinite(network.bound_ms):
                return self.outcome(Stop.INFEASIBLE)
            solution = search.ordered_program(network)
        self.stats |= search.stats
        if search.best.plan is not None:
            self.offer(search.best.plan, "without times")
            return None
        return self._closing(solution)

    def ordered_program(self, network: Network) -> Solution:
        """Solve the ordered program for plans that are no worse than the best one."""
        model = latency_ordered.build(self.problem, network.pruned(self.upper_ms), self.upper_ms)
        start = None
        if self.best.plan is not None:
            schedule = latency_schedule(self.instance, self.best.plan)
            start = latency_start.encode(model, self.best.plan, schedule)
        return self.program(model.program, model.upper_ms, start, model.decode)

    def paper_program(self) -> Solution:
        """Solve the paper's program for plans that are no worse than the best one."""
        model = latency_paper.build(self.problem, self.upper_ms, ranked=self.ranked)
        start, program = None, model.program
        if self.best.plan is not None:
            schedule = latency_schedule(self.instance, self.best.plan)
            start = program.point(model.encode(self.best.plan, schedule))
        return self.program(program, model.unit_ms, start, lambda values: model.decode(program.named(values)))

    def grow(self) -> Network:
        """Grow networks for trial upper bounds a little above the proven bound, at last for the known one.

        A network for a small upper bound drops so many arcs that it often covers the whole graph.  If no
        path is left, the trial is a lower bound; else its shortest path is often a plan.
        """
        planned = self.run.planned
        part = self.run.part(work=None if planned is None else NETWORK_SHARE * planned)

        def stopped(entries: int = 0) -> bool:
            part.spend(NETWORK_ENTRY_S * entries)
            return part.stopped() is not None

        longest = (self.problem.head_ms + self.problem.tail_ms).max()
        self.best.raise_bound(float(longest) * (1 - EQUAL), "longest path")
        tokens = long_paths(self.problem)  # never empty
        # A start is taken to be near the optimum: its makespan is the first and last trial.
        step = COARSE_STEP if self.run.start is None else np.inf
        while True:
            trial = min(self.best.bound * (1 + step), self.upper_ms)
            if stopped() or self.best.bound <= 0:
                trial = self.upper_ms
            last = trial >= self.upper_ms
            network = along_tokens(self.problem, trial, tokens, arc_limit=NETWORK_ARCS, stopped=stopped)
            coarse = len(tokens) > 1 and not last
            if not coarse:
                network = refine(network, arc_limit=NETWORK_ARCS, stopped=stopped)
            self.best.raise_bound(min(network.bound_ms, trial) * (1 - EQUAL), "network")
            if network.arcs:
                self.offer(from_network(network), "network")
            if last or self.closed:
                break
            if coarse and network.arcs:
                # The bound is near now: go on in small steps and with the best token alone.
                tokens, step = [network.token], FINE_STEP
            else:
                step *= 2
        self.stats["network_arcs"] = network.arcs
        self.stats["network_core"] = int(network.core.sum())
        self.stats["network_bound_ms"] = self.best.bound
        return network

    def program(
        self,
        program: Program,
        unit_ms: float,
        start: FloatArray | None,
        decode: Callable[[FloatArray], Plan],
    ) -> Solution:
        """Hand a program to the solver and take what it finds."""
        sure = self.best.bounds.get("program", 0.0)

        def take_bound(bound: float | None) -> None:
            self.best.raise_bound(((bound or 0.0) - PROGRAM_MARGIN) * unit_ms, "program")

        solution = highs.solve(
            program,
            self.run,
            Settings(
                gap=max(0.0, self.options.gap - 2 * PROGRAM_MARGIN / COARSE),
                threads=self.options.threads,
                seed=self.options.seed,
                memory_limit_mb=self.options.memory_limit_mb,
                feasibility=FEASIBILITY,
                confirm=True,
                # The presolve of HiGHS 1.15 loses the optimum of some of these programs.
                extra=(("presolve", "off"),),
            ),
            start=start,
            on_incumbent=lambda values: self.offer(decode(values), "program"),
            on_progress=lambda _, bound, __: take_bound(bound),
        )
        take_bound(solution.bound)
        if solution.status in (Status.FAILED, Status.INFEASIBLE):
            self.best.bounds["program"] = sure
        self.stats |= {
            "columns": program.columns,
            "rows": program.rows,
            "nodes": solution.nodes,
            "start_used": str(solution.start_used),
        }
        return solution

    def _closing(self, solution: Solution) -> Outcome:
        """Say what is held after the last program."""
        return self.outcome(*verdict(solution.status, planned=self.best.plan is not None))

    def outcome(self, stop: Stop, message: str = "") -> Outcome:
        """Return what is held."""
        return self.best.outcome(stop, message, self.stats)
