"""Least time per token in a setting, under limits: questions to the searches, each with a target."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np

from placer.serving.interval_search import shortest_chain
from placer.serving.label_search import Target, UndecidedError, least_of_all, shortest_labels
from placer.serving.serving_layout import Place, figures
from placer.serving.serving_model import Costs, ServingModel, Setting
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["DECIDING", "WIDTHS", "Asked", "Clock", "Found", "OutOfTimeError", "TokenTime", "UndecidedError"]

CLOSE = 1e-3
"""Relative distance of the best and the bound from which on the last gap is tried at once."""
WIDTHS: tuple[int | None, ...] = (25, 200, 2_000, 20_000, 200_000, None)
"""Labels that are kept at a node, one attempt after the other; None: all."""
LEAST_SHARE = 0.1
"""Of the open gap, above the bound: where targets are tried with a beam at last."""
DECIDING = 4
"""Attempts in which `TokenTime.within` decides, unless told otherwise."""
Found = tuple[float, tuple[Place, ...]]
"""Time per token, and where nodes lie."""


class OutOfTimeError(Exception):
    """The time is over, or somebody interrupted."""


class Clock:
    """Says when to stop.

    Parameters
    ----------
    seconds
        How long a search may take.
    interrupted
        Whether it should stop at once.
    """

    def __init__(self, seconds: float = inf, interrupted: Callable[[], bool] = lambda: False) -> None:
        self.began, self.seconds, self.interrupted = time.monotonic(), seconds, interrupted

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def check(self) -> None:
        """Stop.

        Raises
        ------
        OutOfTimeError
            When it is time.
        """
        if self.spent > self.seconds or self.interrupted():
            raise OutOfTimeError


@dataclass(frozen=True)
class Asked:
    """Limits on plans: time per token and to the first token, ms; bytes left free per layer."""

    tpot_ms: float = inf
    ttft_ms: float = inf
    room_per_layer: float = 0.0
    scattered: bool = False


class TokenTime:
    """The least time per token in a setting.

    Parameters
    ----------
    model, setting
        What is served.
    asked
        Limits that plans keep.
    clock
        When to stop.
    """

    def __init__(self, model: ServingModel, setting: Setting, asked: Asked, clock: Clock) -> None:
        self.model, self.setting, self.asked, self.clock = model, setting, asked, clock
        self.costs: Costs = model.costs(setting)
        self.labels = asked.scattered or any(pool.host for pool in model.pools)
        """Whether plans are more than intervals."""
        self.least = _least(model, self.costs, setting)
        """A bound on the time per token that needs no search; `minimise` raises it."""
        if self.labels and self.least < inf:
            self.least = max(self.least, least_of_all(model, self.costs, self._target(inf)))

    def _target(self, target_ms: float) -> Target:
        asked = self.asked
        return Target(
            target_ms, self.setting.microbatches, asked.ttft_ms, asked.room_per_layer, asked.scattered
        )

    def within(self, target_ms: float, widths: tuple[int | None, ...] = WIDTHS[:DECIDING]) -> Found | None:
        """Find a plan with at most so much time per token, or None where there is none.

        Raises
        ------
        UndecidedError
            When beams of these widths found none.
        """
        target = min(target_ms, self.asked.tpot_ms)
        if self.least > target or self.least == inf:
            return None
        found = self._chain(target)
        if found is not None:
            return found
        if not self.labels and (self.costs.prefill_ms is None or self.asked.ttft_ms == inf):
            return None
        for width in widths:
            try:
                return self._labelled(target, width)
            except UndecidedError:
                continue
        raise UndecidedError

    def _chain(self, target: float) -> Found | None:
        """Find a plan of intervals alone."""
        self.clock.check()
        cap = target / self.setting.microbatches
        found = shortest_chain(self.model, self.costs, cap, self.asked.room_per_layer)
        if found is None or found[0] > target * (1 + 1e-12):
            return None
        got = figures(self.model, self.costs, self.setting, found[1])
        good = got.ttft_ms <= self.asked.ttft_ms or self.costs.prefill_ms is None
        return (got.tpot_ms, found[1]) if good else None

    def _labelled(self, target: float, width: int | None) -> Found | None:
        places = shortest_labels(self.model, self.costs, self._target(target), self.clock.check, width)
        if places is None:
            return None
        return figures(self.model, self.costs, self.setting, places).tpot_ms, places

    def minimise(
        self,
        below_ms: float = inf,
        gap: float = 1e-9,
        *,
        widths: tuple[int | None, ...] = WIDTHS,
        watch: Callable[[Found | None], None] = lambda _: None,
    ) -> Found | None:
        """Find the least time below a figure, within a gap; None where there is none below it.

        Parameters
        ----------
        below_ms, gap
            The figure, and the relative gap.
        widths
            Of the beams.
        watch
            Told the best plan so far whenever it or the bound `least` is better.

        Raises
        ------
        UndecidedError
            When these beams do not decide; what is known was told.
        """
        below = min(below_ms, self.asked.tpot_ms)
        if self.least == inf:
            return None
        best = self.fastest_chain(below) if self.labels else None
        watch(best)
        for width in widths if self.labels else (None,):
            share = 1.0  # of the way from the bound to the best: where the next target is
            while share >= LEAST_SHARE:
                most = below if best is None else best[0] * (1 - gap)
                if self.least >= most:
                    return best
                close = best is None or most - self.least <= CLOSE * most
                target = most if close or share == 1.0 else self.least + share * (most - self.least)
                try:
                    found = self._attempt(target, width)
                except UndecidedError:
                    share = 0.0 if close else share / 2
                    continue
                if found is None:
                    self.least = target
                else:
                    best, share = found, 0.5
                watch(best)
        raise UndecidedError

    def _attempt(self, target: float, width: int | None) -> Found | None:
        return self._labelled(target, width) if self.labels else self.within(target, (width,))

    def fastest_chain(self, below: float) -> Found | None:
        """Find the fastest plan of intervals alone, without hosts, nearly; None if none fits."""
        best, low = self._chain(below), self.least
        while best is not None and self.setting.microbatches > 1 and best[0] - low > CLOSE * best[0]:
            target = (low + best[0]) / 2
            found = self._chain(target)
            low, best = (target, best) if found is None else (low, found)
        return best


def _least(model: ServingModel, costs: Costs, setting: Setting) -> float:
    """Bound the time per token: every node at its fastest, spread over all devices; inf without room."""
    turns = np.array([[option.replicas] for option in model.options])
    taken = np.array([[option.devices] for option in model.options])
    held = (taken * (costs.weight_bytes + costs.cache_bytes)).min(axis=0).sum() - model.tied_bytes
    room = sum(pool.room_bytes * len(pool.names) for pool in model.pools)
    if held > room * (1 + MEMORY_TOLERANCE) * (1 + 1e-12):
        return inf
    total = float(costs.time_ms.min(axis=0).sum())
    share = (costs.time_ms / turns).min(axis=0)
    devices = sum(len(pool.names) for pool in model.pools)
    return max(total, setting.microbatches * max(float(share.max()), float(share.sum()) / devices)) * (
        1 - 1e-12
    )
