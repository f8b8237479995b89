"""Which devices are interchangeable: exchanging two of them turns a plan into one just as good."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from placer.arrays import BoolArray
from placer.instance.cluster import Device

__all__ = ["interchangeable"]


def _likeness(device: Device) -> Hashable:
    return device.likeness


def interchangeable(
    devices: Iterable[Device], allowed: BoolArray, key: Callable[[Device], Hashable] = _likeness
) -> list[list[int]]:
    """Group devices that nothing tells apart.

    Parameters
    ----------
    devices
        Those to group.
    allowed
        Whether a node, item or group may go to a device, ``(N, D)``; pins and forbids are in it.
    key
        What else has to be equal: all that the cluster says, unless the purpose needs more or less.

    Returns
    -------
    list of list of int
        Indices of the devices, groups and members in the order given.
    """
    found: dict[Hashable, list[int]] = {}
    for device in devices:
        found.setdefault((key(device), allowed[:, device.index].tobytes()), []).append(device.index)
    return list(found.values())
