"""Which devices of a plan have to recompute their activations."""

from __future__ import annotations

from dataclasses import replace

from placer.instance.instance import Instance
from placer.options import Options, Recompute
from placer.plans.evaluate import device_memory, stage_order
from placer.plans.in_flight import in_flight
from placer.plans.plan import Plan
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["with_recompute"]


def with_recompute(instance: Instance, plan: Plan, options: Options) -> Plan:
    """Return a throughput plan in which those devices recompute that must, under its order of stages.

    Recomputing only costs time: with ``auto``, a device does so only where its activations do not fit.
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
    stages = plan.stages or stage_order(instance, replace(plan, recompute=()), flights)
    memory = device_memory(instance, replace(plan, recompute=()), flights, stages).total_bytes
    over = [
        d for d in sorted(used) if memory[d] > instance.devices[d].memory_limit_bytes * (1 + MEMORY_TOLERANCE)
    ]
    return replace(plan, stages=stages, recompute=tuple(over))
