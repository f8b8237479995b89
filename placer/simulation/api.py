"""From a plan to its simulation."""

from __future__ import annotations

import numpy as np

from placer.arrays import IntArray
from placer.errors import InputError, UsageError
from placer.instance import overrides
from placer.instance.fingerprint import fingerprint
from placer.instance.instance import Instance
from placer.options import Communication, Objective, Options, Schedule
from placer.plans.check import plan_of
from placer.plans.plan import Plan
from placer.plans.result import Result
from placer.simulation.engine import Stuck, Timeline, execute
from placer.simulation.latency_tasks import latency_program
from placer.simulation.outcome import Simulation
from placer.simulation.plan_costs import Placement, place
from placer.simulation.service_order import in_line, make_program
from placer.simulation.slices import Slicer, critical_path
from placer.simulation.stages import cut
from placer.simulation.steady import settled
from placer.simulation.tasks import make_tasks
from placer.simulation.usage import device_uses, fill_and_drain, latencies, slots

__all__ = ["simulate"]

MAX_SAMPLES = 100_000


def simulate(
    instance: Instance,
    plan: Plan | Result,
    options: Options | None = None,
    *,
    samples: int | None = None,
    microbatches: int | None = None,
) -> Simulation:
    """Run a plan event by event and measure it; nothing is taken from the evaluation of its objective.

    Parameters
    ----------
    instance
        The instance that the plan is for.
    plan
        A plan, or a result that holds one.  A plan with pieces is run for a single sample.
    options
        Those of the result, or the defaults; their overrides hold here as well.
    samples
        Inference: length of the timeline; by default long enough to reach the steady state.
    microbatches
        Training: the timeline is one optimizer step of so many microbatches; by default as many as the
        options or the instance say.

    Returns
    -------
    Simulation

    Raises
    ------
    InputError
        When the plan does not fit the instance, or its pieces wait for each other.
    UsageError
        When ``samples`` or ``microbatches`` do not fit the plan, or an override of the options the instance.
    """
    if isinstance(plan, Result):
        options = plan.options if options is None else options
        instance, plan = _unpacked(instance, plan, options)
    else:
        options = Options() if options is None else options
        instance = overrides.apply(instance, options)
    count = _count(instance, plan, samples, microbatches)
    if plan.piece is not None:
        return _single_sample(instance, plan, plan.piece)
    return _pipeline(instance, plan, options, count)


def _unpacked(instance: Instance, result: Result, options: Options) -> tuple[Instance, Plan]:
    """Plan of a result, and the instance as the plan sees it."""
    if result.instance.sha256 != fingerprint(instance):
        raise InputError(f"is about another instance ({result.instance.name!r})", place="result")
    instance = overrides.apply(instance, options)
    try:
        return instance, plan_of(instance, result)
    except ValueError as error:
        raise InputError(str(error), place="result") from None


def _count(instance: Instance, plan: Plan, samples: int | None, microbatches: int | None) -> int | None:
    """Length of the timeline that was asked for."""
    for name, value in (("samples", samples), ("microbatches", microbatches)):
        if value is not None and not 1 <= value <= MAX_SAMPLES:
            raise UsageError(f"{name} must be in 1..{MAX_SAMPLES}, got {value}")
    if plan.piece is not None and (samples is not None or microbatches is not None):
        raise UsageError("a latency plan is simulated for a single sample")
    if instance.is_training and samples is not None:
        raise UsageError("training runs microbatches: say how many with microbatches, not samples")
    if not instance.is_training and microbatches is not None:
        raise UsageError("microbatches apply to training: there is no backward pass, so use samples")
    return microbatches if samples is None else samples


def _pipeline(instance: Instance, plan: Plan, options: Options, count: int | None) -> Simulation:
    """Run samples or microbatches through a throughput plan."""
    chunks = 1 if plan.chunk is None else options.virtual_stages
    chunk = None if plan.chunk is None else plan.chunk.tolist()
    placement = place(instance, plan.device.tolist(), plan.teams, chunk, chunks)
    recomputed = frozenset(np.flatnonzero(plan.computed_again).tolist())
    tasks = make_tasks(placement, cut(placement, recomputed), options.communication)
    objective, stages = Objective.THROUGHPUT, plan.stages or ()
    sync_ms = 0.0
    if options.objective is Objective.STEP:
        objective = Objective.STEP
        per_microbatch = max(map(placement.synchronisation_ms, placement.teams), default=0.0)
        sync_ms = per_microbatch * instance.training.microbatches
        tasks = [task.without_sync() for task in tasks]
        if not instance.is_training:
            count = count or options.samples or 1
        if options.communication is Communication.SEQUENTIAL and stages:
            tasks = in_line(tasks, stages, chunks)
    program = make_program(tasks, options.communication, options.schedule, stages, chunks)
    steady_ms, periodic, timeline = settled(program)
    if count is None and instance.is_training:
        count = instance.training.microbatches
    if count is not None and count % program.group:
        raise UsageError(
            f"microbatches must be a multiple of {program.group}, the devices of virtual stages, got {count}"
        )
    if count is not None:
        timeline = execute(program, count)
    return _measured(
        placement,
        timeline,
        {},
        recomputed=recomputed,
        objective=objective,
        communication=options.communication,
        schedule=options.schedule if instance.is_training else None,
        steady_ms=steady_ms,
        periodic=periodic,
        sync_ms=sync_ms,
    )


def _single_sample(instance: Instance, plan: Plan, piece: IntArray) -> Simulation:
    """Run one sample through a latency plan."""
    placement = place(instance, plan.device.tolist())
    program = latency_program(placement, piece.tolist())
    try:
        timeline = execute(program, 1)
    except Stuck as stuck:
        nodes = sorted(v for t in stuck.tasks for v in program.tasks[t].computed)
        names = [repr(instance.ids[v]) for v in nodes]
        shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        raise InputError(f"pieces wait for each other and never start: {shown}", place="plan") from None
    return _measured(
        placement,
        timeline,
        slots(timeline),
        recomputed=frozenset(),
        objective=Objective.LATENCY,
        communication=Communication.SEQUENTIAL,
        schedule=None,
        steady_ms=None,
        periodic=True,
    )


def _measured(
    placement: Placement,
    timeline: Timeline,
    slot: dict[int, int],
    *,
    recomputed: frozenset[int],
    objective: Objective,
    communication: Communication,
    schedule: Schedule | None,
    steady_ms: float | None,
    periodic: bool,
    sync_ms: float = 0.0,
) -> Simulation:
    slicer = Slicer(placement, timeline, slot)
    fill, drain = fill_and_drain(timeline)
    return Simulation(
        objective=objective,
        communication=communication,
        schedule=schedule,
        samples=timeline.samples,
        steady_ms=steady_ms,
        periodic=periodic,
        makespan_ms=timeline.makespan_ms,
        sync_ms=sync_ms,
        fill_ms=fill,
        drain_ms=drain,
        latency_ms=latencies(timeline),
        devices=device_uses(placement, timeline, steady_ms, recomputed),
        critical_path=critical_path(slicer),
        slicer=slicer,
    )
