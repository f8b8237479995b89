"""Devices: classes of interchangeable members, and the link of each class to host memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf

__all__ = ["Device", "DeviceClass", "Kind", "Link"]


class Kind(StrEnum):
    """What a device is: accelerators have memory limits and pay transfers, hosts do neither."""

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


@dataclass(frozen=True)
class DeviceClass:
    """``count`` identical devices; member i is called ``f"{name}{i}"``."""

    name: str
    type: str
    count: int
    kind: Kind = Kind.ACCELERATOR
    memory_limit_bytes: float = inf
    link: Link = Link()

    @property
    def is_host(self) -> bool:
        """Whether the members are hosts."""
        return self.kind is Kind.HOST

    def member(self, i: int) -> str:
        """Name of member ``i``."""
        return f"{self.name}{i}"


@dataclass(frozen=True)
class Device:
    """One device of the cluster, with the index of its class."""

    name: str
    index: int
    class_index: int
    is_host: bool
    memory_limit_bytes: float
