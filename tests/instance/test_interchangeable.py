"""Interchangeable devices: what tells members of a class apart, and what a purpose adds or leaves out."""

import numpy as np

from placer.instance.cluster import Device
from placer.instance.interchangeable import interchangeable


def device(index: int, *, cls: int = 0, limit: float = 1.0, rank: int | None = None) -> Device:
    return Device(f"d{index}", index, cls, is_host=False, memory_limit_bytes=limit, rank=rank)


def test_class_limit_rank_and_allowed_nodes_tell_devices_apart() -> None:
    devices = [
        device(0),
        device(1, cls=1),
        device(2, limit=2.0),
        device(3, rank=0),
        device(4),
        device(5),
    ]
    allowed = np.ones((2, 6), dtype=np.bool_)
    allowed[1, 4] = False
    assert interchangeable(devices, allowed) == [[0, 5], [1], [2], [3], [4]]


def test_a_purpose_has_its_own_key() -> None:
    devices = [device(0), device(1, limit=2.0), device(2)]
    allowed = np.ones((1, 3), dtype=np.bool_)
    assert interchangeable(devices, allowed, lambda d: d.class_index) == [[0, 1, 2]]
    assert interchangeable(devices, allowed, lambda d: (d.likeness, d.index == 0)) == [[0], [1], [2]]


def test_only_the_devices_given_are_grouped() -> None:
    devices = [device(0), device(1), device(2)]
    assert interchangeable(devices[1:], np.ones((1, 3), dtype=np.bool_)) == [[1, 2]]
