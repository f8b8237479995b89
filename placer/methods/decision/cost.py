"""The cheapest devices: choices in the order of their price, each asked for a plan that is fast enough.

Of interchangeable devices only the number counts, and devices without a price are always there.  A choice
that allows no plan rules out every smaller one, because devices may stay empty.  The price of the first
choice that is not ruled out is a bound.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.instance.interchangeable import interchangeable
from placer.methods.decision.within import Answer, within
from placer.objectives.cost import prices
from placer.options import Options
from placer.plans.status import Stop
from placer.search.incumbent import Incumbent
from placer.search.run import Outcome, Run
from placer.tolerances import EQUAL

__all__ = ["solve"]

ROUNDING = 1e-6
"""More than rounding adds to the work, relatively."""
MOST_CHOICES = 200_000
"""Choices that are looked at."""


def solve(instance: Instance, options: Options, run: Run) -> Outcome:
    """Find the cheapest devices, with a method that answers whether some devices suffice.

    Parameters
    ----------
    instance, options, run
        See ``placer.methods``; the objective is cost.
    """
    search = _Search(instance, options, run)
    if run.start is not None:
        search.best.offer(run.start, "start")
    else:
        first = search.ask(tuple(len(kind) for kind in search.kinds))
        if first.plan is None:
            return Outcome(Stop.INFEASIBLE if first.none else first.stop, message=first.message)
    stop = search.through_all()
    message = "" if search.sure else "some choices of devices could not be decided"
    return search.best.outcome(stop, message, {"choices": search.asked})


@dataclass
class _Search:
    """The choices of devices, and what is known about them."""

    instance: Instance
    options: Options
    run: Run
    sure: bool = True
    asked: int = 0
    ruled_out: list[IntArray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.best = Incumbent(self.instance, self.options, self.run)
        price, allowed = prices(self.instance), self.instance.allowed
        self.kinds = interchangeable((d for d in self.instance.devices if price[d.index] > 0), allowed)
        times = self.instance.class_time_ms[:, self.instance.device_class]
        self.times = np.where(allowed, times, inf)
        self.price = np.array([price[kind[0]] for kind in self.kinds])

    def through_all(self) -> Stop:
        """Ask for one choice after the other until the best one is known."""
        enough = 1 - max(self.options.gap, EQUAL)
        for looked_at, (price, counts) in enumerate(self._choices()):
            stop = self.run.stopped()
            if self.sure:
                self.best.raise_bound(min(price, self.best.value), self.options.method)
            if stop is not None or looked_at > MOST_CHOICES:
                return stop or Stop.WORK_LIMIT
            if price >= self.best.value * enough:
                return Stop.FINISHED
            smaller = any((np.array(counts) <= more).all() for more in self.ruled_out)
            if not smaller and not self._too_slow(counts):
                answer = self.ask(counts)
                self.sure = self.sure and (answer.none or answer.plan is not None)
        if self.sure:
            self.best.raise_bound(self.best.value, self.options.method)
        return Stop.FINISHED

    def _choices(self) -> Iterator[tuple[float, tuple[int, ...]]]:
        """Yield the number of devices of each kind, from cheap to expensive."""
        waiting = [(0.0, (0,) * len(self.kinds), 0)]
        while waiting:
            _, counts, last = heapq.heappop(waiting)
            yield float(self.price @ np.array(counts)) if self.kinds else 0.0, counts
            for k in range(last, len(self.kinds)):
                if counts[k] < len(self.kinds[k]):
                    more = (*counts[:k], counts[k] + 1, *counts[k + 1 :])
                    heapq.heappush(waiting, (float(self.price @ np.array(more)), more, k))

    def _left_out(self, counts: tuple[int, ...]) -> list[int]:
        return [d for kind, count in zip(self.kinds, counts, strict=True) for d in kind[count:]]

    def _too_slow(self, counts: tuple[int, ...]) -> bool:
        """Whether the devices could not even compute everything in time if all work were divisible."""
        assert self.options.max_ms is not None
        times = np.delete(self.times, self._left_out(counts), axis=1)
        work = float(times.min(axis=1, initial=inf).sum())
        return bool(work > self.options.max_ms * times.shape[1] * (1 + ROUNDING))

    def ask(self, counts: tuple[int, ...]) -> Answer:
        """Ask for a plan on some devices, and keep what that brings."""
        self.asked += 1
        names = tuple(self.instance.devices[d].name for d in self._left_out(counts))
        fewer = self.instance.replace(forbid=tuple((*old, *names) for old in self.instance.forbid))
        answer = within(fewer if names else self.instance, self.options, self.run)
        if answer.plan is not None:
            self.best.offer(answer.plan, self.options.method)
        elif answer.none:
            self.ruled_out.append(np.array(counts, dtype=np.int64))
        return answer
