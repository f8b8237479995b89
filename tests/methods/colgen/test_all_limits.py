"""Sets that keep every limit against every subset, and their bound against every assignment."""

from dataclasses import replace

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance
from placer.methods.colgen import all_limits
from placer.methods.colgen.all_limits import LimitBound, applicable
from placer.methods.colgen.bound import Generation
from placer.methods.colgen.linear_loads import build_loads
from placer.methods.colgen.pricing import Grid, make_pricers
from placer.options import Communication, Options, Schedule
from placer.reductions.problem import contract
from placer.search.run import Run
from tests.methods.colgen.test_pricing import subsets
from tests.support.brute import throughput_optima
from tests.support.level import count, seeds
from tests.support.random_instances import random_instance


def tight_instance(seed: int, nodes: int) -> Instance:
    """With memory that leaves few sets possible."""
    instance = random_instance(
        seed, nodes=nodes, training=seed % 2 == 1, heterogeneous=seed % 3 == 0, overrides=seed % 5 == 0
    )
    memory = np.random.default_rng(seed).choice([10.0, 25.0, 34.0, 50.0, 51.0, 98.0], instance.n)
    classes = tuple(replace(c, memory_limit_bytes=120.0 + 50.0 * k) for k, c in enumerate(instance.classes))
    return instance.replace(memory_bytes=memory, classes=classes)


def limit_bound(instance: Instance, options: Options, upper: float) -> LimitBound | None:
    """Bound below a known plan; None where one limit says it all."""
    loads = build_loads(contract(instance, contiguous=False), options.communication, options.schedule)
    pricers = make_pricers(loads)
    if not applicable(pricers):
        return None
    for pricer in pricers:
        pricer.set_grid(Grid(1000, upper))
    return LimitBound(Generation(loads, pricers, upper))


@pytest.mark.parametrize("communication", list(Communication))
@pytest.mark.parametrize("seed", seeds(24))
def test_best_set_of_all(seed: int, communication: Communication) -> None:
    instance = tight_instance(seed, 7)
    rng, upper = np.random.default_rng(seed), 60.0
    bound = limit_bound(instance, Options(communication=communication), upper)
    if bound is None:
        return
    loads, value = bound.loads, rng.integers(-20, 200, bound.loads.problem.size)
    sets = subsets(loads.problem.size)
    for t, search in enumerate(bound.searches):
        possible = ~(sets & ~search.pricer.allowed).any(axis=1)
        load = np.where(possible, loads.load_ms(t, sets), np.inf)
        held = loads.memory_bytes(sets) <= (search.memory_limit if search.pricer.limits_memory else np.inf)
        for load_ms in rng.uniform(0, upper, 6).tolist():
            fits = held & (load <= load_ms)
            best = int((sets[fits] @ value).max(initial=0))
            priced = search.best(value, load_ms, all_limits._Priced(0, None), Run())
            assert priced is not None
            assert priced.value == best
            if priced.inside is not None:
                assert value[priced.inside].sum() == best
                assert search.keeps(priced.inside, load_ms)


@pytest.mark.parametrize("schedule", list(Schedule))
@pytest.mark.parametrize("communication", list(Communication))
def test_never_above_the_optimum(communication: Communication, schedule: Schedule) -> None:
    options, looked = Options(contiguous=False, communication=communication, schedule=schedule), 0
    for seed in range(count(24, least=24)):
        instance = tight_instance(seed, 6)
        optimum = throughput_optima(instance)["free", schedule.value, communication.value]
        if not 0 < optimum < np.inf:
            continue
        bound = limit_bound(instance, options, 1.5 * optimum)
        if bound is None:
            continue
        bound.improve(Run(), 1e-6, 1.5 * optimum)
        assert bound.is_complete
        assert bound.lower_ms <= optimum * (1 + 1e-12)
        looked += bound.lower_ms > 0
    assert looked


def test_what_does_not_go_together() -> None:
    """Of items of 0.6 and 0.45 of a device only those of 0.45 go together: two of them share a device."""
    instance = Instance.build(
        ids=list("abcde"),
        types=("gpu",),
        time_ms=[1.0] * 5,
        memory_bytes=[60.0, 60.0, 60.0, 45.0, 45.0],
        edges=[],
        classes=(DeviceClass("gpu", "gpu", 4, memory_limit_bytes=100.0),),
    )
    bound = limit_bound(instance, Options(contiguous=False), 2.0)
    assert bound is not None
    bound.improve(Run(), 1e-4, 2.0)
    assert bound.lower_ms == pytest.approx(2.0, rel=1e-4)


def test_gives_up_where_labels_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_limits, "ROWS", 2)
    rng = np.random.default_rng(0)
    instance = Instance.build(
        ids=[f"v{i}" for i in range(9)],
        types=("gpu",),
        time_ms=rng.uniform(1, 5, 9),
        memory_bytes=rng.uniform(10, 50, 9),
        edges=[],
        classes=(DeviceClass("gpu", "gpu", 3, memory_limit_bytes=100.0),),
    )
    bound = limit_bound(instance, Options(contiguous=False), 30.0)
    assert bound is not None
    bound.improve(Run(), 1e-6, 30.0)
    assert not bound.is_complete
