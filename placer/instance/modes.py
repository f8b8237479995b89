"""How a stage runs on several devices: replicas, shards, and what of the optimizer they share out."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ALONE", "Mode"]


@dataclass(frozen=True, order=True)
class Mode:
    """A stage on ``replicas`` times ``shards`` devices of one kind.

    Parameters
    ----------
    replicas
        Each takes its share of the samples; in training they sum their gradients after each optimizer step.
    shards
        Devices of one replica, which split its nodes (see `placer.instance.shards`).
    zero
        What replicas share out: from 1 on the state of the optimizer, at 2 the gradients as well (ZeRO,
        Rajbhandari et al., 2020).
    """

    replicas: int = 1
    shards: int = 1
    zero: int = 0

    @property
    def width(self) -> int:
        """How many devices it takes."""
        return self.replicas * self.shards


ALONE = Mode()
"""A stage on one device."""
