"""Non-contiguous throughput by column generation: a bound, and plans by diving and annealing.

Phases look finer and finer: diagrams of more and more states against transfers that are left out, units of
load against rounding losses, clusters of items against restricted values.  After each one, plans are built
from its sets and improved, for as much work as it took, so that plan and bound approach each other at any
time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.methods.colgen import all_limits, boxes
from placer.methods.colgen.bound import Generation, Phase
from placer.methods.colgen.dive import dive
from placer.methods.colgen.first_values import first_values
from placer.methods.colgen.frontier import Diagram
from placer.methods.colgen.linear_loads import Loads, build_loads
from placer.methods.colgen.pricing import Pricer, diagram_along, find_diagram, make_pricers
from placer.methods.colgen.spread import spread
from placer.methods.local_search.local_search import Search
from placer.methods.local_search.multilevel import anneal_levels
from placer.methods.local_search.polish import SCHEDULES, Polish
from placer.options import Options, Recompute
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.reductions.problem import Problem, contract
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run, Stopped

__all__ = ["bound_contiguous", "solve"]

PHASES = (
    Phase(units=4096, clusters=40, width=1e-3),
    Phase(units=16384, clusters=40, width=5e-4),
    Phase(units=32768, clusters=80, width=3e-4),
    Phase(units=131072, clusters=80, width=2e-4),
    Phase(units=131072, clusters=240, width=1e-4),
    Phase(units=262144, clusters=10**9, width=2e-5),
)
FIRST = Phase(units=1024, clusters=40, width=1e-3)
"""A look before the others, for little time and without plans."""
STATES = (1, 64, 4096)
"""Most states of a step, diagram by diagram; with one, compute alone counts."""
COARSE = {1: Phase(units=65536, clusters=1, width=1.0), 64: Phase(units=16384, clusters=80, width=5e-4)}
"""The phase of each diagram but the last; the first one looks once, with the values to begin with."""
SMALLER = 0.5
"""Part of the states of the last diagram that another one may have to be looked at before."""
CELLS = 300_000_000
"""States times units of one pricing at most: some 0.3 s."""
STARTS = 12
"""Descents from balanced starts before the first annealing."""
LEAST_WORK_S = 0.2
"""Work that plans may take in any case, in nominal seconds."""
PHASE_SHARE = 0.3
"""Share of the work left that one phase may take where there is a limit."""
MOVES, MOVES_PER_ITEM = 2_000_000, 10_000
"""Moves of one annealing, at most."""
BOXES = {0: 256, 2: boxes.MOST_UNITS}
"""Phases after which the boxes of ``gpipe`` are looked at, and how many units per direction they have."""
OVERLOADS = (1.0005, 1.003, 1.01)
"""Loads, relative to what the sets reach, that dives fill devices to."""
DIVE_UNITS, DIVE_ROUNDS = 4096, 8
"""Units of load, and pricing rounds before each choice, of dives: what is finer seldom ends in time."""
TRIES = 2
"""Phases after which bounds alone are given up where none raised what is known."""
PATIENCE = 15
"""Annealings in a row without a better plan after which no more are tried."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Bound and improve until the gap is closed, nothing finer is left to look at, or the run is over."""
    if not options.pipelined:
        return Outcome(Stop.NOT_APPLICABLE, message="column generation handles throughput only")
    if options.contiguous:
        return Outcome(Stop.NOT_APPLICABLE, message="column generation does not keep plans contiguous")
    problem = contract(instance, contiguous=False)
    homeless = np.flatnonzero(~problem.allowed.any(axis=1))
    if len(homeless):
        nodes = ", ".join(repr(instance.ids[v]) for v in problem.members[homeless[0]][:6])
        return Outcome(Stop.INFEASIBLE, message=f"no device may hold {nodes}")
    return _Solver(problem, options, run).solve()


def bound_contiguous(instance: Instance, options: Options, run: Run) -> Outcome:
    """Bound the objective of contiguous plans, of which one is known, by that of plans that need not be.

    Where graphs are wide and a device holds few of their items, the order of devices says little.
    """
    if run.start is None or instance.pools or instance.servers or options.recompute is not Recompute.NONE:
        return Outcome(run.stopped() or Stop.FINISHED)
    return _Solver(contract(instance, contiguous=True), options, run).only_bound(run.start)


@dataclass
class _Solver:
    """One solve."""

    problem: Problem
    options: Options
    run: Run

    def __post_init__(self) -> None:
        self.loads: Loads = build_loads(self.problem, self.options.communication, self.options.schedule)
        unordered = replace(self.problem, edges=self.problem.edges[:0])
        self.polish = Polish(unordered, self.options, self.loads.objective_ms)
        self.generation: Generation | None = None
        self.annealings = 0
        self.best = Incumbent(self.problem.instance, self.options, self.run)

    def solve(self) -> Outcome:
        """Alternate between bounds and plans."""
        self._first_plans()
        upper = min(self.polish.best_ms, self._trivial_ms())
        if upper == 0.0:  # nothing takes time: loads tell no set from another
            return self._outcome()
        try:
            self._bound(upper)
        except Stopped:
            return self._outcome()
        failures = 0
        while not self._done() and failures < PATIENCE:
            failures = 0 if self._anneal(self._slice()) else failures + 1
        return self._outcome()

    def only_bound(self, start: Plan) -> Outcome:
        """Bound without any plans but a start."""
        self.polish.offer(self.problem.start(start))
        if 0.0 < self.polish.best_ms < np.inf:
            with suppress(Stopped):
                self._bound(self.polish.best_ms, plans=False)
        return self._outcome()

    def _bound(self, upper: float, *, plans: bool = True) -> None:
        """Prove bounds on finer and finer diagrams, and make plans from their sets."""
        for states, diagram in self._diagrams():
            pricers = make_pricers(self.loads, diagram)
            if self.generation is None:
                values = first_values(self.loads, pricers, self._slice())
                self.generation = Generation(self.loads, pricers, upper, values)
                self.generation.lower_ms = min(self.run.bound_ms or 0.0, upper)
            for pricer, before in zip(pricers, self.generation.pricers, strict=True):
                pricer.take_mix(before)
            whole = not any(pricer.diagram.cut.any() for pricer in pricers if not pricer.kind.is_host)
            if whole or states == STATES[-1]:
                break
            self._look(COARSE[states], pricers, plans=plans)
        self._look(FIRST, pricers, plans=False)
        for k, phase in enumerate(self._phases(pricers)):
            known = self.run.bound_ms or 0.0
            if not plans and k == TRIES and self.generation is not None and self.generation.lower_ms <= known:
                break
            # The second phase mends the rounding of the first one's bound, for little time.
            self._look(phase, pricers, plans=plans and k != 1)
            complete = k == 0 and all_limits.applicable(pricers) and self._keep_limits(plans=plans)
            if (complete or k in BOXES) and boxes.applicable(self.loads, pricers) and not self._done():
                finest = boxes.units(pricers)
                self._refute_boxes(finest if complete else min(BOXES[k], finest))
            if complete:
                break

    def _diagrams(self) -> Iterator[tuple[int, Diagram]]:
        """Yield diagrams of more and more states; only the first one needs no good order."""
        first, *more, last = STATES
        yield first, diagram_along(np.arange(self.problem.size), self.loads, max_states=first)
        finest = find_diagram(self.loads, max_states=last, check=self.run.check)
        for states in more:
            smaller = diagram_along(finest.order, self.loads, max_states=states, check=self.run.check)
            if smaller.states <= SMALLER * finest.states:
                yield states, smaller
        yield last, finest

    def _look(self, phase: Phase, pricers: list[Pricer], *, plans: bool = True) -> None:
        """Run a phase, and make plans from its sets for as much work as it took."""
        if self._done():
            return
        assert self.generation is not None
        began = self.run.work_s
        self.generation.run_phase(phase, pricers, self._slice(), self.options.gap)
        self._report()
        if plans:
            self._plans(max(LEAST_WORK_S, self.run.work_s - began))

    # -- plans ----------------------------------------------------------------------------------

    def _first_plans(self) -> None:
        if self.run.start is not None:
            start = self.problem.start(self.run.start)
            self.polish.offer(start)
            self.polish.descend(start, self.run)
        search = Search(_without_order(self.problem), self.options, self.run)
        for _ in range(0 if self.polish.best is not None else STARTS):
            start_at = search.next_start()
            search.descents += 1
            if start_at is not None and self.run.stopped() is None:
                search.descend(start_at)
        if search.best.plan is not None:
            self.polish.offer(self.problem.start(search.best.plan))
        found = spread(self.loads, self.run)
        if found is not None:
            self.polish.descend(found, self.run)
        self._report()

    def _plans(self, work_s: float) -> None:
        """Anneal, and dive at several loads and anneal from there, each for as much work."""
        generation = self.generation
        assert generation is not None
        self._follow_upper()
        base = min(max(generation.reach_ms, generation.lower_ms), generation.upper_ms)
        part, before = self.run.part(work=work_s), -1.0
        while not self._done() and part.stopped() is None and part.work_s > before:  # else there are no moves
            before = part.work_s
            self._anneal(part)
        part = self.run.part(work=work_s)
        for pricer in generation.pricers:
            pricer.coarsen(DIVE_UNITS)
        transfers = any(len(pricer.diagram.paid_net) for pricer in generation.pricers)
        for overload in OVERLOADS if transfers or not self.loads.nets.count else ():
            if self._done() or part.stopped() is not None:
                return
            found = dive(generation, min(base * overload, generation.top_ms), part, rounds=DIVE_ROUNDS)
            if found is not None:
                self._anneal(part, self.polish.descend(found, part))

    def _anneal(self, run: Run, device: IntArray | None = None) -> bool:
        """Anneal from an assignment, by default the best; tell whether the best plan improved."""
        before = self.polish.best_ms
        source = self.polish.best if device is None else device
        if source is None or self._done():
            return False
        lower = self.generation.lower_ms if self.generation is not None else 0.8 * min(before, 1e300)
        heat, reach = SCHEDULES[self.annealings % len(SCHEDULES)]
        self.annealings += 1
        if device is None and self.annealings % 2:
            anneal_levels(self.polish, lower, run, reach=reach, heat=heat)
        else:
            moves = min(MOVES, MOVES_PER_ITEM * self.problem.size)
            self.polish.anneal(source, lower, run, moves=moves, reach=reach, heat=heat)
        self._follow_upper()
        return self.polish.best_ms < before

    def _follow_upper(self) -> None:
        """Tell the bound of a better plan."""
        if self.generation is not None:
            self.generation.upper_ms = min(self.generation.upper_ms, self.polish.best_ms)
        self._report()

    # -- bounds ---------------------------------------------------------------------------------

    def _phases(self, pricers: list[Pricer]) -> Iterator[Phase]:
        """Phases within the time and memory that one pricing may take, each finer than the last."""
        states = max(pricer.diagram.states for pricer in pricers)
        bytes_left = self.options.memory_limit_mb * 2**20 / 4
        most = int(min(CELLS, bytes_left / len(pricers)) / max(1, states))
        before: tuple[int, int] | None = None
        for phase in PHASES:
            units = max(64, min(phase.units, most))
            clusters = min(phase.clusters, self.problem.size)
            if (units, clusters) != before:
                before = (units, clusters)
                yield Phase(units, clusters, phase.width)

    def _keep_limits(self, *, plans: bool) -> bool:
        """Raise the bound by sets that keep all limits; tell whether that was all that sets can prove."""
        if self._done():
            return False
        generation = self.generation
        assert generation is not None
        bound = all_limits.LimitBound(generation)
        while bound.may_go_on and not self._done():
            began = self.run.work_s
            bound.improve(self._slice(), self.options.gap, generation.upper_ms)
            generation.lower_ms = max(generation.lower_ms, bound.lower_ms)
            self._report()
            if plans:
                self._plans(max(LEAST_WORK_S, self.run.work_s - began))
        return bound.is_complete

    def _refute_boxes(self, count: int) -> None:
        """Raise the bound by looking at forward and backward loads apart."""
        generation = self.generation
        assert generation is not None
        upper = generation.upper_ms
        bound = boxes.BoxBound(self.loads, generation.pricers, generation.weight, upper, count)
        bound.improve(self._slice(), self.options.gap)
        generation.lower_ms = max(generation.lower_ms, bound.bound_ms)
        self.polish.forward_share = bound.forward_share
        self._report()

    def _trivial_ms(self) -> float:
        """Return more than any plan can cost: all times and all transfers, each at its largest."""
        times = np.where(np.isfinite(self.problem.time_ms), self.problem.time_ms, 0.0)
        return float(times.max(axis=2).sum() + 2 * self.problem.net_cost_ms.max(axis=1, initial=0.0).sum())

    # -- stopping -------------------------------------------------------------------------------

    def _slice(self) -> Run:
        planned = self.run.planned
        return self.run.part(work=None if planned is None else max(LEAST_WORK_S, PHASE_SHARE * planned))

    def _done(self) -> bool:
        closed = (
            self.polish.best is not None
            and self.generation is not None
            and self.generation.closed(self.options.gap)
        )
        return closed or self.polish.best_ms == 0.0 or self.run.stopped() is not None

    def _report(self) -> None:
        """Tell what is better now."""
        if self.polish.best is not None and self.polish.best_ms < self.best.value:
            self.best.offer(self.problem.plan(self.polish.best), "column generation")
        if self.generation is not None:
            self.best.raise_bound(self.generation.lower_ms, "column generation")

    def _outcome(self) -> Outcome:
        generation = self.generation
        stats: dict[str, float | int | str] = {"annealings": self.annealings}
        stop = self.run.stopped() or Stop.FINISHED
        if generation is not None:
            stats |= {
                "rounds": generation.rounds,
                "sets": len(generation.type),
                "states": max(pricer.diagram.states for pricer in generation.pricers),
            }
            stop = Stop.FINISHED if generation.closed(self.options.gap) else stop
        if self.polish.best_ms == 0.0:
            stop = Stop.FINISHED
        self._report()
        message = "no plan was found within all limits" if self.best.plan is None else ""
        return self.best.outcome(stop, message, stats)


def _without_order(problem: Problem) -> Problem:
    """Return the problem without precedence: moves of a free plan respect none."""
    return replace(problem, edges=problem.edges[:0])
