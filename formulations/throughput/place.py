"""What one device or slot holds in a throughput program under construction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from formulations.expressions import ZERO, Expression, total

__all__ = ["Inside", "Place"]

Inside = Mapping[int, Sequence[Expression]]
"""By kind: for each item whether it is on a device, and that is of this kind; in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Place:
    """A device or slot.

    Parameters
    ----------
    label
        Ends the names of its variables.
    x
        Which items it holds, by the kinds that it may be of.
    in_flight
        Microbatches in flight.
    r
        Which items it computes again, for accelerators; or which units, see
        `formulations.throughput.unit_memory`.
    rho
        Whether it computes activations again.
    """

    label: str
    x: Inside
    in_flight: int = 1
    r: Inside = field(default_factory=dict)
    rho: Expression = field(default_factory=lambda: ZERO)

    @cached_property
    def items(self) -> list[Expression]:
        """Which items it holds, whatever its kind."""
        return [total(x) for x in zip(*self.x.values(), strict=True)]
