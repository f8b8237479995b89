"""The start for unequal devices: items go where they are fast, and whole items where devices are full."""

import numpy as np

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.colgen.linear_loads import build_loads
from placer.methods.colgen.spread import spread
from placer.options import Communication, Schedule
from placer.reductions.problem import contract
from placer.search.run import Run


def spread_of(times: list[list[float]], memory: float = 1e9) -> np.ndarray | None:
    instance = Instance.build(
        ids=[str(i) for i in range(len(times))],
        types=["a", "b"],
        time_ms=times,
        memory_bytes=[1.0] * len(times),
        edges=[],
        classes=[
            DeviceClass("a", "a", 1, Kind.ACCELERATOR, memory),
            DeviceClass("b", "b", 1, Kind.ACCELERATOR, 2 * memory),
        ],
    )
    loads = build_loads(contract(instance, contiguous=False), Communication.SEQUENTIAL, Schedule.ONE_F_ONE_B)
    return spread(loads, Run())


def test_items_go_where_they_are_fast():
    assert spread_of([[1.0, 9.0], [9.0, 1.0], [9.0, 1.0], [1.0, 9.0]]).tolist() == [0, 1, 1, 0]


def test_memory_sends_items_elsewhere():
    found = spread_of([[1.0, 2.0], [1.0, 2.0], [1.0, 9.0]], memory=1.0)
    assert found.tolist() == [1, 1, 0]


def test_nothing_to_spread_without_times():
    assert spread_of([[0.0, 0.0]]) is None
