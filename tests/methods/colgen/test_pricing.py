"""Diagrams, loads and prices of sets against every subset of small random instances."""

import itertools

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance
from placer.methods.colgen.frontier import _codes, build_diagram, walk_order
from placer.methods.colgen.linear_loads import build_loads
from placer.methods.colgen.pricing import Grid, make_pricers
from placer.options import Communication, Schedule
from placer.plans.evaluate import device_loads
from placer.reductions.problem import contract
from tests.support.random_instances import random_instance

SEEDS = range(12)


def subsets(size: int) -> np.ndarray:
    return np.array(list(itertools.product((False, True), repeat=size)))


def random_loads(seed: int, communication: Communication):
    instance = random_instance(seed, nodes=7, training=seed % 2 == 1, heterogeneous=seed % 3 == 0)
    problem = contract(instance, contiguous=False)
    return build_loads(problem, communication, Schedule.ONE_F_ONE_B)


@pytest.mark.parametrize("communication", list(Communication))
@pytest.mark.parametrize("seed", SEEDS)
def test_load_of_a_set_is_what_its_device_does(seed, communication):
    loads = random_loads(seed, communication)
    problem, instance = loads.problem, loads.problem.instance
    sets = subsets(problem.size)
    for t, kind in enumerate(loads.types):
        for inside, load in zip(sets, loads.load_ms(t, sets), strict=True):
            elsewhere = [d for d in range(len(instance.devices)) if d != kind.devices[0]]
            if not np.isfinite(load) or not elsewhere:
                continue
            device = np.where(inside, kind.devices[0], elsewhere[0])
            if not problem.allowed[np.arange(problem.size), device].all():
                continue
            expected = device_loads(instance, problem.plan(device).device).load_ms(communication)[
                kind.devices[0]
            ]
            assert load == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("communication", list(Communication))
@pytest.mark.parametrize("seed", SEEDS)
def test_facets_reach_the_load(seed, communication):
    loads = random_loads(seed, communication)
    sets = subsets(loads.problem.size)
    order = walk_order(loads.problem.size, loads.nets)
    assert sorted(order.tolist()) == list(range(loads.problem.size))
    for t, kind in enumerate(loads.types):
        if kind.is_host:
            continue
        # Walk the diagram with every set, for every facet: the largest facet is the load.
        facets = []
        for f in np.eye(len(loads.facets)):
            receive, send = loads.net_weight(t, f)
            diagram = build_diagram(order, loads.nets, sides=not np.array_equal(receive, send))
            weight = diagram.transition_weight(loads.item_weight(t, f), receive, send)
            facets.append([walk(diagram, weight, inside) for inside in sets])
        possible = ~(sets & ~kind.allowed).any(axis=1)
        expected = loads.load_ms(t, sets)[possible]
        np.testing.assert_allclose(np.max(facets, axis=0)[possible], expected, atol=1e-12)


def walk(diagram, weight, inside) -> float:
    state, total = 0, 0.0
    for item in diagram.order:
        choice = int(inside[item])
        total += weight[state, choice]
        state = diagram.target[state, choice]
    return total


def test_few_states_end_the_cheapest_nets_early_and_never_raise_a_load():
    loads = random_loads(4, Communication.SEQUENTIAL)
    order = walk_order(loads.problem.size, loads.nets)
    mix = np.ones(1)
    receive, send = loads.net_weight(0, mix)
    item = loads.item_weight(0, mix)
    full = build_diagram(order, loads.nets, sides=False)
    narrow = build_diagram(order, loads.nets, sides=False, max_states=2)
    assert np.diff(narrow.offset).max() <= 2 < np.diff(full.offset).max()
    assert narrow.cut.any()
    assert not full.cut.any()
    for inside in subsets(loads.problem.size):
        low = walk(narrow, narrow.transition_weight(item, receive, send), inside)
        assert low <= walk(full, full.transition_weight(item, receive, send), inside) + 1e-12


def star(leaves: int, *, inwards: bool):
    ends = [(leaf, 0) if inwards else (0, leaf) for leaf in range(1, leaves + 1)]
    rng = np.random.default_rng(leaves)
    return Instance.build(
        name="star",
        ids=[f"n{v}" for v in range(leaves + 1)],
        types=("gpu",),
        time_ms=rng.random((leaves + 1, 1)),
        transfer_ms=rng.random(leaves + 1),
        edges=ends,
        classes=[DeviceClass("gpu", "gpu", 2)],
    )


@pytest.mark.parametrize("inwards", [False, True])
def test_a_hub_with_more_nets_than_a_code_holds_needs_few_states(inwards):
    problem = contract(star(50, inwards=inwards), contiguous=False)
    loads = build_loads(problem, Communication.SEQUENTIAL, Schedule.ONE_F_ONE_B)
    pricer = make_pricers(loads)[0]
    assert not pricer.diagram.cut.any()
    assert np.diff(pricer.diagram.offset).max() <= 4
    weight = pricer.diagram.transition_weight(
        loads.item_weight(0, np.ones(1)), *loads.net_weight(0, np.ones(1))
    )
    sets = np.random.default_rng(0).random((40, problem.size)) < 0.5
    found = [walk(pricer.diagram, weight, inside) for inside in sets]
    np.testing.assert_allclose(found, loads.load_ms(0, sets), atol=1e-12)


def test_states_beyond_one_code_are_told_apart():
    states = np.random.default_rng(0).integers(0, 4, (300, 70)).astype(np.int8)
    states[:150, :35], states[150:] = states[0, :35], states[:150]
    code = _codes(states)
    equal = (states[:, None] == states[None]).all(axis=2)
    np.testing.assert_array_equal(code[:, None] == code[None], equal)


@pytest.mark.parametrize("units", [50, 200_000])
@pytest.mark.parametrize("seed", range(30))
def test_best_value_for_every_load(seed, units):
    loads = random_loads(seed, Communication.SEQUENTIAL)
    size = loads.problem.size
    sets = subsets(size)
    value = np.random.default_rng(seed).integers(-50, 200, size)
    for t, pricer in enumerate(make_pricers(loads)):
        possible = ~(sets & ~pricer.allowed).any(axis=1)
        load = np.where(possible, loads.load_ms(t, sets), np.inf)
        held = loads.memory_bytes(sets) <= pricer.kind.memory_limit_bytes
        top = max(1.0, float(load[possible].max()))
        pricer.set_grid(Grid(units, top))
        best = pricer.values(value)
        for limit in np.linspace(0, top, 7):
            exact = (sets @ value)[held & (load <= limit)].max()
            found = int(best[pricer.capacity(limit)])
            assert found >= exact
            if units > 1000:  # rounding down lets in nothing but ties
                slack = size * top / units * 3
                assert found <= (sets @ value)[load <= limit + slack].max()
            chosen = pricer.best_set(limit)
            assert int(value[chosen].sum()) == found


@pytest.mark.parametrize("seed", range(20))
def test_a_mix_leads_back_from_memory_alone(seed):
    loads = random_loads(seed, Communication.DUPLEX)
    for pricer in make_pricers(loads):
        pricer.set_grid(Grid(1000, 10.0))
        pricer.set_mix(pricer.mix, 1.0)
        pricer.adapt(np.zeros((1, loads.problem.size), dtype=bool), 1.0)
        assert 0.0 <= pricer.memory_mix < 1.0


@pytest.mark.parametrize("seed", range(20))
def test_mixes_relax(seed):
    # Whatever the mix of facets and memory, and the prices of each, no set within load and memory is worth
    # more than what is found.
    loads = random_loads(seed, Communication.DUPLEX)
    sets = subsets(loads.problem.size)
    rng = np.random.default_rng(seed)
    value = rng.integers(0, 100, loads.problem.size)
    for t, pricer in enumerate(make_pricers(loads)):
        pricer.mix = rng.dirichlet(np.ones(len(loads.facets)))
        pricer.memory_mix = 0.4 if pricer.limits_memory else 0.0
        possible = ~(sets & ~pricer.allowed).any(axis=1)
        load = np.where(possible, loads.load_ms(t, sets), np.inf)
        fits = loads.memory_bytes(sets) <= pricer.kind.memory_limit_bytes
        top = max(1.0, float(load[possible].max()))
        pricer.set_grid(Grid(1000, top))
        slope = rng.choice([0.0, 300.0, 1e12], len(loads.facets) + 1) * (seed % 2)
        best = pricer.values(value, slope)
        for limit in np.linspace(0, top, 5):
            priced = int(best[pricer.capacity(limit)]) + pricer.credit(limit)
            assert priced >= (sets @ value)[fits & (load <= limit)].max()
