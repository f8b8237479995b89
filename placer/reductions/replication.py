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
from dataclasses import replace
from itertools import islice, product

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance
from placer.instance.interchangeable import interchangeable
from placer.reductions.device_limit import MAX_CHOICES, all_of
from placer.reductions.inverse import Inverse, Reduction

__all__ = ["apply"]


def apply(instance: Instance, most: int) -> list[Reduction]:
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
    purpose = "replicate stages on these devices; allow fewer replicas or devices"
    return [_grouped(instance, kinds, sizes) for sizes in all_of(product(*ways), purpose)]


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


def _grouped(instance: Instance, kinds: list[list[int]], sizes: tuple[list[int], ...]) -> Reduction:
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
    first = np.array([group[0] for group in members], dtype=np.int64)
    stand_in = np.full(len(instance.devices), -1)
    for d, group in enumerate(members):
        stand_in[list(group)] = d if len(group) == 1 else -1
    shared = tuple(group for group in members if len(group) > 1)
    return grouped, Inverse(grouped, device=first, stand_in=stand_in, replicas=shared)


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
