"""An exact reduction for latency: hosts that another host of their class makes superfluous are left out.

Hosts run any number of nodes at once (problem statement, "Latency"), so that without a memory limit one of
them can do what all members of its class can that are allowed no more: moving every node from one host to the
other changes no time.  Hosts that may hold different nodes, and hosts with a limit, stay apart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from placer.arrays import IntArray, distinct
from placer.instance.instance import Instance
from placer.instance.interchangeable import interchangeable
from placer.reductions.inverse import Inverse, Reduction

__all__ = ["apply"]


def apply(instance: Instance) -> Reduction:
    """Leave out superfluous hosts.

    Parameters
    ----------
    instance
        An instance without servers in which every node may go to some device.
    """
    stand_in = _stand_ins(instance)
    kept = distinct(stand_in)
    if len(kept) == len(stand_in):
        return instance, Inverse(instance)
    left = [0] * len(instance.classes)
    renamed: dict[str, tuple[str, ...]] = {device.name: () for device in instance.devices}
    for d in kept.tolist():
        device = instance.devices[d]
        renamed[device.name] = (instance.classes[device.class_index].member(left[device.class_index]),)
        left[device.class_index] += 1

    def names(listed: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(new for old in listed for new in renamed.get(old, (old,)))

    smaller = instance.replace(
        classes=tuple(
            cls if cls.count == count else replace(cls, count=count, memory_reserve_bytes=0.0)
            for cls, count in zip(instance.classes, left, strict=True)
        ),
        pin=tuple(names(listed) for listed in instance.pin),
        forbid=tuple(names(listed) for listed in instance.forbid),
        order=(),  # an order of the devices is one of pipelines
    )
    at = np.searchsorted(kept, stand_in).astype(np.int64)
    return smaller, Inverse(smaller, device=kept, stand_in=at)


def _stand_ins(instance: Instance) -> IntArray:
    """Return for each host without a limit the first that may hold most of all that may hold what it may."""
    out = np.arange(len(instance.devices))
    hosts = [d for d in instance.devices if d.is_host and np.isinf(d.memory_limit_bytes)]
    alike = interchangeable(hosts, instance.allowed, lambda d: d.class_index)
    classes = instance.device_class
    for members in alike:
        column = instance.allowed[:, members[0]]
        able = [
            e
            for e, *_ in alike
            if classes[e] == classes[members[0]] and not (column & ~instance.allowed[:, e]).any()
        ]
        out[members] = max(able, key=lambda e: (int(instance.allowed[:, e].sum()), -e))
    return out
