"""Units of memory in a diagram: every set that fits stays as it was, what exceeds the units is barred."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance
from placer.methods.colgen.colgen import solve
from placer.methods.colgen.frontier import build_diagram, walk_order
from placer.methods.colgen.room import in_room, room_units
from placer.options import Communication, Options
from placer.plans.status import Stop
from placer.search.run import Run
from tests.methods.colgen.test_pricing import random_loads, subsets, walk
from tests.support.brute import throughput_optima
from tests.support.level import seeds


@pytest.mark.parametrize("seed", seeds(40))
def test_sets_that_fit_stay_as_they_were(seed: int) -> None:
    """Shares of all sizes, among them exact parts of the whole, against every subset."""
    loads, rng = random_loads(seed, Communication.SEQUENTIAL), np.random.default_rng(seed)
    size = loads.problem.size
    share = rng.choice([0.0, 0.1, 0.2, 0.25, 1 / 3, 0.34, 0.5, 0.51, 0.9, 1.0, float(rng.random())], size)
    found = room_units(share)
    sets = subsets(size)
    total = sets @ share
    if found is None:
        return
    units, capacity = found
    assert units.sum() > capacity
    diagram = build_diagram(walk_order(size, loads.nets), loads.nets, sides=False)
    smaller = in_room(diagram, units, capacity)
    assert np.diff(smaller.offset)[-1] == 1
    weights = loads.item_weight(0, np.ones(1)), *loads.net_weight(0, np.ones(1))
    before, after = diagram.transition_weight(*weights), smaller.transition_weight(*weights)
    for inside, used, rounded in zip(sets, total, sets @ units, strict=True):
        if rounded > capacity:
            assert used > 1.0 - 1e-12, "a set that fits is within its units"
            assert walk(smaller, after, inside) == np.inf
        else:
            assert walk(smaller, after, inside) == walk(diagram, before, inside)


def test_no_units_where_everything_fits() -> None:
    assert room_units(np.array([0.2, 0.3, 0.4])) is None
    assert room_units(np.zeros(0)) is None


def test_just_more_than_a_quarter_of_a_device() -> None:
    """Three to a device are all that fit: 12 items of 1 ms on 4 devices take 3 ms, which 0.26 of 4 hides."""
    instance = Instance.build(
        ids=[f"v{i}" for i in range(12)],
        types=("gpu",),
        time_ms=[1.0] * 11 + [0.1],
        memory_bytes=[26.0] * 12,
        edges=[],
        classes=(DeviceClass("gpu", "gpu", 3, memory_limit_bytes=100.0), DeviceClass("big", "gpu", 1)),
    )
    outcome = solve(instance, Options(contiguous=False), Run(work_limit=5.0))
    assert outcome.stop is Stop.FINISHED
    assert outcome.bound_ms == pytest.approx(3.0, rel=1e-4)


@pytest.mark.parametrize("seed", seeds(30))
def test_bounds_never_exceed_the_optimum(seed: int) -> None:
    """With two to five nodes that fill a device, and others beside them."""
    rng = np.random.default_rng(seed)
    n = 7
    instance = Instance.build(
        ids=[f"v{i}" for i in range(n)],
        types=("gpu",),
        time_ms=rng.integers(1, 9, n).astype(float),
        transfer_ms=rng.integers(0, 3, n).astype(float),
        memory_bytes=rng.choice([10.0, 25.0, 34.0, 50.0, 51.0, 98.0], n),
        edges=[(u, w) for u in range(n) for w in range(u + 1, n) if rng.random() < 0.3],
        classes=(DeviceClass("gpu", "gpu", 3, memory_limit_bytes=100.0),),
    )
    optimum = throughput_optima(instance)["free", "1f1b", "sequential"]
    outcome = solve(instance, Options(contiguous=False), Run(work_limit=2.0))
    if np.isfinite(optimum):
        assert outcome.bound_ms is None or outcome.bound_ms <= optimum * (1 + 1e-9)
    else:
        assert outcome.plan is None
