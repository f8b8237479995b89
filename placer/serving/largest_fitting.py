"""Largest numbers that fit."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["largest"]


def largest(fits: Callable[[int], bool], most: int, least: int = 1) -> int:
    """Find the largest number that fits, of those up to ``most``; 0 where ``least`` does not."""
    if least > most or not fits(least):
        return 0
    low, step = least, 1
    while low < most and fits(min(low + step, most)):
        low, step = min(low + step, most), 2 * step
    high = min(low + step, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
