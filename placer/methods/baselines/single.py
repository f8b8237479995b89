"""The baseline of no placement at all: everything on one device."""

from __future__ import annotations

import numpy as np

from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["solve"]


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Put all nodes on the best single device that may and can hold them."""
    total = float(instance.held_bytes.sum())
    best = Incumbent(instance, options, run)
    reasons: dict[str, str] = {}
    for device in instance.devices:
        closed = np.flatnonzero(~instance.allowed[:, device.index])
        if len(closed):
            reasons[device.name] = f"node {instance.ids[closed[0]]!r} may not or cannot run on it"
        elif total > device.memory_limit_bytes * (1 + MEMORY_TOLERANCE):
            reasons[device.name] = f"{total:.0f} bytes exceed its limit of {device.memory_limit_bytes:.0f}"
        else:
            piece = np.full(instance.n, -1 if device.is_host else 0)
            plan = Plan(np.full(instance.n, device.index), piece if not options.pipelined else None)
            best.offer(plan, "single")
    if best.plan is None:
        shown = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:4])
        return Outcome(Stop.NOT_APPLICABLE, message=f"no single device holds everything ({shown})")
    name = instance.devices[best.plan.device[0]].name
    return Outcome(Stop.FINISHED, best.plan, message=f"everything on {name}")
