"""Settings of all measurements, checked."""

from __future__ import annotations

from placer.errors import UsageError

__all__ = ["check_counts"]


def check_counts(*, repeats: int, warmup: int = 0, threads: int = 1) -> None:
    """Refuse numbers of runs and threads that are too small.

    Raises
    ------
    UsageError
        Naming the option.
    """
    for what, value, least in (("repeats", repeats, 1), ("warmup", warmup, 0), ("threads", threads, 1)):
        if value < least:
            raise UsageError(f"{what} must be at least {least}, got {value}")
