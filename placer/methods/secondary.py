"""Secondary goals: of all plans that are good enough, the one that moves least or is balanced best.

The plan found for the objective is improved goal by goal with the same integer programs, each goal capped at
what was reached before the next one is minimised.  Goals are measured from the instance and the plan alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from formulations.throughput.goals import Cap, Goal, GoalName
from formulations.throughput.shared import TIME_UNIT, ThroughputParams
from placer.arrays import FloatArray, IntArray
from placer.instance.instance import Instance
from placer.methods.chain_balance import best_balance
from placer.methods.milp.throughput_program import ThroughputProgram, contracted
from placer.options import Options
from placer.plans.evaluate import plan_loads
from placer.plans.figures import objective_ms
from placer.plans.in_flight import left_in_flight
from placer.plans.plan import Plan
from placer.plans.recompute import with_recompute
from placer.plans.verify import violations
from placer.reductions.kinds import kinds_of
from placer.reductions.problem import Problem
from placer.reductions.windows import windows
from placer.search.run import Outcome, Run
from placer.solvers.solution import Settings, Status
from placer.tolerances import EQUAL

__all__ = ["improve", "measure"]

logger = logging.getLogger(__name__)

WORDS = {"changes": "nodes moved", "transfers": "ms of transfers", "devices": "devices in use"}
"""What users call the goals."""
WORK_S = 60.0
"""For all goals together when the options set no limit, in nominal seconds."""
NODES = 5_000
"""Branch-and-bound nodes per goal, so that equal inputs give equal plans on slow and fast machines."""
SIZE = 300_000
"""Nodes x devices beyond which no program is built."""
TOLERANCE = 1e-7
"""Relative tolerance of the solver on what earlier goals reached."""
PROVEN = 1e-6
"""Relative distance to its bound at which a goal is proven; goals far below the objective stay open."""


def improve(instance: Instance, options: Options, run: Run, outcome: Outcome) -> Outcome:
    """Improve the plan of an outcome by the secondary goals that the options ask for.

    Parameters
    ----------
    instance, options, run
        As for a method; the objective is throughput.
    outcome
        What the method found; without a plan it comes back as it is.

    Returns
    -------
    Outcome
        Its plan has an objective of at most ``1 + options.slack`` times the given one; the bound stays.
        ``stats`` say for each goal what it was before and after, and whether that is proven.
    """
    if outcome.plan is None:
        return outcome
    chase = _Chase(instance, options, run, outcome.plan)
    chase.pursue()
    told = [f"{WORDS[name]} {value}" for name, value in chase.stats.items() if name in WORDS]
    if options.balance:
        told.append(_on_balance(chase.stats))
    message = "; ".join(text for text in (outcome.message, *told) if text)
    return replace(outcome, plan=chase.plan, message=message, stats={**outcome.stats, **chase.stats})


def _on_balance(stats: Mapping[str, float | int | str]) -> str:
    """Say whether the balance is proven, and if not, from which load on it may be better."""
    open_ranks = [
        int(name.removeprefix("balance_"))
        for name, value in stats.items()
        if name.startswith("balance_") and "not proven" in str(value)
    ]
    if not open_ranks:
        return "best balance proven"
    proven = min(open_ranks) - 1
    sure = f"proven for the {proven} largest loads" if proven > 1 else "proven for the largest load"
    return f"best balance not proven ({sure if proven else 'for no load'})"


def measure(instance: Instance, plan: Plan, options: Options, goal: Goal) -> float:
    """Value of a goal under a plan: ms for balance and transfers, else a count."""
    device = plan.device
    if goal.name is GoalName.DEVICES:
        return float(len(set(device.tolist())))
    if goal.name is GoalName.CHANGES:
        names = [d.name for d in instance.devices]
        known = [options.near.get(v) for v in instance.ids]
        return float(sum(names[d] != name for d, name in zip(device.tolist(), known, strict=True)))
    loads = plan_loads(instance, plan)
    if goal.name is GoalName.TRANSFERS:
        return float(loads.receive_ms.sum() + loads.send_ms.sum())
    falling = np.sort(loads.load_ms(options.communication))[::-1]
    return float(falling[: goal.largest].sum())


def _least(goal: Goal, bound: float | None, params: ThroughputParams) -> float:
    """Return the value up to which a bound of the program proves a goal."""
    if bound is None:
        return 0.0
    if goal.name in (GoalName.BALANCE, GoalName.TRANSFERS):
        return bound / TIME_UNIT * params.unit_ms * (1 + PROVEN)
    return float(np.ceil(bound - PROVEN))


@dataclass
class _Chase:
    """The best plan so far, and what the goals before the next one reached."""

    instance: Instance
    options: Options
    run: Run
    plan: Plan
    exact: Plan | None = None
    """The plan that is best by all goals, where an exact program found it."""
    caps: list[Cap] = field(default_factory=list)
    stats: dict[str, float | int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.problem = contracted(self.instance, self.options, contiguous=self.options.contiguous)
        self.best_ms = self._objective_ms(self.plan)
        self.limit_ms = self.best_ms * (1 + self.options.slack)

    def pursue(self) -> None:
        """Minimise one goal after the other."""
        instance, options = self.instance, self.options
        part = self.run.part(work=None if self.run.planned is not None else WORK_S, quiet=True)
        if options.near:
            self._rename()
            moved = self._moved()
            self._minimise(Goal(GoalName.CHANGES, moved=moved), replace(self.problem, distinct=True), part)
        if options.balance:
            self._balance_chain(part)
            for k in range(1, len(instance.devices) + 1):
                everything = self._total_load_ms() * (1 + options.slack)
                if k > 1 and self.caps[-1].value >= everything:
                    # No load is left beyond the k - 1 largest ones, and none may come back.
                    self.caps.append(Cap(Goal(GoalName.BALANCE, len(instance.devices)), everything))
                    break
                self._minimise(Goal(GoalName.BALANCE, k), self._problem(), part)
            self._minimise(Goal(GoalName.TRANSFERS), self._problem(), part)
            self._minimise(Goal(GoalName.DEVICES), self._problem(), part)

    def _balance_chain(self, run: Run) -> None:
        """Take the best balanced plan where the graph is a chain and nothing but balance is asked for."""
        if self.options.near or self.options.slack:
            return
        found = best_balance(self.instance, self.options, run, self.problem, self.limit_ms)
        if found is not None and not violations(self.instance, found, self.options):
            self.exact = found if self._objective_ms(found) <= self.limit_ms * (1 + EQUAL) else None

    def _problem(self) -> Problem:
        """Return the problem; its devices are told apart once an earlier plan matters."""
        return replace(self.problem, distinct=True) if self.options.near else self.problem

    def _minimise(self, goal: Goal, problem: Problem, run: Run) -> None:
        """Minimise one goal under the caps, keep the plan that does, and cap the goal."""
        before = measure(self.instance, self.plan, self.options, goal)
        proven = before == 0.0 or self.exact is not None
        self.plan = self.exact or self.plan
        if not proven and run.stopped() is None and self.instance.n * len(self.instance.devices) <= SIZE:
            proven = self._solve(goal, problem, run)
        after = measure(self.instance, self.plan, self.options, goal)
        self.caps.append(Cap(goal, after * (1 + self.options.slack)))
        name = f"{goal.name}_{goal.largest}" if goal.name is GoalName.BALANCE else str(goal.name)
        self.stats[name] = f"{before:.10g} -> {after:.10g} ({'proven' if proven else 'not proven'})"

    def _solve(self, goal: Goal, problem: Problem, run: Run) -> bool:
        """Solve the program of a goal; whether its optimum is proven."""
        params = ThroughputParams(
            schedule=self.options.schedule,
            communication=self.options.communication,
            unit_ms=self.best_ms or 1.0,
            upper_bound_ms=self.limit_ms,
            windows=windows(problem, kinds_of(problem), self.limit_ms) if self.options.contiguous else None,
            flights=left_in_flight(self.instance, self.options),
            recompute=self.options.recompute,
            start=self.plan,
            goal=goal,
            caps=tuple(Cap(cap.goal, cap.value * (1 + TOLERANCE)) for cap in self.caps),
        )
        settings = Settings(
            gap=TOLERANCE,
            threads=self.options.threads,
            seed=self.options.seed,
            node_limit=NODES,
            memory_limit_mb=self.options.memory_limit_mb,
        )
        solution = ThroughputProgram(self.instance, self.options, problem, params).solve(
            run,
            settings,
            lambda plan: self._take(plan, goal),
            start=problem.start(self.plan),
        )
        # The solver's best may be a plan that holds within its tolerances only, which hides those that hold.
        held = measure(self.instance, self.plan, self.options, goal)
        return solution.status is Status.OPTIMAL and held <= _least(goal, solution.bound, params)

    def _take(self, plan: Plan, goal: Goal) -> None:
        """Keep a plan that holds, is good enough, keeps the caps and is better by the goal."""
        value = measure(self.instance, plan, self.options, goal)
        if value >= measure(self.instance, self.plan, self.options, goal) or self._objective_ms(plan) > (
            self.limit_ms * (1 + EQUAL)
        ):
            return
        for cap in self.caps:
            reached = measure(self.instance, plan, self.options, cap.goal)
            if reached > cap.value * (1 + 10 * TOLERANCE):
                return
        broken = violations(self.instance, plan, self.options)
        if broken:
            logger.info("plan dropped: %s", broken[0])
            return
        self.plan = plan

    def _objective_ms(self, plan: Plan) -> float:
        return objective_ms(self.instance, plan, self.options)

    def _total_load_ms(self) -> float:
        loads = plan_loads(self.instance, self.plan)
        return float(loads.load_ms(self.options.communication).sum())

    def _moved(self) -> FloatArray:
        """Nodes of each item that the earlier plan has elsewhere than on each device, by kind ``(N, K)``."""
        distinct = replace(self.problem, distinct=True)
        out = np.zeros((self.problem.size, len(self.instance.devices)))
        for kind, devices in enumerate(kinds_of(distinct).devices):
            name = self.instance.devices[int(devices[0])].name
            away = np.array([self.options.near.get(v) != name for v in self.instance.ids], dtype=np.float64)
            np.add.at(out[:, kind], self.problem.item, away)
        return out

    def _rename(self) -> None:
        """Exchange interchangeable devices so that most nodes stay where the earlier plan has them."""
        device = self.plan.device.copy()
        for devices in kinds_of(self.problem).devices:
            device = self._matched(device, devices)
        renamed = with_recompute(self.instance, Plan(device), self.options)
        if not violations(self.instance, renamed, self.options):
            self.plan = renamed

    def _matched(self, device: IntArray, devices: IntArray) -> IntArray:
        """Rename the devices of one kind by a matching of largest weight."""
        import networkx as nx  # takes long to import

        graph = nx.Graph()
        earlier = np.array(
            [self.instance.device_index.get(self.options.near.get(v, ""), -1) for v in self.instance.ids]
        )
        for new in devices.tolist():
            for old in devices.tolist():
                graph.add_edge(
                    ("new", new), ("old", old), weight=int(((device == new) & (earlier == old)).sum())
                )
        pairs = (sorted(pair) for pair in nx.max_weight_matching(graph, maxcardinality=True))
        names = {new[1]: old[1] for new, old in pairs}
        return np.array([names.get(d, d) for d in device.tolist()], dtype=np.int64)
