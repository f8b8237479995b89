"""What training keeps in memory besides the weights: gradients and optimizer state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from placer.instance.modes import Mode

__all__ = ["STATE_FACTOR", "DeviceGroup", "Optimizer", "Training", "kept_per_weight"]


class Optimizer(StrEnum):
    """How weights are updated, as far as memory is concerned."""

    NONE = "none"
    SGD = "sgd"
    MOMENTUM = "momentum"
    ADAM = "adam"
    MIXED_ADAM = "mixed-adam"


STATE_FACTOR: dict[Optimizer, float] = {
    Optimizer.NONE: 1.0,  # weights only
    Optimizer.SGD: 2.0,  # weights, gradients
    Optimizer.MOMENTUM: 3.0,  # and one moment
    Optimizer.ADAM: 4.0,  # and two moments
    Optimizer.MIXED_ADAM: 8.0,  # 16-bit weights and gradients; 32-bit master weights and two moments
}
"""Resident bytes per byte of weights."""


def kept_per_weight(optimizer: Optimizer, mode: Mode) -> float:
    """Resident bytes on one device per byte of weights that it holds, of which replicas share some out."""
    factor = STATE_FACTOR[optimizer]
    gradients = min(1.0, factor - 1.0)
    shared = gradients if mode.zero >= 2 else 0.0
    shared += factor - 1.0 - gradients if mode.zero >= 1 else 0.0
    return factor - shared * (1.0 - 1.0 / mode.replicas)


@dataclass(frozen=True)
class DeviceGroup:
    """What each device of an instance stands for, where costs are those of groups; exports say it.

    Parameters
    ----------
    replicas, shards, zero
        As of `placer.instance.modes.Mode`.
    apart
        Whether the replicas of a stage are in different servers, so that stages are near each other.
    sequence_parallel
        Whether devices that split nodes divide what lies between split products, too.
    """

    replicas: int = 1
    shards: int = 1
    zero: int = 0
    apart: bool = False
    sequence_parallel: bool = False


@dataclass(frozen=True)
class Training:
    """How a training graph is run.

    Parameters
    ----------
    optimizer
        Decides what is kept per weight.
    microbatches
        Microbatches per optimizer step; at least 1.
    samples
        Samples of a microbatch; None when unknown.  No plan depends on it, exports do.
    group
        What each device stands for; its costs are those of the instance already.
    """

    optimizer: Optimizer = Optimizer.NONE
    microbatches: int = 1
    samples: int | None = None
    group: DeviceGroup = DeviceGroup()
