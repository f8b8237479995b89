"""Bisection without memory limits: bounds below every optimum, plans that keep every limit."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.downsets import bisection
from placer.methods.downsets.bisection import Bisection, relaxation
from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.measures import measures, root_bound
from placer.options import Communication, Options, Schedule
from placer.plans.verify import violations
from placer.search.incumbent import Incumbent
from placer.search.run import Run
from tests.support.brute import throughput_optima
from tests.support.brute_memory import Brute
from tests.support.level import first, seeds
from tests.support.random_instances import random_cluster, random_cluster_memory, random_instance


def bisected(instance: Instance, options: Options, work_s: float | None = None) -> Incumbent:
    lattice = Lattice.of(instance, options)
    best = Incumbent(instance, options, Run())
    best.raise_bound(root_bound(measures(lattice.graph), lattice.graph), "work")
    Bisection(lattice, best, options, memory_mb=500.0).search(best.run.part(work=work_s))
    return best


def check(instance: Instance, options: Options, optimum: float) -> None:
    best = bisected(instance, options)
    assert best.bound <= optimum * (1 + 1e-9)
    if best.plan is not None:
        assert violations(instance, best.plan, options) == []
        assert best.value >= optimum * (1 - 1e-9)
    limits = [c.memory_limit_bytes for c in instance.classes if not c.is_host]
    if sum(instance.memory_bytes) <= min(limits, default=np.inf) and best.bound > 0:
        assert best.value == pytest.approx(optimum, rel=1e-6)
        assert best.bound == pytest.approx(optimum, rel=1e-6)


def questions(seed: int) -> list[tuple[Instance, Options, float]] | None:
    """Random instances with what the relaxation can bound, and their optima; None where there is nothing."""
    found = []
    for instance in (random_cluster(seed), random_instance(seed, training=True, overrides=True)):
        optima = throughput_optima(instance)
        graph = Lattice.of(instance, Options()).graph
        for schedule in Schedule if instance.is_training else [Schedule.ONE_F_ONE_B]:
            for communication in Communication:
                optimum = optima["ordered", schedule.value, communication.value]
                if 0 < optimum < np.inf and root_bound(measures(graph), graph) < np.inf:
                    options = Options(schedule=schedule, communication=communication, gap=0.0)
                    found.append((instance, options, optimum))
    return found or None


@pytest.mark.parametrize("seed", seeds(150))
def test_brackets_the_optimum(seed: int) -> None:
    """And meets it where no memory limit can bind."""
    for instance, options, optimum in first(questions, seed):
        check(instance, options, optimum)


@pytest.mark.parametrize("seed", seeds(30))
def test_brackets_the_optimum_where_stages_keep_microbatches(seed: int) -> None:
    """Memory by stage, recomputation, wanted orders: forgotten by the relaxation, kept by every plan."""
    instance = random_cluster_memory(seed, nodes=5)
    m = instance.training.microbatches
    recomputes = ("none", "auto", "all") if instance.is_training else ("none",)
    choices = [(s, "sequential", recompute, m) for s in ("1f1b", "gpipe") for recompute in recomputes]
    for (schedule, _, recompute, _), optimum in Brute(instance).optima(choices).items():
        options = Options(schedule=schedule, recompute=recompute, gap=0.0)
        lattice = Lattice.of(instance, options)
        if root_bound(measures(lattice.graph), lattice.graph) < np.inf:
            best = bisected(instance, options)
            assert best.bound <= optimum * (1 + 1e-9)
            assert best.value >= optimum * (1 - 1e-9)
            assert best.plan is None or violations(instance, best.plan, options) == []


def two_heavy_nodes(limit: float) -> Instance:
    """A chain of 1, 1, 4, 4 ms on two devices, where the first and the last two are heavy."""
    return Instance.build(
        ids=["a", "b", "c", "d"],
        types=("gpu",),
        time_ms=[1.0, 1.0, 4.0, 4.0],
        memory_bytes=[1.0, 6.0, 6.0, 1.0],
        transfer_ms=[0.0, 0.0, 0.5, 0.0],
        edges=[(0, 1), (1, 2), (2, 3)],
        classes=(DeviceClass("gpu", "gpu", 2, Kind.ACCELERATOR, limit),),
    )


def test_memory_that_binds_is_kept() -> None:
    """With room {a, b, c} | {d} takes 6.5 ms; with b and c apart {a, b} | {c, d} takes 8 ms."""
    options = Options(gap=0.0)
    roomy = bisected(two_heavy_nodes(13.0), options)
    assert (roomy.value, roomy.bound) == (pytest.approx(6.5), pytest.approx(6.5))
    tight = bisected(two_heavy_nodes(10.0), options)
    assert tight.value == pytest.approx(8.0)
    assert tight.bound == pytest.approx(6.5, rel=1e-3)


def test_relaxation_forgets_accelerator_limits_only() -> None:
    lattice = Lattice.of(two_heavy_nodes(10.0), Options())
    free = relaxation(lattice)
    assert np.isinf(free.graph.limit).all()
    assert lattice.graph.limit[0] == pytest.approx(10.0)
    assert (free.graph.memory == lattice.graph.memory).all()


def chain_of_both_passes() -> Instance:
    """Forward 4, 1, 1 ms and backward 1, 1, 4 ms along a chain, for two devices."""
    return Instance.build(
        ids=["a", "b", "c", "a'", "b'", "c'"],
        types=("gpu",),
        time_ms=[4.0, 1.0, 1.0, 1.0, 1.0, 4.0],
        edges=[(0, 1), (1, 2), (2, 5), (5, 4), (4, 3)],
        classes=(DeviceClass("gpu", "gpu", 2, Kind.ACCELERATOR),),
        backward=[False] * 3 + [True] * 3,
        colocate=["a", "b", "c"] * 2,
    )


def test_loads_in_sum_bound_the_sum_of_largest_loads() -> None:
    """{a, b} | {c} takes 7 ms in sum but 5 + 4 ms apart, and {a} | {b, c} 4 + 5 ms: 9 is the optimum."""
    options = Options(schedule=Schedule.GPIPE, gap=0.0)
    lattice = Lattice.of(chain_of_both_passes(), options)
    together, apart = (relaxation(lattice, together=both) for both in (True, False))
    assert (together.graph.gpipe, apart.graph.gpipe) == (False, True)
    best = bisected(chain_of_both_passes(), options)
    assert (best.value, best.bound) == (pytest.approx(9.0), pytest.approx(9.0))


def test_small_budgets_prove_less_and_nothing_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bisection, "BEAMS", ((1, 3),))
    checked = 0
    for seed in range(30):
        instance = random_instance(seed, nodes=6)
        optimum = throughput_optima(instance)["ordered", "1f1b", "sequential"]
        lattice = Lattice.of(instance, Options())
        if 0 < optimum < np.inf and root_bound(measures(lattice.graph), lattice.graph) < np.inf:
            best = bisected(instance, Options(gap=0.0), work_s=1e-6)
            assert best.bound <= optimum * (1 + 1e-9)
            assert best.value >= optimum * (1 - 1e-9)
            checked += 1
    assert checked > 20
