"""Time per token against tokens per second: the best plan of some settings, those that none beats in both."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from placer.serving.serving_layout import to_plan
from placer.serving.serving_model import ServingModel, Setting
from placer.serving.serving_plan import FrontPoint
from placer.serving.token_time import (
    WIDTHS,
    Asked,
    Clock,
    Found,
    OutOfTimeError,
    TokenTime,
    UndecidedError,
)

__all__ = ["front"]

CLOSE = 1e-3
"""Gap of each point."""
MOST_BATCH = 4096
"""Sequences of a microbatch that are looked at."""


def front(model: ServingModel, setting: Setting, asked: Asked, clock: Clock) -> tuple[FrontPoint, ...]:
    """Tabulate plans for a context, by increasing time per token.

    Parameters
    ----------
    model
        What is served.
    setting
        Its context and prompt are those of all points, and it is one of the settings; the others have powers
        of two as batch, and as many microbatches as there are devices, or halves of that.
    asked
        Limits that plans keep.
    clock
        When to stop; there are fewer points then.
    """
    points: list[FrontPoint] = []
    devices = sum(len(pool.names) for pool in model.pools)
    many = {devices >> shift for shift in range(devices.bit_length())} | {setting.microbatches}
    try:
        for microbatches in sorted(many - {0}):
            batch = 1
            while batch <= MOST_BATCH:
                point = _point(model, replace(setting, batch=batch, microbatches=microbatches), asked, clock)
                if point is None:
                    break
                points.append(point)
                batch = 2 * batch if model.batches else MOST_BATCH + 1
        own = _point(model, setting, asked, clock)
        points += [] if own is None else [own]
    except OutOfTimeError:
        pass
    kept: list[FrontPoint] = []
    for point in sorted(points, key=lambda p: (p.tpot_ms, -p.tokens_per_s)):
        if not kept or point.tokens_per_s > kept[-1].tokens_per_s * (1 + CLOSE):
            kept.append(point)
    return tuple(kept)


def _point(model: ServingModel, setting: Setting, asked: Asked, clock: Clock) -> FrontPoint | None:
    """Find the plan of a setting with the least time per token."""
    search = TokenTime(model, setting, asked, clock)
    best: list[Found] = []
    with suppress(UndecidedError):  # a plan then, if not the best one
        search.minimise(
            gap=CLOSE, widths=WIDTHS[:3], watch=lambda found: best.extend([] if found is None else [found])
        )
    if not best:
        return None
    found = best[-1]
    return FrontPoint.of(to_plan(model, search.costs, setting, found[1]))
