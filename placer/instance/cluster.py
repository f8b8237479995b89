"""Devices: classes of interchangeable members, and the link of each class to host memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from placer.arrays import FloatArray
from placer.instance.modes import ALONE, Mode

__all__ = ["Device", "DeviceClass", "Kind", "Link", "Server"]


class Kind(StrEnum):
    """What a device is: accelerators pay transfers; hosts do not, and never recompute."""

    ACCELERATOR = "accelerator"
    HOST = "host"


@dataclass(frozen=True)
class Link:
    """The link between a device and host memory.

    A producer with a direct transfer time pays ``transfer_ms * transfer_scale``; one with
    ``output_bytes`` pays ``latency_ms + output_bytes / bandwidth_bytes_per_s`` (in ms; nothing for
    zero bytes).
    """

    transfer_scale: float = 1.0
    bandwidth_bytes_per_s: float | None = None
    latency_ms: float = 0.0

    def ring_ms(self, size_bytes: FloatArray, count: int, passes: int = 2) -> FloatArray:
        """Time in which a ring of so many devices sums up sizes, without latency; 0 where nothing limits it.

        Two passes sum up, one gathers or scatters: ``passes (count - 1) / count`` of the bytes go over each
        link, in ``passes (count - 1)`` messages.  Source: Patarasuk and Yuan, 2009.
        """
        if count == 1 or self.bandwidth_bytes_per_s is None:
            return 0.0 * size_bytes
        return passes * (count - 1) / count * 1e3 * size_bytes / self.bandwidth_bytes_per_s


@dataclass(frozen=True)
class DeviceClass:
    """``count`` identical devices; member i is called ``f"{name}{i}"``.

    ``memory_reserve_bytes`` is taken by others: one size for every member, or one for each of them; and so is
    ``memory_reserve_share`` of the limit, whatever that is.
    ``price_per_hour`` is what one member costs, in any currency; None for not known.
    ``peer_link`` is what members that run one stage together exchange data over; None for their ``link``.
    ``mode`` is that of one device but where ``placer.reductions.teams`` lets several act as one member;
    classes with the same ``pool`` then share its devices (`Instance.pools`).  Files know nothing of both.
    """

    name: str
    type: str
    count: int
    kind: Kind = Kind.ACCELERATOR
    memory_limit_bytes: float = inf
    link: Link = Link()
    memory_reserve_bytes: float | tuple[float, ...] = 0.0
    mode: Mode = ALONE
    pool: int | None = None
    memory_reserve_share: float = 0.0
    price_per_hour: float | None = None
    peer_link: Link | None = None

    def __post_init__(self) -> None:
        reserve = self.memory_reserve_bytes
        if isinstance(reserve, tuple) and len(set(reserve)) == 1:
            object.__setattr__(self, "memory_reserve_bytes", reserve[0])  # one form for one meaning

    @property
    def is_host(self) -> bool:
        """Whether the members are hosts."""
        return self.kind is Kind.HOST

    def member(self, i: int) -> str:
        """Name of member ``i``."""
        return f"{self.name}{i}"

    @property
    def peers(self) -> Link:
        """The link among members that run one stage together."""
        return self.link if self.peer_link is None else self.peer_link

    @property
    def shared_reserve_bytes(self) -> float:
        """What the share comes to; without a limit, nothing."""
        return self.memory_reserve_share * self.memory_limit_bytes if self.memory_limit_bytes < inf else 0.0

    def reserve_bytes(self, i: int) -> float:
        """Memory of member ``i`` that is taken by others."""
        reserve = self.memory_reserve_bytes
        return (reserve[i] if isinstance(reserve, tuple) else reserve) + self.shared_reserve_bytes

    def room_bytes(self, i: int) -> float:
        """Memory of member ``i`` that a plan may use."""
        return self.memory_limit_bytes - self.reserve_bytes(i)


@dataclass(frozen=True)
class Server:
    """Devices with fast links among themselves; data to and from other servers take the uplink as well.

    A transfer across servers takes as long as the slower of the device's own link and its server's uplink.

    Parameters
    ----------
    name
        For messages and reports.
    devices
        Names of devices, or of classes for all of their members.
    uplink
        The way to other servers, for each device by itself.
    """

    name: str
    devices: tuple[str, ...]
    uplink: Link = Link()


@dataclass(frozen=True)
class Device:
    """One device of the cluster, with the index of its class.

    ``memory_limit_bytes`` is what a plan may use.  ``rank`` is the place in the order that the user wants,
    shared by the members of a class that is named as a whole; None for devices that may come anywhere.
    ``server`` is the index of its server; None for a device that is in none, and so apart from all others.
    """

    name: str
    index: int
    class_index: int
    is_host: bool
    memory_limit_bytes: float
    rank: int | None = None
    server: int | None = None

    @property
    def likeness(self) -> tuple[int, float, int | None, int | None]:
        """Equal for devices that are interchangeable as far as the cluster is concerned (pins aside)."""
        return self.class_index, self.memory_limit_bytes, self.rank, self.server
