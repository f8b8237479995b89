"""Replication: a stage may run on several identical devices, each taking its share of the samples.

A stage on r replicas computes, receives and sends 1/r of the time per sample; in training the gradients of
its weights are summed over the replicas after each optimizer step by a ring all-reduce, which takes
``2 (r - 1) / r`` times the time of the weights on the link, spread over the microbatches of the step.

Devices that are used together by one stage act as one faster device.  So a choice of how many devices go
together turns the instance into one with such devices, which every method can solve; all choices together
allow all plans.

Source: Tarnawski et al., NeurIPS 2020, appendix (replication); PipeDream, SOSP 2019, Section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, product

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.errors import UsageError
from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance
from placer.instance.interchangeable import interchangeable
from placer.plans.plan import Plan

__all__ = ["MAX_CHOICES", "Grouped", "choices"]

MAX_CHOICES = 256
"""Largest number of ways to group the devices that are tried one by one."""


@dataclass(frozen=True, eq=False)
class Grouped:
    """An instance whose devices are groups of identical devices of another one.

    Parameters
    ----------
    instance
        Its devices are the groups.
    members
        Devices of each group, in terms of the original instance.
    """

    instance: Instance
    members: tuple[tuple[int, ...], ...]

    def lift(self, plan: Plan) -> Plan:
        """Return the plan of the original instance; a group is named by its first device."""
        first = np.array([group[0] for group in self.members], dtype=np.int64)
        used = set(plan.device.tolist())
        return Plan(
            device=first[plan.device],
            stages=None if plan.stages is None else tuple(int(first[d]) for d in plan.stages),
            recompute=tuple(int(first[d]) for d in plan.recompute),
            replicas=tuple(g for d, g in enumerate(self.members) if d in used and len(g) > 1),
        )


def choices(instance: Instance, most: int) -> list[Grouped]:
    """Return the instance for every way to group its devices, up to ``most`` in a group.

    Raises
    ------
    UsageError
        When there are more than `MAX_CHOICES`.
    """
    kinds = _kinds(instance)
    widths = [1 if instance.devices[kind[0]].is_host else most for kind in kinds]
    ways = [
        list(islice(_partitions(len(kind), width), MAX_CHOICES + 1))
        for kind, width in zip(kinds, widths, strict=True)
    ]
    chosen = list(islice(product(*ways), MAX_CHOICES + 1))
    if len(chosen) > MAX_CHOICES:
        raise UsageError(
            f"there are more than {MAX_CHOICES} ways to replicate stages on these devices; "
            "allow fewer replicas or devices"
        )
    return [_grouped(instance, kinds, sizes) for sizes in chosen]


def _kinds(instance: Instance) -> list[list[int]]:
    """Devices by what makes them interchangeable; those that may hold no node and need none are left out."""
    needed = instance.constraints.use_devices
    of_use = [d for d in instance.devices if instance.allowed[:, d.index].any() or d.name in needed]
    return interchangeable(of_use, instance.allowed)


def _partitions(count: int, most: int, largest: int | None = None) -> Iterator[list[int]]:
    """Yield the ways to write a count as a sum of parts of at most ``most``, without regard to order."""
    largest = most if largest is None else min(most, largest)
    if count == 0:
        yield []
    for part in range(min(count, largest), 0, -1):
        for rest in _partitions(count - part, most, part):
            yield [part, *rest]


def _grouped(instance: Instance, kinds: list[list[int]], sizes: tuple[list[int], ...]) -> Grouped:
    """Build the instance in which the devices of each kind form groups of the given sizes."""
    classes: list[DeviceClass] = []
    columns: list[FloatArray] = []
    members: list[tuple[int, ...]] = []
    allowed: list[BoolArray] = []
    ranked: dict[int, list[str]] = {}
    inside: dict[int, list[str]] = {}
    for k, (kind, parts_of) in enumerate(zip(kinds, sizes, strict=True)):
        device = instance.devices[kind[0]]
        original = instance.classes[device.class_index]
        left, price = iter(kind), original.price_per_hour
        for width in sorted(set(parts_of), reverse=True):
            name = f"{original.name}.{k}x{width}."
            count = parts_of.count(width)
            classes.append(
                replace(
                    original,
                    name=name,
                    type=name,
                    count=count,
                    memory_limit_bytes=device.memory_limit_bytes,
                    memory_reserve_bytes=0.0,
                    memory_reserve_share=0.0,
                    price_per_hour=None if price is None else price * width,
                    width=width,
                )
            )
            time = instance.class_time_ms[:, device.class_index] / width
            columns.append(time + _sync_ms(instance, original, width))
            allowed.append(instance.allowed[:, device.index])
            members += [tuple(next(left) for _ in range(width)) for _ in range(count)]
            if device.rank is not None:
                ranked.setdefault(device.rank, []).append(name)
            if device.server is not None:
                inside.setdefault(device.server, []).append(name)
    names = [cls.name for cls in classes]
    rules = instance.constraints
    if rules.use_devices:  # no others are left
        everyone = tuple(cls.member(i) for cls in classes for i in range(cls.count))
        rules = replace(rules, use_devices=everyone)
    grouped = instance.replace(
        types=tuple(names),
        time_ms=np.stack([np.where(ok, t, np.inf) for t, ok in zip(columns, allowed, strict=True)], axis=1),
        classes=tuple(classes),
        pin=((),) * instance.n,
        forbid=((),) * instance.n,
        order=tuple(tuple(ranked[place]) for place in sorted(ranked)),
        servers=tuple(replace(instance.servers[s], devices=tuple(some)) for s, some in inside.items()),
        constraints=rules,
    )
    return Grouped(grouped, tuple(members))


def _sync_ms(instance: Instance, cls: DeviceClass, width: int) -> FloatArray:
    """Time per sample to synchronise the weights, ``(n,)``, on the first backward node of each group."""
    out = np.zeros(instance.n)
    bandwidth = cls.link.bandwidth_bytes_per_s
    if width == 1 or bandwidth is None or not instance.is_training:
        return out
    per_byte = 2 * (width - 1) / width * 1e3 / bandwidth / instance.training.microbatches
    for nodes in _units(instance):
        backward = nodes[instance.backward[nodes]]
        if len(backward):
            out[backward[0]] += per_byte * instance.weight_bytes[nodes].sum()
    return out


def _units(instance: Instance) -> list[IntArray]:
    alone = [np.array([v]) for v in range(instance.n) if instance.colocate[v] is None]
    return [*instance.groups.values(), *alone]
