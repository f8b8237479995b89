"""An exact reduction for latency: hosts that another host of their class makes superfluous are left out.

Hosts run any number of nodes at once (problem statement, "Latency"), so that without a memory limit one of
them can do what all members of its class can that are allowed no more: moving every node from one host to the
other changes no time.  Hosts that may hold different nodes, and hosts with a limit, stay apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.instance.interchangeable import interchangeable
from placer.plans.plan import Plan

__all__ = ["FewerHosts", "fewer_hosts"]


@dataclass(frozen=True, eq=False)
class FewerHosts:
    """An instance with fewer hosts and the same optimal latency, and how to go back and forth.

    Parameters
    ----------
    instance
        The smaller instance.
    kept
        Device of the original for each of its devices, ``(D',)``.
    stand_in
        For each device of the original the one that does its work, ``(D,)``.
    """

    instance: Instance
    kept: IntArray
    stand_in: IntArray

    def expand(self, plan: Plan) -> Plan:
        """Lift a plan of the smaller instance; its makespan stays."""
        return Plan(self.kept[plan.device], plan.piece)

    def shrink(self, plan: Plan) -> Plan:
        """Turn a plan of the original into one of the smaller instance; its makespan stays."""
        return Plan(self.stand_in[plan.device], plan.piece)


def fewer_hosts(instance: Instance) -> FewerHosts:
    """Leave out superfluous hosts.

    Parameters
    ----------
    instance
        An instance without servers in which every node may go to some device.
    """
    stand_in = _stand_ins(instance)
    kept = np.unique(stand_in)
    if len(kept) == len(stand_in):
        return FewerHosts(instance, kept, stand_in)
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
    return FewerHosts(smaller, kept, np.searchsorted(kept, stand_in).astype(np.int64))


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
