"""Figures with their units, as people read them, and the largest that are accepted."""

from __future__ import annotations

from math import inf, isinf

__all__ = [
    "MAX_BYTES",
    "MAX_COUNT",
    "MAX_PRICE",
    "MAX_TIME_MS",
    "gap",
    "memory",
    "milliseconds",
    "percent",
    "size",
]

MAX_TIME_MS = 1e12
"""Largest accepted time (some 30 years): sums stay far from overflow."""
MAX_BYTES = 1e18
"""Largest accepted size (an exabyte)."""
MAX_COUNT = 100_000
"""Largest accepted number of devices in a class."""
MAX_PRICE = 1e9
"""Largest accepted price of a device per hour."""
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def gap(relative: float) -> str:
    """Proven gap in percent; what rounding explains counts as none."""
    if 1e-9 < relative < 1e-6:
        return "< 0.0001 %"
    return f"{100 * relative:.3g} %" if relative > 1e-9 else "0 %"


def memory(used: float, limit: float | None) -> str:
    """Memory used, of the limit when there is one."""
    return size(used) if limit is None else f"{size(used)} of {size(limit)}"


def size(count: float) -> str:
    """Size with four significant digits and a binary unit; ∞ without a limit."""
    if count == inf:
        return "∞"
    power = max((p for p in range(len(UNITS)) if count >= 1024**p), default=0)
    return f"{count / 1024**power:.4g} {UNITS[power]}"


def milliseconds(value: float) -> str:
    """Time with four significant digits, never in exponent form for times that occur."""
    if isinf(value):
        return "∞ ms"
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f} ms"
    if abs(value) < 1e-4:
        return f"{value:.3e} ms"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 1
    return f"{value:.{4 - whole}f} ms"


def percent(share: float) -> str:
    """Share of 1 as a percentage: whole, but never 0 % or 100 % of what is only nearly so."""
    if 0 < share < 0.005:
        return "under 1 %"
    if 0.995 <= share < 1 - 1e-9:
        return "over 99 %"
    return f"{100 * share:.0f} %"
