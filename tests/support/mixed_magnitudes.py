"""Small random instances in which very different magnitudes meet; a seed names an instance for ever.

Times from 1e-9 to 1e9 ms and zeros in one graph, outputs of a byte beside terabytes, links and uplinks from
nothing to days, memory of a byte beside 1e15 bytes with limits that bind, loads that differ in the seventh or
twelfth digit only.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from placer.instance.cluster import DeviceClass, Kind, Link, Server
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.instance.training import Training

Number = Callable[[], float]


def mixed_magnitudes(seed: int, *, nodes: int = 5, latency: bool = False) -> Instance:
    """Make an instance of at most ``nodes`` nodes and three devices; ``latency`` leaves out servers."""
    rng = np.random.default_rng([seed, 41, nodes, latency])
    n = int(rng.integers(2, nodes + 1))
    time, size = _times(rng), _sizes(rng)
    classes = _classes(rng, time, latency)
    types = tuple(dict.fromkeys(c.type for c in classes))
    times = np.array([[np.inf if rng.random() < 0.15 else time() for _ in types] for _ in range(n)])
    for row in times:
        if np.isinf(row).all():
            row[int(rng.integers(len(types)))] = time()
    backward = np.zeros(n, dtype=bool)
    if not latency and rng.random() < 0.4:
        backward[int(rng.integers(1, n)) :] = True
    memory = np.array([size() for _ in range(n)])
    sized = rng.random(n) < 0.5
    instance = Instance.build(
        name=f"mixed-{seed}",
        ids=[f"v{i}" for i in range(n)],
        types=types,
        time_ms=times,
        memory_bytes=memory,
        transfer_ms=np.where(sized, np.nan, [time() for _ in range(n)]),
        output_bytes=np.where(sized, np.floor([size() for _ in range(n)]), np.nan),
        edges=[(i, j) for j in range(n) for i in range(j) if rng.random() < rng.choice([0.3, 0.7])],
        classes=tuple(_limited(rng, c, memory) for c in classes),
        backward=backward,
        activation_bytes=[size() if backward.any() and rng.random() < 0.3 else 0.0 for _ in range(n)],
        training=Training(microbatches=int(rng.integers(1, 4))),
    )
    return _ruled(instance, rng, time, latency)


def _times(rng: np.random.Generator) -> Number:
    """Return a source of times in ms, of one of four characters."""
    character = int(rng.integers(4))
    base = 10 ** rng.uniform(-9, 9)
    magnitudes = 10 ** rng.uniform(-9, 9, size=2)

    def wide() -> float:
        return float(10 ** rng.uniform(-9, 9))

    def two() -> float:
        return float(rng.choice(magnitudes) * rng.integers(1, 5))

    def nearly_equal() -> float:
        return float(base * (1 + rng.choice([0.0, 1e-12, 1e-9, 1e-7, 1e-6, 1e-3])) * rng.integers(1, 3))

    def plain() -> float:
        return float(base * rng.uniform(0.5, 2))

    source = (wide, two, nearly_equal, plain)[character]
    zero = float(rng.choice([0.0, 0.2, 0.5]))
    return lambda: 0.0 if rng.random() < zero else source()


def _sizes(rng: np.random.Generator) -> Number:
    """Return a source of sizes in bytes."""
    wide = bool(rng.random() < 0.6)
    base = 10 ** rng.uniform(0, 15)
    zero = float(rng.choice([0.0, 0.3]))

    def size() -> float:
        if rng.random() < zero:
            return 0.0
        return float(np.floor(10 ** rng.uniform(0, 15) if wide else base * rng.integers(1, 5)))

    return size


def _link(rng: np.random.Generator) -> Link:
    """Return a link from one that costs nothing to one that takes days."""
    return Link(
        transfer_scale=float(rng.choice([0.0, 1e-6, 1.0, 1.0, 1e6])),
        bandwidth_bytes_per_s=float(10 ** rng.uniform(0, 15)),
        latency_ms=float(rng.choice([0.0, 0.0, 1e-9, 1.0, 1e9])),
    )


def _classes(rng: np.random.Generator, time: Number, latency: bool) -> list[DeviceClass]:
    alike = int(rng.integers(1, 4))
    classes = [DeviceClass("acc", "gpu", alike, Kind.ACCELERATOR, np.inf, _link(rng))]
    if alike < 3 and rng.random() < 0.4:
        other = str(rng.choice(["gpu", "tpu"]))
        classes.append(DeviceClass("alt", other, 1, Kind.ACCELERATOR, np.inf, _link(rng)))
    if sum(c.count for c in classes) < 3 and rng.random() < (0.8 if latency else 0.5):
        classes.append(DeviceClass("cpu", "cpu", 1, Kind.HOST))
    return classes


def _limited(rng: np.random.Generator, cls: DeviceClass, memory: np.ndarray) -> DeviceClass:
    """Set a limit that some set of nodes meets exactly, or misses by little or much."""
    if cls.is_host or rng.random() < 0.4:
        return cls
    held = float(memory[rng.random(len(memory)) < 0.6].sum())
    limit = float(np.floor(held * rng.choice([0.9, 1 - 1e-6, 1.0, 1.0, 1 + 1e-6, 2.0])))
    return replace(cls, memory_limit_bytes=limit)


def _ruled(instance: Instance, rng: np.random.Generator, time: Number, latency: bool) -> Instance:
    """Add a group, pins, servers, nodes apart or an order of the devices, each in some instances."""
    n, names = instance.n, [d.name for d in instance.devices]
    runs = np.isfinite(instance.class_time_ms)
    if n > 2 and rng.random() < 0.25:
        pair = rng.choice(n, 2, replace=False)
        if runs[pair].all(axis=0).any():
            instance = instance.replace(colocate=tuple("g" if v in pair else None for v in range(n)))
    if rng.random() < 0.2:
        v = int(rng.integers(n))
        able = [d.name for d in instance.devices if runs[v, d.class_index]]
        pin = (str(rng.choice(able)),)
        instance = instance.replace(pin=tuple(pin if w == v else () for w in range(n)))
    if latency:
        return instance
    if rng.random() < 0.25:
        places = rng.integers(0, 3, len(names))
        groups = [tuple(x for x, p in zip(names, places, strict=True) if p == k) for k in range(2)]
        servers = [Server(f"s{k}", group, _link(rng)) for k, group in enumerate(groups) if group]
        instance = instance.replace(servers=tuple(servers))
    if rng.random() < 0.15:
        instance = instance.replace(constraints=Constraints(apart=((0, n - 1),)))
    if rng.random() < 0.15:
        instance = instance.replace(order=tuple(str(x) for x in rng.permutation(names)))
    return instance
