"""Small random instances with everything that the model allows; a seed names an instance for ever."""

from dataclasses import replace

import numpy as np

from placer.instance.cluster import DeviceClass, Kind, Link, Server
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.instance.training import Optimizer, Training


def random_instance(
    seed: int,
    *,
    nodes: int = 5,
    training: bool = False,
    heterogeneous: bool = False,
    overrides: bool = False,
    latency: bool = False,
) -> Instance:
    """Make an instance of at most ``nodes`` nodes and four devices.

    Numbers are multiples of 1/4 with many zeros and ties half of the time, else arbitrary; memory limits
    bind in about half of the instances; some instances are infeasible.  ``heterogeneous`` gives two
    accelerator classes, ``overrides`` pins and forbids, ``latency`` always a host.
    """
    rng = np.random.default_rng([seed, nodes, training, heterogeneous, overrides, latency])
    n = int(rng.integers(2, nodes + 1))
    coarse = rng.random() < 0.5

    def number(low: float, high: float, zero: float = 0.2) -> float:
        if rng.random() < zero:
            return 0.0
        value = rng.uniform(low, high)
        return round(value * 4) / 4 if coarse else value

    backward = _directions(rng, n, training)
    edges = _edges(rng, backward)
    classes = _classes(rng, heterogeneous, latency)
    types = tuple(dict.fromkeys(c.type for c in classes))
    times = [[np.inf if rng.random() < 0.12 else number(0, 8) for _ in types] for _ in range(n)]
    present = [t for t, kind in enumerate(types) if any(c.count for c in classes if c.type == kind)]
    for row in times:
        if np.isinf([row[t] for t in present]).all():
            row[int(rng.choice(present))] = number(0, 8)
    colocate = _groups(rng, backward, np.array(times)[:, present])
    transfers = rng.random() < 0.8
    sized = rng.random() < 0.3 and all(c.link.bandwidth_bytes_per_s or c.is_host for c in classes)
    names = [c.name for c in classes] + [c.member(i) for c in classes for i in range(c.count)]

    def some_names(chance: float) -> tuple[str, ...]:
        if not overrides or rng.random() > chance:
            return ()
        return tuple(rng.choice(names, size=int(rng.integers(1, 3)), replace=False).tolist())

    return Instance.build(
        name=f"random-{seed}",
        ids=[f"v{i}" for i in range(n)],
        types=types,
        time_ms=times,
        memory_bytes=[number(0, 8) for _ in range(n)],
        transfer_ms=None if sized else [number(0, 4) if transfers else 0.0 for _ in range(n)],
        output_bytes=[number(0, 4000) for _ in range(n)] if sized else None,
        edges=edges,
        classes=classes,
        backward=backward,
        colocate=colocate,
        pin=[some_names(0.25) for _ in range(n)],
        forbid=[some_names(0.15) for _ in range(n)],
    )


def random_cluster(seed: int) -> Instance:
    """Vary what the instance has by its seed: training, classes, pins, a second host class, more hosts."""
    rng = np.random.default_rng(seed)
    heterogeneous = bool(rng.random() < 0.4)
    instance = random_instance(
        seed,
        nodes=5 if heterogeneous else 6,
        training=bool(rng.random() < 0.6),
        heterogeneous=heterogeneous,
        overrides=bool(rng.random() < 0.4),
    )
    if rng.random() < 0.2 and not heterogeneous:
        times = rng.integers(0, 32, size=instance.n) / 4
        times[rng.random(instance.n) < 0.3] = np.inf
        instance = instance.replace(
            types=(*instance.types, "arm"),
            time_ms=np.column_stack([instance.time_ms, times]),
            classes=(*instance.classes, DeviceClass("arm", "arm", int(rng.integers(1, 3)), Kind.HOST)),
        )
        while len(instance.devices) > 4:
            smaller = replace(instance.classes[0], count=instance.classes[0].count - 1)
            if not smaller.count or any("acc" in name for names in instance.pin for name in names):
                break
            instance = instance.replace(
                classes=(smaller, *instance.classes[1:]), forbid=tuple(() for _ in instance.ids)
            )
    return instance


def with_host_limits(instance: Instance, seed: int) -> Instance:
    """Give the host classes memory limits that bind in most instances, half of them less a reserve."""
    rng = np.random.default_rng([seed, 19])
    in_flight = min(2, instance.training.microbatches) if instance.is_training else 1
    need = float((instance.resident_bytes + in_flight * instance.activation_bytes).sum())
    classes = []
    for c in instance.classes:
        if c.is_host and rng.random() < 0.9:
            limit = float(np.round(4 * need * rng.uniform(0.05, 0.8)) / 4)
            reserve: float | tuple[float, ...] = 0.0
            if rng.random() < 0.4:
                sizes = np.floor(4 * limit * rng.uniform(0, 0.5, size=c.count)) / 4
                reserve = float(sizes[0]) if c.count and rng.random() < 0.5 else tuple(sizes.tolist())
            c = replace(c, memory_limit_bytes=limit, memory_reserve_bytes=reserve)
        classes.append(c)
    return instance.replace(classes=tuple(classes))


def with_single_hosts(instance: Instance) -> Instance:
    """Let each host class have one member, which takes over what pins and forbids say of the others."""
    member = {
        cls.member(i): cls.member(0) for cls in instance.classes if cls.is_host for i in range(cls.count)
    }

    def names(listed: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(member.get(name, name) for name in listed))

    return instance.replace(
        classes=tuple(replace(cls, count=1) if cls.is_host else cls for cls in instance.classes),
        pin=tuple(names(listed) for listed in instance.pin),
        forbid=tuple(names(listed) for listed in instance.forbid),
        order=(),
    )


def with_more_hosts(instance: Instance, seed: int, most: int = 4) -> Instance:
    """Let the host classes have up to two members while there are at most so many devices."""
    rng = np.random.default_rng([seed, 23])
    count = len(instance.devices)
    classes = []
    for c in instance.classes:
        if c.is_host and c.count < 2 and count + 2 - c.count <= most and rng.random() < 0.7:
            count += 2 - c.count
            c = replace(c, count=2)
        classes.append(c)
    return instance.replace(classes=tuple(classes))


def with_servers(instance: Instance, seed: int) -> Instance:
    """Put the devices into one to three servers behind slow uplinks; some devices stay apart."""
    rng = np.random.default_rng([seed, 13])
    names = rng.permutation([d.name for d in instance.devices]).tolist()
    places = rng.integers(0, 3, len(names))
    sized = bool((np.nan_to_num(instance.output_bytes) > 0).any())
    return instance.replace(
        servers=tuple(
            Server(
                f"server{k}",
                tuple(name for name, place in zip(names, places, strict=True) if place == k),
                Link(float(rng.choice([0.5, 2.0, 4.0])), 1e5 if sized else None, 0.25 if sized else 0.0),
            )
            for k in range(2)
        )
    )


def with_constraints(instance: Instance, seed: int) -> Instance:
    """Add rules on the whole plan: one, two or all three of them."""
    rng = np.random.default_rng([seed, 7])
    apart, limit, use = (bool(x) for x in rng.permutation([True, rng.random() < 0.4, rng.random() < 0.2]))
    size = int(rng.integers(2, min(4, instance.n + 1)))
    names = [d.name for d in instance.devices]
    return instance.replace(
        constraints=Constraints(
            apart=(tuple(rng.choice(instance.n, size, replace=False).tolist()),) if apart else (),
            max_devices=int(rng.integers(1, len(names) + 1)) if limit else None,
            use_devices=tuple(rng.choice(names, int(rng.integers(1, len(names) + 1)), replace=False).tolist())
            if use
            else (),
        )
    )


def in_short_supply(instance: Instance, seed: int) -> Instance:
    """Give accelerators less memory than all nodes need, and hosts a limit now and then."""
    rng = np.random.default_rng([seed, 3])
    accelerators = [d for d in instance.devices if not d.is_host]
    if not accelerators:
        return instance
    room = float(instance.resident_bytes.sum()) * rng.uniform(0.3, 1.1) / len(accelerators)
    classes = tuple(
        cls if cls.is_host else DeviceClass(cls.name, cls.type, cls.count, cls.kind, room, cls.link)
        for cls in instance.classes
    )
    limited = instance.replace(classes=classes)
    return with_host_limits(limited, seed) if rng.random() < 0.3 else limited


def random_cluster_memory(seed: int, *, nodes: int = 5) -> Instance:
    """Add what real clusters have: activations, weights, microbatches, reserves and an order of the devices.

    Each is there in a part of the instances, so that single features and pairs of them occur; memory binds in
    most of them.
    """
    rng = np.random.default_rng([seed, 7])
    pinned = bool(rng.random() < 0.15)
    base = random_instance(
        seed,
        nodes=nodes,
        training=bool(rng.random() < 0.9),
        heterogeneous=bool(rng.random() < 0.7),
        overrides=pinned,
    )
    n = base.n
    accelerated = np.isfinite(base.class_time_ms[:, [not c.is_host for c in base.classes]]).any(axis=1)
    if not pinned and not base.groups and accelerated.all() and rng.random() < 0.7:
        base = base.replace(classes=tuple(c for c in base.classes if not c.is_host))  # memory decides
    if rng.random() < 0.5 and all(c.link.bandwidth_bytes_per_s or c.is_host for c in base.classes):
        size = np.where(rng.random(n) < 0.2, 0.0, rng.integers(1, 8, size=n) / 4)
        base = base.replace(output_bytes=size, transfer_ms=np.full(n, np.nan))
    base = base.replace(
        memory_bytes=base.memory_bytes / 4,
        weight_bytes=rng.integers(0, 3, size=n) / 4,
        activation_bytes=rng.integers(0, 9, size=n) / 2 * bool(rng.random() < 0.9),
        training=Training(Optimizer(str(rng.choice(["none", "sgd", "adam"]))), int(rng.integers(1, 6))),
    )
    need = float((base.resident_bytes + min(3, base.training.microbatches) * base.activation_bytes).sum())
    classes = []
    for c in base.classes:
        if not c.is_host and rng.random() < 0.85:
            limit = float(np.ceil(max(0.7 * base.held_bytes.max(), need * rng.uniform(0.15, 0.6))))
            reserve: float | tuple[float, ...] = 0.0
            if rng.random() < 0.5:
                sizes = np.floor(limit * rng.uniform(0, 0.5, size=c.count))
                reserve = float(sizes[0]) if rng.random() < 0.5 else tuple(sizes.tolist())
            c = replace(c, memory_limit_bytes=limit, memory_reserve_bytes=reserve)
        classes.append(c)
    names: list[str] = []
    if rng.random() < 0.5:
        for c in classes:
            whole = rng.random() < 0.3
            names += [c.name] if whole else [c.member(i) for i in range(c.count) if rng.random() < 0.9]
        names = [str(name) for name in rng.permutation(names)]
    return base.replace(classes=tuple(classes), order=tuple(names))


def _directions(rng: np.random.Generator, n: int, training: bool) -> list[bool]:
    if not training:
        return [False] * n
    forward = max(1, int(rng.integers(1, n + 1)) - int(rng.integers(0, n // 2 + 1)))
    return [i >= forward for i in range(n)]


def _edges(rng: np.random.Generator, backward: list[bool]) -> list[tuple[int, int]]:
    n = len(backward)
    density = rng.choice([0.25, 0.5, 0.8])
    order = np.concatenate(
        [rng.permutation(np.flatnonzero(~np.array(backward))), rng.permutation(np.flatnonzero(backward))]
    ).astype(int)
    return [
        (int(order[i]), int(order[j])) for i in range(n) for j in range(i + 1, n) if rng.random() < density
    ]


def _classes(rng: np.random.Generator, heterogeneous: bool, latency: bool) -> tuple[DeviceClass, ...]:
    def limit() -> float:
        return float(rng.integers(6, 30)) if rng.random() < 0.6 else np.inf

    def link() -> Link:
        return Link(
            transfer_scale=float(rng.choice([0.5, 1.0, 2.0])) if heterogeneous else 1.0,
            bandwidth_bytes_per_s=float(rng.choice([5e5, 1e6])),
            latency_ms=float(rng.choice([0.0, 0.25])),
        )

    accelerators = [DeviceClass("acc", "gpu", int(rng.integers(1, 4)), Kind.ACCELERATOR, limit(), link())]
    if heterogeneous:
        other = str(rng.choice(["gpu", "tpu"]))
        accelerators = [
            DeviceClass("acc", "gpu", int(rng.integers(1, 3)), Kind.ACCELERATOR, limit(), link()),
            DeviceClass("alt", other, 1, Kind.ACCELERATOR, limit(), link()),
        ]
    hosts = int(rng.integers(1, 3)) if latency else int(rng.integers(0, 2))
    return (*accelerators, DeviceClass("cpu", "cpu", hosts, Kind.HOST))


def _groups(rng: np.random.Generator, backward: list[bool], times: np.ndarray) -> list[str | None]:
    """Colocate some nodes; a group that no type runs is dissolved (that is bad input, tested elsewhere)."""
    n = len(backward)
    share = rng.choice([0.0, 0.4, 0.8])
    labels: list[str | None] = [
        f"g{rng.integers(0, max(2, n // 2))}" if rng.random() < share else None for _ in range(n)
    ]
    for group in {g for g in labels if g is not None}:
        members = [i for i in range(n) if labels[i] == group]
        if not np.isfinite(times[members]).all(axis=0).any():
            for i in members:
                labels[i] = None
    return labels
