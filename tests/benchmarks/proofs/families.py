"""Generated families: shapes with random costs, of any size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.benchmarks.proofs.graph import Graph

__all__ = ["FAMILIES"]

Shape = list[tuple[int, ...]]
"""What each node reads, in a topological order."""


def chain(rng: np.random.Generator, n: int, reach: int) -> Shape:
    """Return a chain; every fourth node, about, also reads one that lies up to ``reach`` before it."""
    reads: Shape = [()]
    for v in range(1, n):
        skips = rng.random() < 0.25 and v > 2
        reads.append((v - 1, max(0, v - int(rng.integers(2, reach + 1)))) if skips else (v - 1,))
    return reads


def series_parallel(rng: np.random.Generator, n: int) -> Shape:
    """Replace random edges by two in a row or by two side by side until there are ``n`` nodes."""
    edges, count = [(0, 1)], 2
    while count < n:
        u, w = edges.pop(int(rng.integers(len(edges))))
        edges += [(u, count), (count, w)]
        if rng.random() < 0.5 and count + 1 < n:
            edges += [(u, count + 1), (count + 1, w)]
            count += 1
        count += 1
    return ordered(count, edges)


def ordered(n: int, edges: list[tuple[int, int]]) -> Shape:
    """Number nodes in a topological order, the first that is ready first."""
    readers: list[list[int]] = [[] for _ in range(n)]
    waiting = [0] * n
    for u, w in edges:
        readers[u].append(w)
        waiting[w] += 1
    order = [v for v in range(n) if not waiting[v]]
    for u in order:
        for w in readers[u]:
            waiting[w] -= 1
            if not waiting[w]:
                order.append(w)
    number = {v: i for i, v in enumerate(order)}
    reads: list[set[int]] = [set() for _ in range(n)]
    for u, w in edges:
        reads[number[w]].add(number[u])
    return [tuple(sorted(sources)) for sources in reads]


def layers(rng: np.random.Generator, depth: int, width: int) -> Shape:
    """Return layers of ``width`` nodes that read one to three of the layer before, few of an earlier one."""
    reads: Shape = [()] * width
    for layer in range(1, depth):
        for _ in range(width):
            count = min(width, int(rng.integers(1, 4)))
            sources = [(layer - 1) * width + int(u) for u in rng.choice(width, count, replace=False)]
            if rng.random() < 0.1:
                sources.append(int(rng.integers(layer * width)))
            reads.append(tuple(sources))
    return reads


def branches(rng: np.random.Generator, count: int, length: int) -> Shape:
    """Return parallel chains between a source and a sink, each up to a third longer or shorter."""
    reads: Shape = [()]
    ends = []
    for _ in range(count):
        last = 0
        for _ in range(max(1, round(length * rng.uniform(2 / 3, 4 / 3)))):
            reads.append((last,))
            last = len(reads) - 1
        ends.append(last)
    return [*reads, tuple(ends)]


def star(rng: np.random.Generator, consumers: int) -> Shape:
    """Return a source that many read; half of the stars have a sink that reads them all."""
    reads: Shape = [(), *[(0,)] * consumers]
    return [*reads, tuple(range(1, consumers + 1))] if rng.random() < 0.5 else reads


def diamonds(rng: np.random.Generator, count: int, width: int) -> Shape:
    """Return a chain of forks into ``width`` nodes and joins; some forks have a shortcut."""
    reads: Shape = [()]
    for _ in range(count):
        fork = len(reads) - 1
        inner = range(fork + 1, fork + 1 + width)
        reads += [(fork,)] * width
        reads.append((*inner, fork) if rng.random() < 0.3 else tuple(inner))
    return reads


def lattice(rng: np.random.Generator, rows: int, steps: int) -> Shape:
    """Return an unrolled recurrent network: each cell reads the cell before and the cell below."""
    del rng
    cells = [(row, step) for step in range(steps) for row in range(rows)]
    return [
        tuple(v - back for back, there in ((rows, step > 0), (1, row > 0)) if there)
        for v, (row, step) in enumerate(cells)
    ]


def experts(rng: np.random.Generator, blocks: int, count: int) -> Shape:
    """Return blocks of an attention, a router, experts that read both, and a sum beside the residual."""
    del rng
    reads: Shape = [()]
    for _ in range(blocks):
        last = len(reads) - 1
        reads += [(last,), (last + 1,)]
        reads += [(last + 1, last + 2)] * count
        reads.append((last + 1, *range(last + 3, last + 3 + count)))
    return reads


SHAPES: dict[str, Callable[..., Shape]] = {
    "chain": chain,
    "series-parallel": series_parallel,
    "layers": layers,
    "branches": branches,
    "star": star,
    "diamonds": diamonds,
    "lattice": lattice,
    "experts": experts,
}


def random_costs(shape: Shape, rng: np.random.Generator) -> Graph:
    """Draw costs: alike, of several kinds, or of all magnitudes; in each graph in one of these ways."""
    n = len(shape)
    way = rng.integers(3)
    if way == 0:
        time = rng.uniform(0.8, 1.2, n)
    elif way == 1:
        time = rng.choice([0.1, 1.0, 4.0], n) * rng.choice([1.0, 1.0, 1.5], n)
    else:
        time = rng.lognormal(0.0, 1.2, n)
    weights = 1e7 * rng.lognormal(0.0, 1.0, n) * (rng.random(n) < 0.7)
    output = 1e6 * rng.lognormal(0.0, 0.8, n)
    other = rng.uniform(0.6, 1.6, n)
    graph = Graph()
    for v, reads in enumerate(shape):
        graph.add(f"v{v}", reads, time[v], weights=weights[v], output=output[v], other=other[v])
    return graph


def _family(shape: Callable[..., Shape]) -> Callable[..., Graph]:
    return lambda rng, *sizes: random_costs(shape(rng, *sizes), rng)


FAMILIES: dict[str, Callable[..., Graph]] = {name: _family(shape) for name, shape in SHAPES.items()}
"""From a family's name to a function of a random generator and sizes."""
