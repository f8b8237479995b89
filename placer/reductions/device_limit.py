"""A limit on the number of devices as a choice of devices: instances that any method can solve."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice, product
from typing import TypeVar

from placer.errors import UsageError
from placer.instance.instance import Instance
from placer.instance.interchangeable import interchangeable
from placer.reductions.inverse import Inverse, Reduction

__all__ = ["MAX_CHOICES", "all_of", "apply"]

T = TypeVar("T")

MAX_CHOICES = 256
"""Largest number of ways to choose or to group devices that are tried one by one."""


def apply(instance: Instance) -> list[Reduction]:
    """Return instances without a limit on the number of devices that together allow the same plans.

    Each forbids all but the allowed number of devices; of interchangeable devices only their number
    matters, so one choice stands for many.

    Raises
    ------
    UsageError
        When there are more than `MAX_CHOICES`.
    """
    limit = instance.constraints.max_devices
    if limit is None:
        return [(instance, Inverse(instance))]
    free = instance.replace(constraints=replace(instance.constraints, max_devices=None))
    if limit >= len(instance.devices):
        return [(free, Inverse(free))]
    out = []
    for dropped in all_of(_counts(instance, limit), f"choose {limit} of the devices; method milp can do it"):
        extra = tuple(instance.devices[d].name for d in dropped)
        some = free.replace(forbid=tuple((*names, *extra) for names in instance.forbid))
        out.append((some, Inverse(some)))
    return out


def all_of(ways: Iterable[T], purpose: str) -> list[T]:
    """List the ways to do something to the devices.

    Raises
    ------
    UsageError
        When there are more than `MAX_CHOICES`.
    """
    found = list(islice(ways, MAX_CHOICES + 1))
    if len(found) > MAX_CHOICES:
        raise UsageError(f"there are more than {MAX_CHOICES} ways to {purpose}")
    return found


def _counts(instance: Instance, limit: int) -> Iterator[list[int]]:
    """Yield the devices to leave out, for each way to keep ``limit`` of them."""
    members = interchangeable(instance.devices, instance.allowed)
    for kept in product(*(range(min(limit, len(m)) + 1) for m in members)):
        if sum(kept) == limit:
            yield [d for m, count in zip(members, kept, strict=True) for d in m[count:]]
