"""Twins: only items whose exchange changes nothing, and bounds with them hold for every plan."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Link, Server
from placer.instance.instance import Instance
from placer.methods.downsets.twins import are_twins
from placer.reductions.problem import contract
from placer.solving.solve import solve
from tests.support.brute_features import candidates


def fan(seed: int = 0, **changes: object) -> Instance:
    """A node that three twins read, whose outputs two more nodes read one after the other; 2 x 2 GPUs."""
    rng = np.random.default_rng(seed)
    first, twin, last, end = rng.integers(1, 9, 4).tolist()
    a, b, c, d = (rng.integers(0, 6, 4) / 2).tolist()
    return Instance.build(
        ids=["first", "q", "k", "v", "last", "end"],
        types=["gpu"],
        time_ms=[[first], [twin], [twin], [twin], [last], [end]],
        transfer_ms=[a, b, b, b, c, d],
        memory_bytes=[2, 1, 1, 1, 2, 1],
        edges=[(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4), (4, 5)],
        classes=[DeviceClass("gpu", "gpu", 4, memory_limit_bytes=float(rng.integers(3, 9)))],
        servers=[
            Server("s0", ("gpu0", "gpu1"), Link(transfer_scale=float(rng.integers(1, 6)))),
            Server("s1", ("gpu2", "gpu3"), Link(transfer_scale=float(rng.integers(1, 6)))),
        ],
    ).replace(**changes)


def test_which_are_twins():
    problem = contract(fan(), contiguous=True)
    pairs = {(a, b) for a in range(6) for b in range(a + 1, 6) if are_twins(problem, a, b)}
    assert pairs == {(1, 2), (1, 3), (2, 3)}


@pytest.mark.parametrize(
    "changes",
    [
        {"time_ms": np.array([[1.0], [2.0], [3.0], [2.0], [1.0], [1.0]])},
        {"memory_bytes": np.array([2.0, 1.0, 2.0, 1.0, 2.0, 1.0])},
        {"transfer_ms": np.array([1.0, 2.0, 3.0, 2.0, 1.0, 1.0])},
        {"pin": ((), ("gpu0",), (), (), (), ())},
        {"edges": np.array([(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4), (4, 5), (1, 5)])},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_tells_them_apart(changes):
    problem = contract(fan(**changes), contiguous=True)
    assert not are_twins(problem, 1, 2)


@pytest.mark.parametrize("seed", range(25))
def test_bounds_hold_for_every_plan(seed):
    instance = fan(seed)
    optimum = candidates(instance, ("ordered", "1f1b", "sequential")).optimum()
    result = solve(instance, method="dpl")
    if result.objective is None:
        assert np.isinf(optimum)
        return
    assert result.bound <= optimum * (1 + 1e-9) <= result.objective * (1 + 2e-9)
