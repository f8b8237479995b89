"""Which devices of a plan, or which of its nodes, have to recompute their activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from placer.arrays import FloatArray
from placer.instance.instance import Instance
from placer.instance.recompute_units import Units, units_of
from placer.options import Options, Recompute
from placer.plans.evaluate import device_memory, stage_order
from placer.plans.in_flight import in_flight
from placer.plans.plan import Plan
from placer.plans.recompute_choice import Choices, Output, fewest_recomputed
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["choices_of", "with_recompute"]


def with_recompute(instance: Instance, plan: Plan, options: Options) -> Plan:
    """Return a throughput plan in which those devices or nodes recompute that must, in its order of stages.

    Recomputing only costs time: with ``auto``, a device does so only where its activations do not fit, and
    with ``layers`` the units of a device that free enough in the least time (see `fewest_recomputed`).
    Without stages in the plan its order is the one that suits it best without recomputation.
    """
    if options.recompute is Recompute.NONE:
        return plan
    used = {d for d in set(plan.device.tolist()) if not instance.devices[d].is_host}
    if options.recompute is Recompute.ALL:
        return replace(plan, recompute=tuple(sorted(used)))
    if options.virtual_stages > 1 and plan.chunk is None:
        return plan
    flights = in_flight(instance, options)
    plain = replace(plan, recompute=(), again=())
    stages = plan.stages or stage_order(instance, plain, flights)
    memory = device_memory(instance, plain, flights, stages)
    limit = np.array([d.memory_limit_bytes for d in instance.devices]) * (1 + MEMORY_TOLERANCE)
    over = [d for d in sorted(used) if memory.total_bytes[d] > limit[d]]
    if options.recompute is Recompute.AUTO:
        return replace(plain, stages=stages, recompute=tuple(over))
    again: list[int] = []
    for d in over:
        need = float(memory.total_bytes[d] - limit[d])
        again += _fewest(instance, plan, d, int(memory.in_flight[d]), need)
    return replace(plain, stages=stages, again=tuple(sorted(again)))


def _fewest(instance: Instance, plan: Plan, d: int, flights: int, need: float) -> list[int]:
    """Nodes of a device that free so many bytes in the least time; all of them where none do."""
    cls, units = instance.classes[int(instance.device_class[d])], units_of(instance)
    mode = next((team.mode for team in plan.teams if team.devices[0] == d), cls.mode)
    times = np.where(plan.device == d, instance.compute_ms(cls, mode), 0.0)
    here = np.unique(units.of[plan.device == d]).tolist()
    choices = choices_of(
        units, here, units.again_ms(times), units.summed(instance.kept_bytes(mode)[1]), flights
    )
    given = {int(units.of[v]) for v in plan.again}
    found, _ = fewest_recomputed(choices, need, [i for i, g in enumerate(here) if g in given])
    chosen = here if found is None else [here[i] for i in found]
    return [v for g in chosen for v in units.members[g].tolist()]


def choices_of(
    units: Units, here: Sequence[int], again_ms: FloatArray, activation_bytes: FloatArray, flights: int
) -> Choices:
    """Return what the units of a device may free with so many microbatches in flight.

    Parameters
    ----------
    units, here
        All units, and those on the device, in rising order.
    again_ms, activation_bytes
        Of all units, ``(U,)``.
    flights
        Microbatches in flight.
    """
    place = {g: i for i, g in enumerate(here)}
    outputs = []
    for size, producer, readers in units.outputs:
        local = tuple(place[g] for g in readers if g in place)
        if local:
            outputs.append(Output(flights * size, place.get(producer, -1), local))
    freed = ((flights - 1) * activation_bytes[list(here)]).tolist()
    return Choices(again_ms[list(here)].tolist(), freed, outputs)
