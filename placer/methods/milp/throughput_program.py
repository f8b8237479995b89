"""A throughput program of an instance: contracted, built, started from a plan, and read back as plans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType

from formulations.program import Program
from formulations.throughput import free, ordered, paper
from formulations.throughput.shared import ThroughputParams
from placer.arrays import FloatArray, IntArray
from placer.instance.instance import Instance
from placer.options import Communication, Formulation, Options, Recompute
from placer.plans.plan import Plan
from placer.plans.recompute import with_recompute
from placer.reductions.problem import Problem, contract
from placer.reductions.throughput_merges import merge_directions
from placer.search.run import Run
from placer.solvers import highs
from placer.solvers.solution import Settings, Solution

__all__ = ["ThroughputProgram", "contracted"]


def contracted(instance: Instance, options: Options, *, contiguous: bool) -> Problem:
    """Contract an instance for the programs."""
    duplex = options.communication is Communication.DUPLEX
    problem = contract(instance, contiguous=contiguous, keep_producers=duplex)
    return merge_directions(problem, options.schedule, options.communication)


@dataclass(frozen=True, eq=False)
class ThroughputProgram:
    """The program that the options ask for.

    Parameters
    ----------
    instance
        What plans are for.
    options
        The formulation, the kind of plan, whether stages recompute.
    problem
        The instance, contracted and perhaps reduced.
    params
        What the program is built for.
    """

    instance: Instance
    options: Options
    problem: Problem
    params: ThroughputParams

    @property
    def formulation(self) -> ModuleType:
        """The module of the program; the paper's knows no goals."""
        if self.options.formulation is Formulation.PAPER and self.params.goal is None:
            return paper
        return ordered if self.options.contiguous else free

    @cached_property
    def program(self) -> Program:
        """The program itself."""
        built: Program = self.formulation.build(self.problem, self.params)
        return built

    def plan(self, values: FloatArray) -> Plan:
        """Read a plan from a point."""
        named = self.program.named(values)
        found = self.formulation.decode(named, self.problem, self.params)
        plan = self.problem.plan(found)
        if self.options.recompute is Recompute.NONE and self.params.step is None:
            return plan
        stages = ordered.decode_stages(named, self.problem, self.params, found)
        if self.options.recompute is Recompute.LAYERS:
            plan = replace(plan, again=ordered.decode_again(named, self.problem, self.params))
        return with_recompute(self.instance, replace(plan, stages=stages), self.options)

    def solve(
        self,
        run: Run,
        settings: Settings,
        take: Callable[[Plan], None],
        *,
        start: IntArray | None = None,
        take_bound: Callable[[float | None], None] | None = None,
    ) -> Solution:
        """Solve the program and hand on its plans and bounds; ``start`` has the device of each item."""
        point = None
        if start is not None:
            point = self.program.point(self.formulation.encode(start, self.problem, self.params))
        return highs.solve(
            self.program,
            run,
            settings,
            start=point,
            on_incumbent=lambda values: take(self.plan(values)),
            on_progress=None if take_bound is None else lambda _, bound, __: take_bound(bound),
        )
