"""Larger graphs of a known shape, with random costs."""

import itertools

import numpy as np

from placer.cluster import DeviceClass, Kind
from placer.instance import Instance


def _instance(
    edges: list[tuple[int, int]], n: int, accelerators: int, transfer: float, seed: int
) -> Instance:
    rng = np.random.default_rng(seed)
    time = rng.uniform(1, 10, n)
    return Instance.build(
        ids=[f"v{i}" for i in range(n)],
        types=("acc", "cpu"),
        time_ms=np.stack([time, 10 * time], axis=1),
        transfer_ms=transfer * rng.uniform(0.5, 1.5, n),
        edges=edges,
        classes=(
            DeviceClass("acc", "acc", accelerators, Kind.ACCELERATOR, 1e9),
            DeviceClass("cpu", "cpu", 1, Kind.HOST),
        ),
    )


def parallel_branches(
    branches: int, length: int, accelerators: int, *, transfer: float, seed: int = 0
) -> Instance:
    """Return a source, parallel chains and a sink; ``transfer`` is the mean transfer in ms (work: 5.5)."""
    n = branches * length + 2
    edges = []
    for b in range(branches):
        nodes = [0, *range(1 + b * length, 1 + (b + 1) * length), n - 1]
        edges += list(itertools.pairwise(nodes))
    return _instance(edges, n, accelerators, transfer, seed)


def skip_chain(n: int, accelerators: int, *, transfer: float, seed: int = 0) -> Instance:
    """Return a chain in which each fifth node is also read three nodes later."""
    edges = [(i, i + 1) for i in range(n - 1)] + [(i, i + 3) for i in range(0, n - 3, 5)]
    return _instance(edges, n, accelerators, transfer, seed)
