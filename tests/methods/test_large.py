"""Large training graphs: certified plans by the default method, the same every time."""

import numpy as np
import pytest

import placer
from placer.instance.cluster import DeviceClass, Kind, Link
from placer.instance.instance import Instance
from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.measures import measures
from placer.methods.downsets.search import Limits, attempt
from placer.methods.registry import load_method
from placer.options import Objective, Options
from placer.plans.figures import objective_ms
from placer.search.run import Run
from tests.support.transformer import BLOCK, transformer_training


def test_the_graph_is_a_training_graph() -> None:
    """Mirrored edges, colocated pairs, twice the time backwards, and at least as many nodes as asked for."""
    instance = transformer_training(1000, 16)
    assert 1000 <= instance.n < 1000 + BLOCK
    half = instance.n // 2
    assert instance.backward.tolist() == [False] * half + [True] * half
    assert instance.time_ms[half:] == pytest.approx(2 * instance.time_ms[:half])
    assert instance.colocate[:half] == instance.colocate[half:]
    forward = {(u, w) for u, w in instance.edges.tolist() if w < half}
    backward = {(w - half, u - half) for u, w in instance.edges.tolist() if u >= half}
    assert forward == backward
    assert {(v, v + half) for v in range(half)} == {
        (u, w) for u, w in instance.edges.tolist() if u < half <= w
    }


@pytest.mark.slow
def test_ten_thousand_operators_on_64_accelerators() -> None:
    """At most 2 % from the bound; the result is verified by the solve and here again."""
    instance = transformer_training(10_000, 64)
    result = placer.solve(instance, gap=0.02)
    assert result.gap is not None
    assert result.gap <= 0.02
    assert placer.check(instance, result) == []
    work = float(np.asarray(instance.time_ms).sum()) / 64
    assert result.bound is not None
    assert result.bound > 1.1 * work  # it sees transfers


@pytest.mark.parametrize("transfers", [pytest.param(1.0, marks=pytest.mark.slow), 4.0])
def test_noisy_times_and_slow_links(transfers: float) -> None:
    instance = transformer_training(3000, 16, transfers=transfers, jitter=0.1)
    result = placer.solve(instance, gap=0.005)
    assert result.gap is not None
    assert result.gap <= 0.005
    assert placer.check(instance, result) == []


@pytest.mark.slow
def test_the_same_plan_every_time() -> None:
    instance = transformer_training(2500, 24, jitter=0.05)
    first, second = (placer.solve(instance, gap=0.001, seed=3) for _ in range(2))
    assert first.assignment == second.assignment
    assert (first.objective, first.bound) == (second.objective, second.bound)


def test_the_bound_is_below_what_the_complete_search_of_the_graph_itself_refutes() -> None:
    """The search with all limits and no merges finds nothing below the bound, and a plan at the optimum."""
    instance = transformer_training(200, 3)
    result = placer.solve(instance, method="dp", gap=1e-6)
    lattice = Lattice.of(instance, Options())
    m = measures(lattice.graph)
    assert result.objective is not None
    assert attempt(lattice, m, result.objective * (1 + 1e-9), Run(), Limits()).pieces is not None
    below = attempt(lattice, m, result.objective * (1 - 1e-6), Run(), Limits())
    assert below.exhausted
    assert below.pieces is None


@pytest.mark.slow
def test_no_worse_than_its_parts_where_memory_is_tight() -> None:
    """Layers at random on unequal accelerators: here moves of single items beat the search over downsets."""
    instance = layered(2100, width=30, seed=5)
    work = 8.0
    found = {
        method: load_method(method, Objective.THROUGHPUT)(
            instance, Options(method=method), Run(work_limit=share * work)
        )
        for method, share in (("auto", 1.0), ("first-fit", 0.15), ("local-search", 0.15), ("dp", 0.15))
    }
    objective = {
        method: objective_ms(instance, outcome.plan, Options())
        for method, outcome in found.items()
        if outcome.plan is not None
    }
    assert objective.keys() >= {"auto", "first-fit", "local-search"}
    assert objective["auto"] == min(objective.values())


def layered(nodes: int, *, width: int, seed: int) -> Instance:
    """Each node reads up to three of the layer before; two classes and a host, a tenth of memory to spare."""
    rng = np.random.default_rng(seed)
    time = rng.lognormal(-1.5, 1.2, nodes)
    memory = rng.integers(1, 100, nodes) * 1e6
    edges = [
        (int(u), v)
        for v in range(width, nodes)
        for u in rng.choice(width, int(rng.integers(1, 4)), replace=False) + (v // width - 1) * width
    ]
    share = 1.1 * memory.sum() / 8
    return Instance.build(
        ids=[f"n{v}" for v in range(nodes)],
        types=("a", "b", "cpu"),
        time_ms=np.stack([time, time * rng.uniform(1.3, 2.5, nodes), 10 * time], axis=1),
        memory_bytes=memory,
        output_bytes=rng.integers(1, 100, nodes) * 1e4,
        edges=edges,
        classes=[
            DeviceClass("a", "a", 4, memory_limit_bytes=0.95 * share, link=Link(bandwidth_bytes_per_s=16e9)),
            DeviceClass("b", "b", 4, memory_limit_bytes=1.05 * share, link=Link(bandwidth_bytes_per_s=8e9)),
            DeviceClass("cpu", "cpu", 1, kind=Kind.HOST),
        ],
    )
