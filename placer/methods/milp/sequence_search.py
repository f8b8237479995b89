"""Contiguous throughput sequence by sequence: one program for each order in which kinds of devices may come.

Linear programs of all sequences, without transfers, come first: the least of their values is a bound that
knows the order, and most sequences are out of the question by theirs. Then the programs over whole items are
solved, the most promising first, each for as much work as all linear programs took, and for `RISE` times as
much in every further round. Plans found in one sequence cut off the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import networkx as nx
import numpy as np

from formulations.throughput import sequence as programs
from formulations.throughput.shared import TIME_UNIT, ThroughputParams
from placer.arrays import FloatArray, IntArray
from placer.instance.instance import Instance
from placer.methods.milp.device_sequences import are_few, devices_of, sequences
from placer.methods.milp.throughput_program import contracted
from placer.options import Options
from placer.plans.in_flight import left_in_flight
from placer.plans.status import Stop
from placer.reductions.kinds import Kinds, kinds_of
from placer.reductions.problem import Problem
from placer.reductions.throughput_merges import merge_below
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run
from placer.solvers import highs
from placer.solvers.linear_program import solve_linear
from placer.solvers.solution import Settings, Status
from placer.tolerances import BOUND_MARGIN, EQUAL, FEASIBILITY

__all__ = ["SequenceSearch", "solve"]

RISE = 4.0
"""Factor between the work for one sequence in successive rounds: what is begun anew costs a third more."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Improve a plan and prove a bound, where sequences of devices are few.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``.  Without a start in the run nothing is done: there is nothing to cut off by.
    """
    return SequenceSearch(instance, options).go_on(run)


def _reduced(problem: Problem) -> Problem:
    """Leave out edges that others imply."""
    kept = sorted(nx.transitive_reduction(nx.DiGraph(problem.edges.tolist())).edges)
    return replace(problem, edges=np.array(kept, dtype=np.int64).reshape(-1, 2))


@dataclass
class _Sequence:
    """A sequence of kinds, ``(k,)``, the bound in ms on its plans, and whether its program ended."""

    kinds: IntArray
    bound_ms: float
    ended: bool = False


class SequenceSearch:
    """The programs of all sequences, cut off by the best plan; it goes on where the last run ended.

    Parameters
    ----------
    instance, options
        See ``placer.methods``.
    """

    def __init__(self, instance: Instance, options: Options) -> None:
        self.instance, self.options = instance, options
        self.best = Incumbent(instance, options, Run())
        self.all: list[_Sequence] = []
        self._left: Iterator[IntArray] | None = None
        self._work_s = 0.0
        """Work for one sequence in this round, or that its linear programs took so far."""

    def go_on(self, run: Run) -> Outcome:
        """Search until the gap asked for is proven or the run is over."""
        self.run = run
        self.best.follow(run)
        if self.best.plan is None or not are_few(self.instance, self.options):
            return self.best.outcome(Stop.FINISHED, "needs a plan and few sequences of devices")
        problem = contracted(self.instance, self.options, contiguous=True)
        self.problem = _reduced(merge_below(problem, self.best.value * (1 + EQUAL), self.options))
        self.kinds: Kinds = kinds_of(self.problem)
        self.unit_ms = self.best.value
        return self.best.outcome(self._search())

    def _search(self) -> Stop:
        began = self.run.work_s
        self._left = sequences(self.kinds) if self._left is None else self._left
        for sequence in self._left:
            self.all.append(_Sequence(sequence, self._linear_bound(sequence)))
            if (stop := self.run.stopped()) is not None:
                self._work_s += self.run.work_s - began
                return stop
        self._work_s += self.run.work_s - began
        return self._solve_all()

    def _solve_all(self) -> Stop:
        """Solve in rounds; where the last run ended within one, it begins anew."""
        while True:
            self._raise_bound()
            todo = sorted(filter(self._is_open, self.all), key=lambda one: one.bound_ms)
            if not todo:
                return Stop.FINISHED
            for one in filter(self._is_open, todo):
                if self.best.is_within(self.options.gap):
                    return Stop.FINISHED
                if (stop := self.run.stopped()) is not None:
                    return stop
                if self.run.work_left is not None and self.run.work_left < self._work_s:
                    return Stop.WORK_LIMIT  # what is begun with less is begun in vain
                self._solve(one, self._work_s)
                self._raise_bound()
            self._work_s *= RISE

    @property
    def target(self) -> float:
        """Objective in ms above which no plan is of interest: half the gap is left to the bounds' margin."""
        return self.best.value * (1 - self.options.gap / 2)

    def _is_open(self, one: _Sequence) -> bool:
        """Whether a sequence may hold something better."""
        return not one.ended and one.bound_ms < self.target

    def _raise_bound(self) -> None:
        """Take what all sequences prove."""
        self.best.raise_bound(min(self.target, *(one.bound_ms for one in self.all)), "sequences")

    def _params(self, upper_ms: float, lower_ms: float) -> ThroughputParams:
        options = self.options
        return ThroughputParams(
            schedule=options.schedule,
            communication=options.communication,
            unit_ms=self.unit_ms,
            upper_bound_ms=upper_ms,
            lower_bound_ms=lower_ms,
            flights=left_in_flight(self.best.instance, options),
        )

    def _in_ms(self, bound: float) -> float:
        """Return a bound of a program in ms, less its margin."""
        return (bound / TIME_UNIT - BOUND_MARGIN) * self.unit_ms

    def _linear_bound(self, sequence: IntArray) -> float:
        """Return what the linear program of a sequence proves, 0 where it has no point."""
        params = self._params(self.best.value, 0.0)
        program = programs.build(self.problem, self.kinds, sequence, params, transfers=False)
        dual = solve_linear(program, self.run.part(quiet=True), seed=self.options.seed).row_dual
        return 0.0 if dual is None else self._in_ms(program.dual_bound(dual))

    def _solve(self, one: _Sequence, work_s: float) -> None:
        """Look for better plans of a sequence within some work, and keep what that proves."""
        program = programs.build(
            self.problem, self.kinds, one.kinds, self._params(self.target, max(0.0, one.bound_ms))
        )
        settings = Settings(
            gap=self.options.gap / 4,
            threads=self.options.threads,
            seed=self.options.seed,
            cutoff=self.target / self.unit_ms * TIME_UNIT,
            memory_limit_mb=self.options.memory_limit_mb,
            feasibility=FEASIBILITY,
        )
        device = devices_of(self.kinds, one.kinds)

        def take(values: FloatArray) -> None:
            stage = programs.decode(values, self.problem.size, len(device))
            self.best.offer(self.problem.plan(device[stage]), "sequences")

        part = self.run.part(work=work_s, quiet=True)
        found = highs.solve(program, part, settings, on_incumbent=take)
        if found.bound is not None and found.status is not Status.FAILED:
            one.bound_ms = max(one.bound_ms, self._in_ms(found.bound))
        one.ended = found.status is not Status.WORK_LIMIT
