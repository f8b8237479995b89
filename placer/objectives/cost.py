"""Cost: the price per hour of the devices that hold nodes, within a limit on the time per sample."""

from __future__ import annotations

import numpy as np

from placer.arrays import FloatArray
from placer.instance.instance import Instance
from placer.objectives.objective import ObjectiveInfo, no_secondary
from placer.options import Options

__all__ = ["COST", "prices"]

PROVERS = ("dp", "colgen")
"""Methods that prove that no plan is fast enough on some devices."""


def prices(instance: Instance) -> FloatArray:
    """Price of each device per hour, ``(D,)``; hosts without one cost nothing."""
    by_class = np.array([cls.price_per_hour or 0.0 for cls in instance.classes])
    return np.asarray(by_class[instance.device_class])


def _refused(options: Options) -> str | None:
    if options.max_ms is None:
        return "the cheapest devices are those that are just fast enough: say how fast with max_ms (--max-ms)"
    return no_secondary(options)


def _unsuited(instance: Instance) -> str | None:
    for cls in instance.classes:
        if not cls.is_host and cls.count and cls.price_per_hour is None:
            return f"class {cls.name!r} has no price_per_hour, and the objective cost needs it"
    return None


COST = ObjectiveInfo(
    summary="price per hour of the devices in use, whose samples take at most --max-ms",
    value=lambda instance, plan: float(prices(instance)[plan.used].sum()),
    label="Price of the devices in use",
    better="cheaper",
    unit="per hour",
    shown=lambda value, digits: f"{value:.{digits}g} per hour",
    refused=_refused,
    unsuited=_unsuited,
    methods={
        "auto": "placer.methods.auto:solve",
        "milp": "placer.methods.decision.milp_goal:solve",
        **dict.fromkeys(PROVERS, "placer.methods.decision.cost:solve"),
    },
)
