"""Larger graphs of a known shape, with random costs."""

import itertools

import numpy as np

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance


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


def transformer(blocks: int, *, heads: int = 4, devices: int = 8) -> Instance:
    """Return an encoder of blocks with ``6 * heads + 9`` operators each, all reading one attention mask."""
    ids: list[str] = []
    layers: list[str] = []
    edges: list[tuple[int, int]] = []

    def node(name: str, layer: str, *reads: int) -> int:
        ids.append(name)
        layers.append(layer)
        edges.extend((u, len(ids) - 1) for u in reads)
        return len(ids) - 1

    mask = node("attention_mask", "embeddings")
    last = node("embeddings/add", "embeddings", node("input_ids", "embeddings"))
    for b in range(blocks):
        layer = f"encoder/layer.{b}"
        norm = node(f"{layer}/norm1", layer, last)
        contexts = []
        for h in range(heads):
            q, k, v = (node(f"{layer}/head{h}/{x}", layer, norm) for x in "qkv")
            scores = node(f"{layer}/head{h}/scores", layer, q, k, mask)
            soft = node(f"{layer}/head{h}/softmax", layer, scores)
            contexts.append(node(f"{layer}/head{h}/context", layer, soft, v))
        out = node(f"{layer}/out", layer, node(f"{layer}/concat", layer, *contexts))
        residual = node(f"{layer}/add1", layer, out, last)
        inner = node(
            f"{layer}/gelu", layer, node(f"{layer}/fc1", layer, node(f"{layer}/norm2", layer, residual))
        )
        last = node(f"{layer}/add2", layer, node(f"{layer}/fc2", layer, inner), residual)
    rng = np.random.default_rng(0)
    n = len(ids)
    return Instance.build(
        name=f"transformer-{n}",
        ids=ids,
        types=("gpu",),
        time_ms=rng.uniform(0.05, 1, (n, 1)),
        memory_bytes=rng.uniform(1e6, 2e7, n),
        transfer_ms=rng.uniform(0.1, 1, n),
        edges=edges,
        layer=layers,
        classes=(DeviceClass("gpu", "gpu", devices, Kind.ACCELERATOR, 1.6e10),),
    )
