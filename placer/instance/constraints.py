"""Rules on a plan that no node has by itself: nodes apart, how many devices, which devices."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Constraints"]


@dataclass(frozen=True)
class Constraints:
    """Rules that a plan has to keep.

    Parameters
    ----------
    apart
        Groups of node indices; the members of a group go to pairwise different devices.
    max_devices
        At most so many devices (accelerators and hosts) hold nodes; None for no limit.
    use_devices
        Names of the devices that must hold at least one node each, while all others stay empty; no
        rule when there are none.
    """

    apart: tuple[tuple[int, ...], ...] = ()
    max_devices: int | None = None
    use_devices: tuple[str, ...] = ()
