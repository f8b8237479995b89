"""Axes of charts: round ticks, and where values lie between the ends, in percent."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log10

__all__ = ["Axis", "Tick", "linear", "logarithmic"]


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in percent of its length."""

    label: str
    position: float


@dataclass(frozen=True)
class Axis:
    """Maps values from ``low`` to ``high`` onto 0 to 100 percent."""

    low: float
    high: float
    ticks: tuple[Tick, ...]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Percent of the axis at which a value lies; values beyond the ends lie at the ends."""
        return _place(min(max(value, self.low), self.high), self.low, self.high, self.logarithmic)


def linear(low: float, high: float, ticks: int = 5) -> Axis:
    """Return an axis from at most ``low`` to at least ``high`` with about so many round ticks."""
    if high <= low:
        margin = abs(high) * 0.05 or 1.0
        low, high = low - margin if low > 0 else low, high + margin
    raw = (high - low) / ticks
    power = 10.0 ** floor(log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    low, high = first * step, last * step
    values = [k * step for k in range(first, last + 1)]
    return Axis(low, high, tuple(Tick(f"{v:.6g}", _place(v, low, high, False)) for v in values))


def logarithmic(low: float, high: float) -> Axis:
    """Return an axis over the powers of ten that enclose ``low`` > 0 and ``high``."""
    first, last = floor(log10(low) + 1e-9), ceil(log10(high) - 1e-9)
    last = max(last, first + 1)
    step = max(1, ceil((last - first) / 7))
    values = [10.0**k for k in range(first, last + 1, step)]
    low, high = 10.0**first, 10.0**last
    return Axis(low, high, tuple(Tick(f"{v:g}", _place(v, low, high, True)) for v in values), True)


def _place(value: float, low: float, high: float, logarithm: bool) -> float:
    if logarithm:
        value, low, high = log10(value), log10(low), log10(high)
    return 100 * (value - low) / (high - low)
