"""The search among all choices: those of the least bound first, until no other can be better.

A choice has a bound from its work alone at first (`least_step_ms`).  When it is its turn its step is solved
(`placer.objectives.step`), which brings a plan and a better bound.  The bound of all choices is the least.
"""

from __future__ import annotations

import dataclasses
import heapq
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from placer.arrays import FloatArray
from placer.errors import InputError, VerificationError
from placer.imports.catalogue import Cluster
from placer.instance.instance import Instance
from placer.methods import variants
from placer.methods.registry import load_method
from placer.options import Objective, Options
from placer.plans.check import plan_of
from placer.plans.evaluate import plan_loads
from placer.plans.in_flight import settled
from placer.plans.result import Result, gap_of
from placer.plans.status import Stop
from placer.search.run import Run
from placer.simulation import simulate
from placer.solving.to_result import to_result
from placer.studies.training.choice_bounds import least_step_ms
from placer.studies.training.choice_costs import Base, StepCosts, step_costs
from placer.studies.training.groups import degrees_within, grouped
from placer.studies.training.training_choices import Choice, TrainingRequest, choices
from placer.studies.training.training_plan import TrainingPlan, Tried
from placer.tolerances import EQUAL

__all__ = ["Progress", "Source", "plan_training"]

SOLVER_GAP = 1e-3
"""Gap that each step is solved to."""
STOPPED = "stopped before it was proven"
"""Note of a choice that is solved again when the search goes on."""
SHARE = 0.5
"""Share of the time that is left which a single step may take."""
VIRTUAL_S = 1.0
"""Counted seconds for a step with virtual stages: its first plans come within one, and proofs seldom do."""


class Source(Protocol):
    """A model whose costs are known for several microbatches and degrees."""

    name: str
    notes: tuple[str, ...]

    def can_split(self, shards: int) -> bool:
        """Whether so many devices can split its nodes."""

    def base(self, microbatch: int, shards: int) -> tuple[Instance, FloatArray]:
        """Return the model as each of the devices that split it has it, and what they sum up, by node."""


@dataclass(frozen=True)
class Progress:
    """State of the search, for whoever watches it."""

    seconds: float
    solved: int
    left: int
    choice: str
    step_ms: float | None
    bound_ms: float | None


def plan_training(
    source: Source,
    cluster: Cluster,
    request: TrainingRequest,
    *,
    time_limit: float | None = None,
    known: tuple[Tried, ...] = (),
    best: tuple[Instance, Result] | None = None,
    on_tried: Callable[[Tried, tuple[Instance, Result] | None], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    interrupt: threading.Event | None = None,
) -> TrainingPlan:
    """Find the fastest way to train a model on a cluster, and a bound on all ways that are allowed.

    Parameters
    ----------
    source
        The model.
    cluster
        The devices.
    request
        What is asked for.
    time_limit
        Seconds after which the best plan is returned; None for no limit.
    known, best
        What an earlier search with the same request tried, and its best instance and result.
    on_tried
        Called with each choice that was solved, and its plan if it is the best one so far.
    on_progress
        Called now and then.
    interrupt
        Set it to stop and keep the best plan.

    Raises
    ------
    UsageError
        When the request does not fit the model or the cluster.
    InputError
        When the model cannot be planned.
    """
    search = _Search(source, cluster, request, time_limit, interrupt or threading.Event())
    search.on_tried, search.on_progress = on_tried, on_progress
    search.best = best
    search.resume(known)
    search.run()
    return search.plan()


@dataclass
class _Search:
    source: Source
    cluster: Cluster
    request: TrainingRequest
    time_limit: float | None
    interrupt: threading.Event
    on_tried: Callable[[Tried, tuple[Instance, Result] | None], None] | None = None
    on_progress: Callable[[Progress], None] | None = None
    best: tuple[Instance, Result] | None = None
    tried: dict[Choice, Tried] = field(default_factory=dict)
    waiting: list[tuple[float, Choice]] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    stopped: str = "finished"

    def __post_init__(self) -> None:
        self.began = time.perf_counter()
        degrees = [t for t in degrees_within(self.cluster) if self.source.can_split(t)]
        devices = sum(cls.count for cls in self.cluster.classes if not cls.is_host)
        self.all, excluded = choices(self.request, devices, degrees, servers=len(self.cluster.servers) > 1)
        self.excluded += excluded

    # -- state ----------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    @property
    def step_ms(self) -> float:
        """Time of the best plan; inf without one."""
        return min((t.step_ms for t in self.tried.values() if t.step_ms is not None), default=np.inf)

    @property
    def bound_ms(self) -> float:
        """What no choice can beat; inf where none has a plan."""
        solved = [np.inf if t.bound_ms is None else t.bound_ms for t in self.tried.values()]
        return min([self.step_ms, *solved, *(bound for bound, _ in self.waiting)])

    def resume(self, known: tuple[Tried, ...]) -> None:
        """Take what is known, and bound the rest."""
        by_choice = {_choice_of(t): t for t in known}
        for choice in self.all:
            if choice in by_choice:
                self.tried[choice] = row = by_choice[choice]
                if row.note == STOPPED:
                    heapq.heappush(self.waiting, (row.bound_ms or 0.0, choice))
                continue
            made = self._made(choice)
            if isinstance(made, str):
                self.tried[choice] = self._row(choice, 0, None, note=made)
                continue
            bound = least_step_ms(made, self.request)
            if bound == np.inf:
                note = "weights and optimizer state do not fit"
                self.tried[choice] = self._row(choice, len(made.instance.devices), None, note=note)
            else:
                heapq.heappush(self.waiting, (bound, choice))

    def _made(self, choice: Choice) -> StepCosts | str:
        groups = grouped(self.cluster, choice)
        if isinstance(groups, str):
            return groups
        whole, _ = self.source.base(choice.microbatch, 1)
        each, sums = self.source.base(choice.microbatch, choice.shards)
        if choice.virtual_stages > 1 and choice.virtual_stages * groups.count > (~whole.backward).sum():
            return "more virtual stages than nodes"
        if choice.virtual_stages > 1 and choice.microbatches(self.request.global_batch) % groups.count:
            return "the microbatches are no multiple of the stages"
        return step_costs(Base(whole, each, sums), self.cluster, groups, choice, self.request)

    def _row(self, choice: Choice, stages: int, bound: float | None, **more: Any) -> Tried:
        return Tried(
            microbatch=choice.microbatch,
            replicas=choice.replicas,
            shards=choice.shards,
            apart=choice.apart,
            zero=choice.zero,
            virtual_stages=choice.virtual_stages,
            microbatches=choice.microbatches(self.request.global_batch),
            stages=stages,
            bound_ms=bound,
            **more,
        )

    # -- search ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Solve choices until the gap is proven, and then some more for the table."""
        more = self.request.runners_up
        while self.waiting:
            if self.interrupt.is_set():
                self.stopped = "interrupted"
                return
            left = np.inf if self.time_limit is None else self.time_limit - self.seconds
            if left <= 0:
                self.stopped = "time limit"
                return
            proven = self.bound_ms >= self.step_ms * (1 - max(self.request.gap, EQUAL))
            if proven:
                if more <= 0:
                    return
                more -= 1
            self._solve(self._next(proven=proven), left)

    def _next(self, *, proven: bool) -> tuple[float, Choice]:
        """Take the choice of the least bound; once all is proven, one of other degrees if there is one.

        Plain pipelines come first as long as one of them may be better, since they are solved faster; then
        virtual stages of those that were the best.
        """
        if proven:
            seen = {(c.replicas, c.shards) for c, t in self.tried.items() if t.step_ms is not None}
            for entry in sorted(self.waiting, key=lambda e: (e[1].virtual_stages > 1, e)):
                if (entry[1].replicas, entry[1].shards) not in seen:
                    self.waiting.remove(entry)
                    heapq.heapify(self.waiting)
                    return entry
        first = min([entry for entry in self.waiting if self._counts(entry)] or self.waiting, key=self._turn)
        self.waiting.remove(first)
        heapq.heapify(self.waiting)
        return first

    def _counts(self, entry: tuple[float, Choice]) -> bool:
        """Whether a choice may be better than the best plan by more than the gap, or just better and is near.

        Near are virtual stages of plain pipelines that are about as fast as the best plan.
        """
        bound, choice = entry
        gap = max(self.request.gap, EQUAL)
        near = choice.virtual_stages > 1 and self._plain_ms(choice) <= self.step_ms * (1 + gap)
        return bound < self.step_ms * (1.0 if near else 1 - gap)

    def _plain_ms(self, choice: Choice) -> float:
        """Time of a step of the plain pipeline with the same degrees; inf where it has no plan."""
        plain = self.tried.get(dataclasses.replace(choice, virtual_stages=1))
        return np.inf if plain is None or plain.step_ms is None else plain.step_ms

    def _turn(self, entry: tuple[float, Choice]) -> tuple[bool, float, float, Choice]:
        """Say when it is the turn of a choice that may be better than the best plan."""
        bound, choice = entry
        is_virtual = choice.virtual_stages > 1
        return is_virtual, self._plain_ms(choice) if is_virtual else 0.0, bound, choice

    def _solve(self, entry: tuple[float, Choice], left: float) -> None:
        bound, choice = entry
        made = self._made(choice)
        assert isinstance(made, StepCosts)
        if self.on_progress is not None:
            step, least = (None if x == np.inf else x for x in (self.step_ms, min(self.bound_ms, bound)))
            self.on_progress(
                Progress(self.seconds, len(self.tried), len(self.waiting), choice.name, step, least)
            )
        seconds = None if left == np.inf else max(0.1, SHARE * left)
        work = VIRTUAL_S if choice.virtual_stages > 1 else None
        options = _options(self.request, choice, seconds)
        try:
            result = _solved(made.instance, options, work, self.interrupt)
        except InputError as error:
            self.tried[choice] = self._row(choice, len(made.instance.devices), None, note=str(error))
            return
        if result.assignment is None and result.status != "infeasible":  # it was stopped: it stays to be done
            if choice.virtual_stages > 1:  # again another time: a longer search may find a plan
                least = max(bound, (result.bound or 0.0) + made.least_once_ms)
                self.tried[choice] = self._row(choice, len(made.instance.devices), least, note=STOPPED)
                return
            heapq.heappush(self.waiting, (bound, choice))
            return
        row = self._judged(made, result, bound)
        is_best = row.step_ms is not None and row.step_ms < self.step_ms
        self.tried[choice] = row
        if is_best:
            self.best = made.instance, result
        if self.on_tried is not None:
            self.on_tried(row, self.best if is_best else None)

    def _judged(self, made: StepCosts, result: Result, bound: float) -> Tried:
        """Add what happens once per step; both parts of the time are computed from the plan alone."""
        if result.assignment is None:
            return self._row(made.choice, len(made.instance.devices), None, note=result.message)
        assert result.objective is not None
        plan = plan_of(made.instance, result)
        once = made.once_of(plan.device)
        step = result.objective + once
        least = max(bound, (result.bound or 0.0) + made.least_once_ms)
        if least > step * (1 + EQUAL):
            raise VerificationError(f"{made.choice.name}: the bound {least} is above the step {step}")
        load = plan_loads(made.instance, plan).load_ms(self.request.communication)
        count = made.choice.microbatches(self.request.global_batch)
        used = {d.name: d for d in result.devices if d.nodes}
        held = [stage.nodes for stage in result.virtual_stages or ()]
        held = held or [used[name].nodes for name in result.stages or used]
        ahead = {v for v, back in zip(made.instance.ids, made.instance.backward, strict=True) if not back}
        return self._row(
            made.choice,
            len(used),
            min(least, step),
            step_ms=step,
            once_ms=once,
            samples_per_s=1e3 * self.request.global_batch / step,
            bubble=max(0.0, 1.0 - count * float(load[np.unique(plan.device)].mean()) / step),
            peak_memory_bytes=max(d.memory_bytes for d in used.values()),
            recompute=len({*plan.device[plan.computed_again].tolist()}),
            note=STOPPED if result.stop in (Stop.TIME_LIMIT, Stop.INTERRUPTED) else "",
            nodes=tuple(len(ahead.intersection(nodes)) for nodes in held),
        )

    # -- outcome --------------------------------------------------------------------------------

    def plan(self) -> TrainingPlan:
        """Write down what was found, the best plan simulated."""
        rows = sorted(self.tried.values(), key=lambda t: (t.step_ms or np.inf, t.bound_ms or np.inf))
        for least, choice in sorted(self.waiting):
            if choice in self.tried:
                continue
            groups = grouped(self.cluster, choice)
            assert not isinstance(groups, str)
            rows.append(self._row(choice, groups.count, least, note="not solved"))
        step, bound = (None if x == np.inf else float(x) for x in (self.step_ms, self.bound_ms))
        simulated = None
        if self.best is not None and step is not None:
            instance, result = self.best
            simulated = simulate(instance, result).objective_ms + (rows[0].once_ms or 0.0)
        return TrainingPlan(
            model=self.source.name,
            devices=self.cluster.name,
            request=self.request,
            step_ms=step,
            bound_ms=bound,
            gap=gap_of(step, bound),
            simulated_ms=simulated,
            tried=tuple(rows),
            considered=len(self.all),
            excluded=tuple(self.excluded),
            notes=self.source.notes,
            stopped=self.stopped,
            seconds=self.seconds,
            best=self.best,
        )


def _solved(instance: Instance, options: Options, work: float | None, interrupt: threading.Event) -> Result:
    """Solve a step and verify its plan, without advice: most choices only have to be left behind."""
    run = Run(time_limit=options.time_limit, work_limit=work, interrupt=interrupt)
    method = load_method(options.method, options.objective)
    outcome = variants.solve(method, settled(instance, options), options, run)
    return to_result(instance, instance, options, outcome, run)


def _choice_of(row: Tried) -> Choice:
    return Choice(row.microbatch, row.replicas, row.shards, row.apart, row.zero, row.virtual_stages)


def _options(request: TrainingRequest, choice: Choice, seconds: float | None) -> Options:
    return Options(
        objective=Objective.STEP,
        schedule=request.schedule,
        communication=request.communication,
        recompute=request.recompute,
        virtual_stages=choice.virtual_stages,
        gap=min(SOLVER_GAP, request.gap),
        time_limit=seconds,
    )
