"""Large training graphs: certified plans by the default method, the same every time."""

import numpy as np
import pytest

import placer
from placer.downsets.lattice import Lattice
from placer.downsets.measures import measures
from placer.downsets.search import Limits, attempt
from placer.options import Options
from placer.run import Run
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
