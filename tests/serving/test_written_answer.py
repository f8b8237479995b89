"""What answers of ``placer serve`` say of what limits them."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.plans.result import Status
from placer.serving.serve import serve, served
from placer.serving.serving_request import Goal, ServingRequest


def beside_a_host(**asked):
    """Two nodes on a small device beside a host; between them one that only the host has room for."""
    cluster = [
        DeviceClass("a", "t", 1, Kind.ACCELERATOR, 4.0),
        DeviceClass("b", "t", 1, Kind.ACCELERATOR, 4.0),
    ]
    instance = Instance.build(
        ids=["u", "v", "w", "x"],
        types=["t", "host"],
        time_ms=np.array([[1.0, 9.0], [1.0, 9.0], [1.0, 9.0], [1.0, 9.0]]),
        edges=[(0, 1), (1, 2), (2, 3)],
        classes=[*cluster, DeviceClass("h", "host", 1, Kind.HOST)],
        memory_bytes=np.array([3.0, 2.0, 1.0, 2.0]),
        activation_bytes=np.zeros(4),
        output_bytes=np.zeros(4),
    )
    return serve(*served(instance, None, ServingRequest(**asked)))


def test_intervals_are_named_where_they_cost_time():
    """Memory 3 and 1 on one device, 2 and 2 on the other, but no interval has the first and the third."""
    found = beside_a_host(objective=Goal.TPOT)
    assert (found.status, found.value) == (Status.OPTIMAL, pytest.approx(12.0))
    assert any("--scattered takes 4 ms" in text for text in found.limited_by)
    assert not any(
        "--scattered" in text for text in beside_a_host(objective=Goal.TPOT, scattered=True).limited_by
    )


def test_nothing_limits_sequences_on_a_host_without_a_limit():
    found = beside_a_host(objective=Goal.CONCURRENCY)
    assert (found.status, found.value) == (Status.OPTIMAL, 2.0**22)
    assert found.limited_by == (
        "nothing: memory has room for any number, and none beyond 4,194,304 is looked at",
    )
