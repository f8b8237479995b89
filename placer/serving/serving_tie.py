"""Of plans for one setting: one with the most room per layer, and of these the fastest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

from placer.serving.serving_layout import Place, to_plan
from placer.serving.serving_model import ServingModel, Setting
from placer.serving.token_time import Asked, Clock, Found, TokenTime

__all__ = ["break_tie"]

ROOM = 1e-7
"""Difference of rooms that does not matter, as a share of the largest: much more than memory's tolerance."""
Layout = tuple[Place, ...]


def break_tie(
    model: ServingModel,
    asked: Asked,
    clock: Clock,
    setting: Setting,
    layout: Layout,
    keep: Callable[[Setting, Layout], None],
) -> None:
    """Improve a plan, and tell ``keep`` each better one; other batches of as many sequences are tried too.

    Raises
    ------
    OutOfTimeError, UndecidedError
        When the last plan that was kept may not be the best one.
    """
    room = _room(model, asked, clock, setting, layout)
    if room is not None:
        keep(setting, room[1])
    slots, fastest = setting.batch * setting.microbatches, inf

    def watch(found: Found | None, other: Setting) -> None:
        nonlocal fastest
        if found is not None and found[0] < fastest:
            fastest = found[0]
            keep(other, found[1])

    for microbatches in range(1, slots + 1):
        if slots % microbatches or not (model.batches or microbatches == slots):
            continue
        other = replace(setting, batch=slots // microbatches, microbatches=microbatches)
        least = replace(asked, room_per_layer=0.0 if room is None else room[0])
        search = TokenTime(model, other, least, clock)
        if search.least < fastest:
            watch(search.minimise(fastest, 1e-6, watch=lambda found, s=other: watch(found, s)), other)  # type: ignore[misc]


def _room(
    model: ServingModel, asked: Asked, clock: Clock, setting: Setting, layout: Layout
) -> tuple[float, Layout] | None:
    """Find the largest smallest room per layer; None where memory has no limit."""
    costs = model.costs(setting)

    def room_of(places: Layout) -> float | None:
        return to_plan(model, costs, setting, places).room_per_layer_bytes

    def leaving(room: float) -> Found | None:
        return TokenTime(model, setting, replace(asked, room_per_layer=room), clock).within(inf)

    low = room_of(layout)
    rooms = [pool.room_bytes for pool in model.pools]
    total = sum(room * len(pool.names) for room, pool in zip(rooms, model.pools, strict=True))
    if low is None:
        return None
    high = total / max(float(model.counted.sum()), 1e-9)
    if high == inf:
        least_count = float(model.counted[model.counted > 0].min())
        high = 2.0 * max((room for room in rooms if room < inf), default=0.0) / least_count
        found = leaving(high)
        if found is not None:
            return high, found[1]
    scale = high  # what is told apart does not shrink with the room: there may be none
    while high - low > ROOM * scale:
        close = high - low <= 1e-3 * scale
        target = low + ROOM * scale if close else (low + high) / 2
        found = leaving(target)
        got = None if found is None else room_of(found[1])
        if found is None or got is None:
            high = target
            if close:
                break
        else:
            low, layout = max(got, target), found[1]
    return max(low - ROOM * scale, 0.0), layout
