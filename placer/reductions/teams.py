"""Teams: a stage may run on several identical devices, as replicas, shards, or both.

A stage on r replicas computes, receives and sends 1/r of the time per sample; in training the gradients of
its weights are summed over the replicas after each optimizer step by a ring all-reduce, which takes
``2 (r - 1) / r`` times the time of the weights on the link, spread over the microbatches of the step.  Shards
split the nodes themselves (see `placer.instance.shards`).

Devices that are used together by one stage act as one other device.  So every way to put them together turns
the instance into one with such devices, which every method can solve.  Methods that count the devices of a
pool get all of them at once: each kind of devices becomes a pool, and each of its modes a class with as many
members as the pool has room for.  Others get one instance for each way to fill the pools.

Source: Tarnawski et al., NeurIPS 2020, appendix (replication); PipeDream, SOSP 2019, Section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, product

import numpy as np

from placer.arrays import FloatArray
from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance
from placer.instance.interchangeable import interchangeable
from placer.instance.modes import ALONE, Mode
from placer.options import Options
from placer.reductions.device_limit import MAX_CHOICES, all_of
from placer.reductions.inverse import Inverse, Pools, Reduction

__all__ = ["apply", "modes_of"]

Grouping = Sequence[tuple[Mode, int]]
"""How many teams of each mode a kind of devices forms."""


def apply(instance: Instance, options: Options, *, pooled: bool) -> list[Reduction]:
    """Return instances whose devices are teams, which together allow all plans.

    Parameters
    ----------
    instance, options
        What teams may be is up to both.
    pooled
        Whether the method keeps within the pools of an instance.

    Raises
    ------
    UsageError
        When there are more than `MAX_CHOICES`.
    """
    grouped = _groupings(instance, kinds := _kinds(instance), options, pooled=pooled)
    if instance.constraints.use_devices:  # no device may be left over
        grouped = [some for some in grouped if all(map(_fills, kinds, some))]
    grouped = [some for some in grouped if _has_room(instance, kinds, some)]
    return [_grouped(instance, kinds, some, pooled=pooled and not options.uniform) for some in grouped]


def _fills(kind: Sequence[int], grouping: Grouping) -> bool:
    return sum(mode.width * count for mode, count in grouping) == len(kind)


def _has_room(instance: Instance, kinds: list[list[int]], groupings: Sequence[Grouping]) -> bool:
    """Whether all nodes that go together have a team that may run them."""
    there = [kind[0] for kind, some in zip(kinds, groupings, strict=True) if any(count for _, count in some)]
    allowed = instance.allowed[:, there]
    together = [allowed[nodes].all(axis=0) for nodes in instance.groups.values()]
    return bool(allowed.any(axis=1).all()) and all(some.any() for some in together)


def _groupings(
    instance: Instance, kinds: list[list[int]], options: Options, *, pooled: bool
) -> list[tuple[Grouping, ...]]:
    """List what the teams of each kind may be: of all modes at once, or one way after the other."""
    modes = [modes_of(instance, kind, options) for kind in kinds]
    if options.uniform:
        hosts = [_host(instance, kind) for kind in kinds]
        found = {mode for some, host in zip(modes, hosts, strict=True) if not host for mode in some}
        every: list[Mode | None] = [*sorted(found)] or [None]
        return [tuple(_only(instance, kind, mode) for kind in kinds) for mode in every]
    if pooled:
        both = zip(kinds, modes, strict=True)
        return [tuple([(mode, len(kind) // mode.width) for mode in some] for kind, some in both)]
    ways = [
        list(islice(_fillings(len(kind), sorted(some, key=_widest)), MAX_CHOICES + 1))
        for kind, some in zip(kinds, modes, strict=True)
    ]
    return all_of(product(*ways), "put these devices together; allow fewer replicas, shards or devices")


def modes_of(instance: Instance, devices: Sequence[int], options: Options) -> list[Mode]:
    """Return the modes of stages on interchangeable devices; hosts are always alone."""
    if _host(instance, devices):
        return [ALONE]
    apart = bool(instance.servers) and instance.devices[devices[0]].server is None
    return [
        Mode(replicas, shards, options.zero)
        for shards in options.degrees([some.degree for some in instance.shards])
        for replicas in range(1, options.replicas + 1)
        if replicas * shards <= len(devices) and not (shards > 1 and apart)
    ]


def _host(instance: Instance, devices: Sequence[int]) -> bool:
    return instance.devices[devices[0]].is_host


def _widest(mode: Mode) -> tuple[int, Mode]:
    return -mode.width, mode


def _only(instance: Instance, kind: list[int], mode: Mode | None) -> Grouping:
    """Return as many teams of one mode as there is room for; hosts are alone."""
    mode = ALONE if _host(instance, kind) else mode
    return [] if mode is None else [(mode, len(kind) // mode.width)]


def _kinds(instance: Instance) -> list[list[int]]:
    """Devices by what makes them interchangeable; those that may hold no node and need none are left out."""
    needed = instance.constraints.use_devices
    of_use = [d for d in instance.devices if instance.allowed[:, d.index].any() or d.name in needed]
    return interchangeable(of_use, instance.allowed)


def _fillings(count: int, modes: Sequence[Mode]) -> Iterator[Grouping]:
    """Yield the ways to form teams of some modes, wide ones first, until no more fits."""
    if not modes:
        yield []
        return
    mode, *rest = modes
    for teams in range(count // mode.width, -1, -1):
        left = count - teams * mode.width
        for more in _fillings(left, rest):
            if left - sum(m.width * k for m, k in more) < mode.width:
                yield [(mode, teams), *more]


def _grouped(
    instance: Instance, kinds: list[list[int]], groupings: Sequence[Grouping], *, pooled: bool = False
) -> Reduction:
    """Build the instance in which the devices of each kind are teams; if pooled, of its pool at once."""
    classes: list[DeviceClass] = []
    sources: list[int] = []  # the class of the instance that each kind is of
    ranked: dict[int, list[str]] = {}
    inside: dict[int, list[str]] = {}
    members: list[tuple[int, Mode]] = []
    for k, (kind, grouping) in enumerate(zip(kinds, groupings, strict=True)):
        device = instance.devices[kind[0]]
        original = instance.classes[device.class_index]
        sources.append(device.class_index)
        pool = k if pooled else None
        for mode, count in grouping:
            name = f"{original.name}.{k}x{mode.replicas}t{mode.shards}."
            classes.append(_class(original, name, f"kind {k}", mode, count, device.memory_limit_bytes, pool))
            members += [(k, mode)] * count
            if device.rank is not None:
                ranked.setdefault(device.rank, []).append(name)
            if device.server is not None:
                inside.setdefault(device.server, []).append(name)
    allowed = np.stack([instance.allowed[:, kind[0]] for kind in kinds], axis=1)

    def by_kind(time_ms: FloatArray) -> FloatArray:
        columns = [time_ms[:, instance.types.index(instance.classes[c].type)] for c in sources]
        return np.where(allowed, np.stack(columns, axis=1), np.inf)

    rules = instance.constraints
    if rules.use_devices:  # no others are left
        everyone = tuple(cls.member(i) for cls in classes for i in range(cls.count))
        rules = replace(rules, use_devices=everyone)
    grouped = instance.replace(
        types=tuple(f"kind {k}" for k in range(len(kinds))),
        time_ms=by_kind(instance.time_ms),
        shards=tuple(some.replace(time_ms=by_kind(some.time_ms)) for some in instance.shards),
        classes=tuple(classes),
        pools=tuple(len(kind) for kind in kinds) if pooled else (),
        pin=((),) * instance.n,
        forbid=((),) * instance.n,
        order=tuple(tuple(ranked[place]) for place in sorted(ranked)),
        servers=tuple(replace(instance.servers[s], devices=tuple(some)) for s, some in inside.items()),
        constraints=rules,
    )
    return grouped, Inverse(grouped, pools=Pools(tuple(map(tuple, kinds)), tuple(members)))


def _class(
    original: DeviceClass, name: str, kind: str, mode: Mode, count: int, room_bytes: float, pool: int | None
) -> DeviceClass:
    price = original.price_per_hour
    return replace(
        original,
        name=name,
        type=kind,
        count=count,
        memory_limit_bytes=room_bytes,
        memory_reserve_bytes=0.0,
        memory_reserve_share=0.0,
        price_per_hour=None if price is None else price * mode.width,
        mode=mode,
        pool=pool,
    )
