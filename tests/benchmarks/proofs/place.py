"""From a graph to an instance: the backward pass, the times of every kind of device, transfers and memory."""

from __future__ import annotations

import numpy as np

from placer.instance.instance import Instance
from placer.instance.training import Optimizer, Training
from tests.benchmarks.proofs.cluster import Cluster, draw_cluster, with_memory
from tests.benchmarks.proofs.graph import Graph

__all__ = ["place"]

SLOW, HOST = 2.5, 12.0
"""Times of slow accelerators and of hosts in terms of fast ones, before what each operator adds."""
BACKWARD = 2.0
"""Time of a backward operator in terms of its forward operator."""
STREAMED_SHARE = 0.3
"""Share of training graphs whose activations are kept per microbatch."""


def place(name: str, graph: Graph, rng: np.random.Generator, *, training: bool) -> Instance:
    """Make an instance of a graph.

    Parameters
    ----------
    name
        Of the instance.
    graph
        The forward pass.
    rng
        Draws the cluster, and what depends on it.
    training
        Whether to mirror the graph: each backward operator reads its forward operator and the gradients of
        all that read that, shares its device, and sends the gradient of what it reads.
    """
    operators = graph.operators
    n = len(operators)
    cluster = draw_cluster(rng, n)
    time = np.array([op.time_ms for op in operators])
    other = np.array([op.other for op in operators])
    times = np.column_stack([time, SLOW * other * time, HOST * other * time])
    output = np.array([op.output_bytes for op in operators])
    weights = np.array([op.weight_bytes for op in operators])
    edges = [(u, w) for w, op in enumerate(operators) for u in op.reads]
    ids = [op.name for op in operators]
    held = output.copy()
    rules: dict[str, object] = {}
    if training:
        received = [sum(output[u] for u in op.reads) for op in operators]
        times, ids = (
            np.concatenate([times, BACKWARD * times]),
            [*ids, *(f"{op.name}/backward" for op in operators)],
        )
        edges += [(v, n + v) for v in range(n)] + [(n + w, n + u) for u, w in edges]
        output = np.concatenate([output, received])
        weights, held = np.concatenate([weights, 0 * weights]), np.concatenate([held, 0 * held])
        streamed = rng.random() < STREAMED_SHARE
        rules = {
            "backward": np.arange(2 * n) >= n,
            "colocate": [op.name for op in operators] * 2,
            "training": Training(Optimizer.ADAM, int(rng.choice([2, 4, 8])) if streamed else 1),
            ("activation_bytes" if streamed else "memory_bytes"): held,
        }
    else:
        rules = {"memory_bytes": 0.1 * held}  # most outputs are freed at once
    instance = Instance.build(
        name=name,
        ids=ids,
        types=("fast", "slow", "cpu"),
        time_ms=times,
        output_bytes=output,
        weight_bytes=weights,
        edges=edges,
        classes=cluster.classes(_bandwidth(cluster, times[:, 0], output)),
        **rules,
    )
    return with_memory(instance, cluster.memory)


def _bandwidth(cluster: Cluster, time: np.ndarray, output: np.ndarray) -> float:
    """Return the bytes per second at which transfers take their share of the time."""
    return float(1e3 * output.mean() / (cluster.transfers * time.mean()))
