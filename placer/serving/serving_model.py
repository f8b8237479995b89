"""What is served: a chain of nodes with their costs, and the devices, alike ones in pools.

The cost of a node in a step that gives each of B sequences a token, each with c tokens of context:

    time = max(B flops / (peak eff), (read(B) + B kv(c)) / (bandwidth eff)) + launch

Memory is weights and what M microbatches keep: ``weights + M B kv(c)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

import numpy as np

from placer.arrays import BoolArray, FloatArray
from placer.instance.cluster import DeviceClass

__all__ = ["Costs", "Option", "Pool", "ServingModel", "Setting"]


@dataclass(frozen=True)
class Pool:
    """Devices that are alike in every respect.

    Parameters
    ----------
    names
        Their names.
    device_class
        Index of their class.
    cls
        The class.
    room_bytes
        Memory that a plan may use on each.
    server
        Number of their server; devices of one number reach each other without an uplink.
    """

    names: tuple[str, ...]
    device_class: int
    cls: DeviceClass
    room_bytes: float = inf
    server: int = 0

    @property
    def host(self) -> bool:
        """Whether these hold nodes beside the accelerators' intervals."""
        return self.cls.is_host


@dataclass(frozen=True)
class Option:
    """A way to run a stage: devices of a pool, ``shards`` of which split nodes, ``replicas`` take turns."""

    pool: int
    shards: int = 1
    replicas: int = 1

    @property
    def devices(self) -> int:
        """How many devices it takes."""
        return self.shards * self.replicas


@dataclass(frozen=True)
class Setting:
    """What is served at once: M microbatches of B sequences, with so many tokens of context and prompt.

    ``sequences`` is how many of these there are; `batch` times `microbatches`, or fewer.
    """

    batch: int = 1
    microbatches: int = 1
    context: int | None = None
    prompt: int | None = None


@dataclass(frozen=True, eq=False)
class Costs:
    """Costs of all nodes in a setting, by option.

    Parameters
    ----------
    time_ms
        Of a microbatch, ``(O, n)``; inf where a node may not run.
    weight_bytes, cache_bytes
        On each device of the option: whatever is served, and for all microbatches, ``(O, n)``.
    move_ms
        Time in which a node's output passes the option's link, ``(O, n)``; the last row's column is what the
        next step begins with.
    across_ms
        The same for another server, ``(O, n)``.
    prefill_ms, prefill_move_ms, prefill_across_ms
        Of one prompt; None when the model does not say.
    """

    time_ms: FloatArray
    weight_bytes: FloatArray
    cache_bytes: FloatArray
    move_ms: FloatArray
    across_ms: FloatArray
    prefill_ms: FloatArray | None = None
    prefill_move_ms: FloatArray | None = None
    prefill_across_ms: FloatArray | None = None


class ServingModel(Protocol):
    """A model that can be served, on its devices."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Nodes, in the order in which they run, length n."""

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The devices."""

    @property
    def options(self) -> tuple[Option, ...]:
        """Ways to run a stage, length O."""

    @property
    def cuts(self) -> BoolArray:
        """Whether another accelerator may go on before each node, ``(n,)``."""

    @property
    def layer_of(self) -> Sequence[int | None]:
        """Number of each node's layer, length n."""

    @property
    def counted(self) -> FloatArray:
        """How many layers each node counts for when room is shared out by layers, ``(n,)``."""

    @property
    def tied_bytes(self) -> float:
        """Weights that the last node shares with the first: a device that has both holds them once."""

    @property
    def batches(self) -> bool:
        """Whether costs for any number of sequences in a microbatch are known."""

    @property
    def max_context(self) -> int | None:
        """Longest context; None when costs do not depend on it."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the figures stand for."""

    def costs(self, setting: Setting) -> Costs:
        """Compute the costs in a setting."""


def layers_counted(layer_of: Sequence[int | None], cached: BoolArray) -> FloatArray:
    """Count layers: nodes with a cache; if there are none, numbered layers; if there are none, all nodes."""
    if cached.any():
        return cached.astype(np.float64)
    numbered = [number for number in layer_of if number is not None]
    if not numbered:
        return np.ones(len(layer_of))
    return np.array([0.0 if number is None else 1.0 / numbered.count(number) for number in layer_of])
