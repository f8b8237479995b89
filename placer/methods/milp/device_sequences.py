"""Sequences of devices: the orders in which their kinds may come in a pipeline, and whether they are few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import factorial, prod

import numpy as np

from placer.arrays import IntArray
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.options import Objective, Options, Recompute
from placer.reductions.kinds import Kinds, kinds_of
from placer.reductions.problem import contract

__all__ = ["are_few", "devices_of", "is_plain", "sequences"]

ENTRIES = 100_000
"""Items, members of nets and edges, by stages and by sequences, at most: before there is any bound, each
sequence costs a linear program.  On the tuning half of the benchmark of proofs so many took 1 to 2 s, and
graphs beyond it gained nothing."""


def is_plain(instance: Instance, options: Options) -> bool:
    """Whether plans are asked for that keep no rules beyond those of their kind."""
    special = instance.servers or instance.pools or instance.constraints != Constraints()
    return not special and options.recompute is Recompute.NONE and options.virtual_stages == 1


def are_few(instance: Instance, options: Options) -> bool:
    """Whether contiguous plans are made of devices in a row by themselves, and there are few such rows."""
    if options.objective is not Objective.THROUGHPUT or not options.strictly_ordered:
        return False
    if not is_plain(instance, options):
        return False
    problem = contract(instance, contiguous=True)
    kinds = kinds_of(problem)
    devices = len(instance.devices)
    if kinds.shared or (kinds.rank >= 0).any() or devices < 2:
        return False
    rows = factorial(devices) // prod(factorial(len(some)) for some in kinds.devices)
    entries = problem.size + len(problem.net_items) + len(problem.edges)
    return entries * devices * rows <= ENTRIES


def sequences(kinds: Kinds) -> Iterator[IntArray]:
    """Yield all different orders of the kinds of all devices, ``(k,)`` each."""

    def grow(left: Counter[int], made: list[int]) -> Iterator[list[int]]:
        if not left:
            yield made
        for kind in sorted(left):
            yield from grow(left - Counter([kind]), [*made, kind])

    every = Counter({kind: len(devices) for kind, devices in enumerate(kinds.devices)})
    for sequence in grow(every, []):
        yield np.array(sequence, dtype=np.int64)


def devices_of(kinds: Kinds, sequence: IntArray) -> IntArray:
    """Return a device for each place of a sequence, ``(k,)``."""
    left = [iter(devices.tolist()) for devices in kinds.devices]
    return np.array([next(left[kind]) for kind in sequence.tolist()], dtype=np.int64)
