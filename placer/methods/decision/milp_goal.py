"""Objectives other than time by the throughput programs, which then keep the time within a limit.

The program is built for plans no worse than the best one known, whose value is the unit of its objective;
when a much better one is found it is built again, so that the margin of the solver's bound stays small.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from formulations.throughput import free as throughput_free
from formulations.throughput import ordered as throughput_ordered
from formulations.throughput.goals import Goal, GoalName
from formulations.throughput.shared import TIME_UNIT, UPPER_SLACK, ThroughputParams
from formulations.throughput.stage_memory import MEMORY_UNIT
from placer.arrays import FloatArray
from placer.instance.instance import Instance
from placer.methods.decision.within import within
from placer.methods.milp.milp import COARSE
from placer.methods.starts.timeless import timeless
from placer.objectives import OBJECTIVES
from placer.objectives.cost import prices
from placer.options import Communication, Options
from placer.plans.in_flight import left_in_flight
from placer.plans.recompute import with_recompute
from placer.plans.status import Stop
from placer.reductions.kinds import kinds_of
from placer.reductions.problem import Problem, contract
from placer.reductions.throughput_merges import merge_directions
from placer.reductions.windows import windows
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run
from placer.solvers import highs
from placer.solvers.solution import STOPS, Settings, Solution, Status
from placer.tolerances import BOUND_MARGIN, EQUAL, FEASIBILITY

__all__ = ["solve"]

ROUNDING = 1e-6
"""What the solver's tolerances may take off a value, relatively: no device recomputes for less."""
BETTER = 0.97
"""The program is built again when it finds a plan with at most this share of the known value."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Find a plan of least value whose samples take no longer than allowed, and a bound.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``; an objective for pipelines other than time.
    """
    search = _Search(instance, options, run)
    best = search.best
    if run.start is not None:
        best.offer(run.start, "start")
    else:
        first = within(instance, options, run)
        if first.plan is None:
            return Outcome(Stop.INFEASIBLE if first.none else first.stop, message=first.message)
        best.offer(first.plan, "milp")
    stop: Stop | None = search.stopped()
    while stop is None:
        before = best.value
        solution = search.round()
        stop = search.stopped()
        if best.value > BETTER * before:
            stop = stop or STOPS.get(solution.status, Stop.FINISHED)
    return best.outcome(Stop.FINISHED if stop is Stop.INFEASIBLE else stop, "", search.stats)


@dataclass
class _Search:
    """The rounds of one solve, in the unit of the objective."""

    instance: Instance
    options: Options
    run: Run
    stats: dict[str, float | int | str] = field(default_factory=lambda: {"nodes": 0, "rounds": 0})

    def __post_init__(self) -> None:
        self.best = Incumbent(self.instance, self.options, self.run)

    def stopped(self) -> Stop | None:
        """Whether to stop before another round, and why."""
        closed = self.best.is_within(max(self.options.gap, EQUAL))
        return Stop.FINISHED if closed else self.run.stopped()

    def take_bound(self, bound: float | None, unit: float) -> None:
        """Take a bound of the program, less its margin."""
        if bound is not None:
            self.best.raise_bound((bound / MEMORY_UNIT - BOUND_MARGIN) * unit, "milp")

    def goal(self, problem: Problem) -> Goal:
        """Return what the program minimises, in which the value of the best plan is `MEMORY_UNIT`."""
        name = GoalName(self.options.objective.value)
        if name is not GoalName.COST:
            return Goal(name)
        first = [int(devices[0]) for devices in kinds_of(problem).devices]
        price = prices(self.instance)[first] / self.best.value * MEMORY_UNIT
        return Goal(name, price=price, high=TIME_UNIT * (1 + UPPER_SLACK))

    def problem(self) -> Problem:
        """Contract the instance, as far as plans no worse than the best one are concerned."""
        options = self.options
        tight = OBJECTIVES[options.objective].tightened(self.instance, self.best.value)
        problem = contract(
            tight if options.max_ms is not None else timeless(tight),
            contiguous=options.contiguous,
            keep_producers=options.communication is Communication.DUPLEX,
        )
        return merge_directions(problem, options.schedule, options.communication)

    def round(self) -> Solution:
        """Build the program for plans no worse than the best one, and solve it from there."""
        options, problem, unit = self.options, self.problem(), self.best.value
        plan = self.best.plan
        assert plan is not None
        formulation = throughput_ordered if options.contiguous else throughput_free
        params = ThroughputParams(
            schedule=options.schedule,
            communication=options.communication,
            unit_ms=options.max_ms or 1.0,
            upper_bound_ms=options.max_ms,
            windows=windows(problem, kinds_of(problem), options.max_ms) if options.contiguous else None,
            flights=left_in_flight(self.instance, options),
            recompute=options.recompute,
            start=plan,
            goal=self.goal(problem),
        )
        program = formulation.build(problem, params)
        self.stats.update(columns=program.columns, rows=program.rows, integers=int(program.integer.sum()))

        def on_incumbent(values: FloatArray) -> None:
            named = program.named(values)
            found = formulation.decode(named, problem, params)
            read = problem.plan(found)
            if options.contiguous:
                stages = throughput_ordered.decode_stages(named, problem, params, found)
                value = program.objective(values) / MEMORY_UNIT * unit * (1 + ROUNDING)
                tight = OBJECTIVES[options.objective].tightened(self.instance, value)
                read = with_recompute(tight, replace(read, stages=stages), options)
            self.best.offer(read, "milp")

        solution = highs.solve(
            program,
            self.run,
            Settings(
                gap=max(0.0, options.gap - 2 * BOUND_MARGIN / COARSE),
                threads=options.threads,
                seed=options.seed,
                memory_limit_mb=options.memory_limit_mb,
                feasibility=FEASIBILITY,
                confirm=True,
            ),
            start=program.point(formulation.encode(problem.start(plan), problem, params)),
            on_incumbent=on_incumbent,
            on_progress=lambda _, bound, nodes: self.take_bound(bound, unit),
        )
        if solution.values is not None:
            on_incumbent(solution.values)
        if solution.status not in (Status.FAILED, Status.INFEASIBLE):
            self.take_bound(solution.bound, unit)
        self.stats["nodes"] = int(self.stats["nodes"]) + solution.nodes
        self.stats["rounds"] = int(self.stats["rounds"]) + 1
        return solution
