"""Memory: the largest share that a device uses of the memory that plans may use on it."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np

from placer.instance.instance import Instance
from placer.objectives.objective import Measured, ObjectiveInfo, no_secondary

__all__ = ["MEMORY"]

PROVERS = ("dp", "colgen")
"""Methods that prove that no plan is fast enough within some limits."""


def _largest_share(instance: Instance, plan: Measured) -> float:
    limit = np.array([d.memory_limit_bytes for d in instance.devices])
    used = plan.memory_bytes
    limited = np.isfinite(limit) & (used > 0)
    return float((used[limited] / limit[limited]).max(initial=0.0))


def _tightened(instance: Instance, share: float) -> Instance:
    """Return the instance with that share of every memory limit, and of what is reserved of it."""

    def part(reserve: float | tuple[float, ...]) -> float | tuple[float, ...]:
        return tuple(share * r for r in reserve) if isinstance(reserve, tuple) else share * reserve

    return instance.replace(
        classes=tuple(
            replace(
                cls,
                memory_limit_bytes=share * cls.memory_limit_bytes if cls.memory_limit_bytes < inf else inf,
                memory_reserve_bytes=part(cls.memory_reserve_bytes),
            )
            for cls in instance.classes
        )
    )


def _unsuited(instance: Instance) -> str | None:
    if any(np.isfinite(d.memory_limit_bytes) for d in instance.devices):
        return None
    return "no device has a memory limit, so that there is no share of it to minimise"


MEMORY = ObjectiveInfo(
    summary="largest share of a device's memory that is used",
    value=_largest_share,
    label="Largest share of memory used",
    better="smaller in that share",
    unit="share of the limit",
    shown=lambda value, digits: f"{100 * value:.{digits}g} %",
    refused=no_secondary,
    unsuited=_unsuited,
    tightened=_tightened,
    methods={
        "auto": "placer.methods.auto:solve",
        "milp": "placer.methods.decision.milp_goal:solve",
        **dict.fromkeys(PROVERS, "placer.methods.decision.memory:solve"),
    },
)
