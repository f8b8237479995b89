"""Layered flow: devices that hold ranges of layers, and links that carry tokens from range to range."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from placer.arrays import BoolArray, FloatArray

__all__ = ["FlowProblem", "Ranges"]

Ranges = dict[int, tuple[int, int]]
"""By device: the first layer that it holds, and the layer after the last."""


@dataclass(frozen=True, eq=False)
class FlowProblem:
    """Maximise the tokens per second that pass all layers.

    Device i holds the layers ``[s, s + k)`` and passes at most ``rates[i][k - 1]`` tokens per second.
    Tokens go from i to j only where j starts at the layer at which i ends, from the source to devices that
    start at layer 0, and from devices that end at the last layer to the sink.

    Parameters
    ----------
    layers
        Number of layers L.
    names
        Names of the n devices.
    rates
        Tokens per second of each device with 1, 2, ... layers; at most L entries.
    links
        Tokens per second from row to column, ``(n + 1, n + 1)``; 0 where there is no link.  The last row
        is the source, the last column the sink.
    """

    layers: int
    names: tuple[str, ...]
    rates: tuple[FloatArray, ...]
    links: FloatArray

    @property
    def n(self) -> int:
        """Number of devices."""
        return len(self.names)

    @cached_property
    def most_in(self) -> FloatArray:
        """Tokens per second that all links into each device carry, ``(n,)``."""
        return np.asarray(self.links[:, : self.n].sum(axis=0))

    @cached_property
    def most_out(self) -> FloatArray:
        """Tokens per second that all links out of each device carry, ``(n,)``."""
        return np.asarray(self.links[: self.n].sum(axis=1))

    @cached_property
    def useful(self) -> tuple[FloatArray, ...]:
        """Rates as far as the links of the device can use them."""
        most = np.minimum(self.most_in, self.most_out)
        return tuple(np.minimum(rate, most[i]) for i, rate in enumerate(self.rates))

    @cached_property
    def largest(self) -> FloatArray:
        """Highest useful rate of each device, ``(n,)``."""
        return np.array([rate.max(initial=0.0) for rate in self.useful])

    @cached_property
    def kinds(self) -> list[list[int]]:
        """Devices of equal useful rates."""
        groups: dict[bytes, list[int]] = {}
        for i, rate in enumerate(self.useful):
            groups.setdefault(rate.tobytes(), []).append(i)
        return list(groups.values())

    def strong(self, flow: float) -> BoolArray:
        """Links that carry all that both ends pass in a plan of this flow, ``(n + 1, n + 1)``."""
        ends = np.minimum(np.append(self.largest, flow), flow)
        strong = self.links >= np.minimum(ends[:, None], ends[None, :])
        np.fill_diagonal(strong, True)
        return np.asarray(strong)

    def best_length(self, device: int, flow: float) -> int:
        """Most layers with which a device still passes a flow; 0 if there are none."""
        enough = np.flatnonzero(self.useful[device] >= flow)
        return int(enough[-1]) + 1 if len(enough) else 0
