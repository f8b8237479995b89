"""Least time per token in a setting, under limits: questions to the searches, each with a target."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np

from placer.serving.interval_search import shortest_chain
from placer.serving.label_search import Target, shortest_labels
from placer.serving.serving_layout import Place, figures
from placer.serving.serving_model import Costs, ServingModel, Setting

__all__ = ["Asked", "Clock", "OutOfTimeError", "TokenTime"]

CLOSE = 1e-3
"""Relative distance of the best and the bound from which on the last gap is tried at once."""


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
        self.least = _least(model, self.costs, setting)
        """A bound on the time per token that needs no search."""

    def within(self, target_ms: float) -> tuple[float, tuple[Place, ...]] | None:
        """Find a plan with at most so much time per token; its time, and where nodes lie, or None."""
        target = min(target_ms, self.asked.tpot_ms)
        if self.least > target:
            return None
        self.clock.check()
        if not (self.asked.scattered or any(pool.host for pool in self.model.pools)):
            cap = target / self.setting.microbatches
            found = shortest_chain(self.model, self.costs, cap, self.asked.room_per_layer)
            if found is None or found[0] > target * (1 + 1e-12):
                return None
            got = figures(self.model, self.costs, self.setting, found[1])
            if got.ttft_ms <= self.asked.ttft_ms or self.costs.prefill_ms is None:
                return got.tpot_ms, found[1]
        kept = Target(
            target,
            self.setting.microbatches,
            self.asked.ttft_ms,
            self.asked.room_per_layer,
            self.asked.scattered,
        )
        places = shortest_labels(self.model, self.costs, kept, self.clock.check)
        if places is None:
            return None
        return figures(self.model, self.costs, self.setting, places).tpot_ms, places

    def minimise(self, below_ms: float = inf, gap: float = 1e-9) -> tuple[float, tuple[Place, ...]] | None:
        """Find the least time below a figure, within a gap; None where there is none below it."""
        best = self.within(below_ms)
        if best is None:
            return None
        low = self.least
        while best[0] - low > gap * best[0]:
            close = best[0] - low <= CLOSE * best[0]
            target = best[0] * (1 - gap) if close else (low + best[0]) / 2
            found = self.within(target)
            if found is None:
                low = target
                if close:
                    break
            else:
                best = found
        return best


def _least(model: ServingModel, costs: Costs, setting: Setting) -> float:
    """Bound the time per token: every node at its fastest, spread evenly over all devices."""
    turns = np.array([[option.replicas] for option in model.options])
    total = float(costs.time_ms.min(axis=0).sum())
    share = (costs.time_ms / turns).min(axis=0)
    devices = sum(len(pool.names) for pool in model.pools)
    return max(total, setting.microbatches * max(float(share.max()), float(share.sum()) / devices)) * (
        1 - 1e-12
    )
