"""What each device does when: the simulated run of a plan, cut down to what a page can show."""

from __future__ import annotations

from dataclasses import dataclass

from placer.instance.instance import Instance
from placer.objectives import OBJECTIVES
from placer.options import Objective
from placer.plans.result import Result
from placer.simulation import Simulation, simulate
from placer.units import milliseconds

__all__ = ["Slice", "Timeline", "timeline"]

MOST_SLICES = 4000
"""Slices on a page; later ones are left out, and that is said."""
STEADY = 4
"""Samples shown beyond those that fill the pipeline once and drain it once."""
SAME = 1e-6
"""Relative difference between objective and simulated steady state that is rounding."""


@dataclass(frozen=True)
class Slice:
    """Something that a device does from ``start_ms`` to ``end_ms``.

    ``lane`` is ``compute``, ``receive`` or ``send``; ``label`` says what; ``slot`` tells apart what a host
    does at the same time.
    """

    device: str
    lane: str
    slot: int
    label: str
    start_ms: float
    end_ms: float


@dataclass(frozen=True)
class Timeline:
    """The slices in the order of their start, and what the simulation measured, in words."""

    slices: tuple[Slice, ...]
    caption: str


def timeline(instance: Instance, result: Result) -> Timeline:
    """Simulate a verified plan: a single sample for latency, else a few samples or microbatches.

    Parameters
    ----------
    instance
        The instance that the result is about.
    result
        A verified result with a plan.

    Returns
    -------
    Timeline
    """
    run = _run(instance, result)
    found = [
        Slice(
            s.device, s.lane.value, s.slot, _label(run, s.sample, s.direction, s.label), s.start_ms, s.end_ms
        )
        for s in run.slices
        if s.end_ms > s.start_ms
    ]
    left_out = len(found) - MOST_SLICES
    more = f" The last {left_out:,} slices are left out." if left_out > 0 else ""
    return Timeline(tuple(found[:MOST_SLICES]), _caption(run, result) + more)


def _run(instance: Instance, result: Result) -> Simulation:
    if not result.options.pipelined or result.options.objective is Objective.STEP:
        return simulate(instance, result)
    count = 2 * sum(bool(d.nodes) for d in result.devices) + STEADY
    if not instance.is_training:
        return simulate(instance, result, samples=count)
    wanted = result.options.microbatches or instance.training.microbatches
    return simulate(instance, result, microbatches=wanted if wanted > 1 else count)


def _label(run: Simulation, sample: int, direction: str, nodes: str) -> str:
    if run.steady_ms is None:
        return nodes
    what = f"sample {sample + 1}" if run.schedule is None else f"microbatch {sample + 1} {direction}"
    return f"{what}, {nodes}"


def _caption(run: Simulation, result: Result) -> str:
    if run.steady_ms is None:
        return f"One sample, simulated event by event: done after {milliseconds(run.makespan_ms)}."
    what, kind = "sample", f"A stream of {run.samples} samples"
    if run.schedule is not None:
        what, kind = "microbatch", f"An optimizer step of {run.samples} microbatches under {run.schedule}"
    text = (
        f"{kind}, simulated event by event: {milliseconds(run.makespan_ms)} in all, "
        f"{milliseconds(run.fill_ms)} to fill and {milliseconds(run.drain_ms)} to drain the pipeline. "
        f"A long stream takes {milliseconds(run.steady_ms)} per {what}"
    )
    if not OBJECTIVES[result.options.objective].is_time:
        return f"{text}."
    objective = result.objective or 0.0
    if result.options.objective is Objective.STEP:
        alike = abs(run.makespan_ms - objective) <= SAME * objective
        return f"{text}; the objective is {'the whole step' if alike else milliseconds(objective)}."
    if abs(run.steady_ms - objective) <= SAME * objective:
        return f"{text}, which is the objective."
    return f"{text}; the objective is {milliseconds(objective)}."
