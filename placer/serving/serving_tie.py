"""Of plans that are as good: one with the most room per layer, and of these the fastest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    settings: Sequence[Setting],
    layout: Layout,
    keep: Callable[[Setting, Layout], None],
) -> None:
    """Improve a plan, and tell ``keep`` each better one.

    Parameters
    ----------
    model, asked, clock
        What is served, limits, and when to stop.
    settings
        Those that are as good; the first is that of the plan, and has the most room where times do not count.
    layout
        The plan.
    keep
        Told what is better.

    Raises
    ------
    OutOfTimeError, UndecidedError
        When the last plan that was kept may not be the best one.
    """
    room = to_plan(model, model.costs(settings[0]), settings[0], layout).room_per_layer_bytes
    if room is not None:
        for setting in settings if asked.tpot_ms < inf else settings[:1]:
            found = _roomier(model, asked, clock, setting, room)
            if found is not None:
                room = found[0]
                keep(setting, found[1])
        asked = replace(asked, room_per_layer=max(room - ROOM * _largest_room(model), 0.0))
    fastest = inf

    def watch(found: Found | None, setting: Setting) -> None:
        nonlocal fastest
        if found is not None and found[0] < fastest:
            fastest = found[0]
            keep(setting, found[1])

    for setting in settings:
        search = TokenTime(model, setting, asked, clock)
        if search.least < fastest:
            watch(search.minimise(fastest, 1e-6, watch=lambda found, s=setting: watch(found, s)), setting)  # type: ignore[misc]


def _largest_room(model: ServingModel) -> float:
    """Bound the room per layer of all plans with a limit: that of all memory, or twice the largest device."""
    rooms = [pool.room_bytes for pool in model.pools]
    total = sum(room * len(pool.names) for room, pool in zip(rooms, model.pools, strict=True))
    if total < inf:
        return total / max(float(model.counted.sum()), 1e-9)
    least_count = float(model.counted[model.counted > 0].min())
    return 2.0 * max((room for room in rooms if room < inf), default=0.0) / least_count


def _roomier(
    model: ServingModel, asked: Asked, clock: Clock, setting: Setting, low: float
) -> tuple[float, Layout] | None:
    """Find the largest smallest room per layer of a setting; None where it is not above ``low``."""
    costs, layout = model.costs(setting), None

    def leaving(room: float) -> Found | None:
        return TokenTime(model, setting, replace(asked, room_per_layer=room), clock).within(inf)

    high = scale = _largest_room(model)  # what is told apart does not shrink with the room: there may be none
    target = low + ROOM * scale
    while high - low > ROOM * scale:
        found = leaving(target)
        if found is None:
            high = target
            if target <= low + ROOM * scale:
                break
        else:
            got = to_plan(model, costs, setting, found[1]).room_per_layer_bytes
            if got is None:  # on devices without a limit alone
                return high, found[1]
            low, layout = max(got, target), found[1]
        close = high - low <= 1e-3 * scale
        target = low + ROOM * scale if close else (low + high) / 2
    return None if layout is None else (low, layout)
