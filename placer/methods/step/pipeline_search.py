"""Pipelines built from the end, one stage more at a time, over labels of their suffixes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.methods.step.device_sets import Devices
from placer.methods.step.possible_stages import Stages
from placer.methods.step.suffix_labels import Labels, Rules, joined, undominated
from placer.plans.in_flight import InFlight
from placer.search.run import Run
from placer.tolerances import EQUAL

__all__ = ["Pipelines"]

LABEL_S = 2e-7
"""Nominal seconds for each label that is made."""
BATCH = 1_000_000
"""Labels that are made at once."""
TIMED = 256
"""Complete pipelines of one length that are timed at most, those of the least bound first."""


@dataclass(eq=False)
class Pipelines:
    """Searches the chains of stages.

    Parameters
    ----------
    stages
        All stages.
    devices
        What they may run on.
    rules
        How labels grow.
    flights
        How many microbatches are in flight.
    gap
        Relative distance from the best time below which a pipeline is of no interest.
    offer
        Takes a pipeline (stages in pipeline order) and returns its time in ms, inf where it is no plan.
    run
        The clock.
    best_ms
        Time of the best plan; inf without one.
    """

    stages: Stages
    devices: Devices
    rules: Rules
    flights: InFlight
    gap: float
    offer: Callable[[list[int]], float]
    run: Run
    best_ms: float = np.inf
    left_ms: float = field(default=np.inf, init=False)
    was_cut: bool = field(default=False, init=False)
    _levels: list[Labels] = field(default_factory=list, init=False)
    _loads: FloatArray = field(default_factory=lambda: np.zeros((2, 1, 0)), init=False)

    @property
    def target_ms(self) -> float:
        """Bounds from here on are of no interest."""
        return self.best_ms * (1 - self.gap)

    def search(self, width: int, *, exact: bool = False) -> float:
        """Build pipelines of all lengths; returns a bound on the time of all of them, in ms.

        Parameters
        ----------
        width
            Labels of one length that are kept, the most promising ones.
        exact
            Keep labels that others are below, and the true time of each suffix in place of what paths say.

        Raises
        ------
        Stopped
            When the run is over.
        """
        last, zero = len(self.stages.downsets) - 1, np.zeros(1, dtype=np.int64)
        self._levels = [Labels(zero + last, zero, zero, self.rules.empty, zero, zero - 1)]
        self._loads = np.zeros((2, 1, 0))
        self.left_ms, self.was_cut = np.inf, False
        for place in range(1, self.devices.total + 1):
            labels = self._grown(place, exact=exact, width=width)
            complete = labels.downset == 0
            complete[complete] = self.devices.suffice(labels.used[complete])
            self._time(labels.only(complete), exact=exact)
            rest = labels.only(labels.downset > 0)
            if not len(rest):
                break
            if exact:
                self._loads = self._longer_loads(rest)
            self._levels.append(rest)
        return min(self.left_ms, self.target_ms)

    def _grown(self, place: int, *, exact: bool, width: int) -> Labels:
        """Labels with one more stage, those that may lead to a better time."""
        last = self._levels[-1]
        count = self.stages.begin[last.downset + 1] - self.stages.begin[last.downset]
        end = np.cumsum(count)
        found: list[Labels] = []
        begin = 0
        while begin < len(last):
            self.run.check()
            stop = int(np.searchsorted(end, (end[begin - 1] if begin else 0) + BATCH, side="right"))
            stop = max(stop, begin + 1)
            labels = self._extended(np.arange(begin, stop), place)
            if exact:
                labels = self._with_true_times(labels, place)
            found.append(self._fewer(labels, place, width, exact=exact))
            begin = stop
        return found[0] if len(found) == 1 else self._fewer(joined(found), place, width, exact=exact)

    def _extended(self, parents: IntArray, place: int) -> Labels:
        """Put every stage that fits in front of some labels of the last level."""
        last, stages = self._levels[-1], self.stages
        begin = stages.begin[last.downset[parents]]
        count = stages.begin[last.downset[parents] + 1] - begin
        parent = np.repeat(parents, count)
        stage = np.arange(len(parent)) - np.repeat(np.cumsum(count) - count - begin, count)
        self.run.spend(LABEL_S * len(parent))
        used, run = last.used[parent], last.run[parent]
        fits, used, run = self.devices.taken(used, run, stages.way[stage])
        fits &= stages.flights[stage] >= self.flights.at(place)
        parent, stage = parent[fits], stage[fits]
        figures = self.rules.grown(
            last.figures[parent], stages.load_ms[:, stage], place, stages.sync_ms[stage]
        )
        return Labels(stages.lower[stage], used[fits], run[fits], figures, parent, stage)

    def _fewer(self, labels: Labels, place: int, width: int, *, exact: bool) -> Labels:
        """Drop labels that lead to nothing better, those that others are below, and all but the best."""
        devices = np.full(len(labels), self.devices.total - place)
        least = self.rules.at_least(labels.figures, self.stages.least_ms[labels.downset], devices)
        good = least < self.target_ms
        labels, least = labels.only(good), least[good]
        if not exact:
            good = undominated(labels)
            labels, least = labels.only(good), least[good]
        if len(labels) > width:
            order = np.argpartition(least, width)
            self.left_ms = min(self.left_ms, float(least[order[width:]].min()))
            self.was_cut = True
            labels = labels.only(np.sort(order[:width]))
        return labels

    def _time(self, labels: Labels, *, exact: bool) -> None:
        """Offer complete pipelines, those first of which least is known; the others stay in the bound."""
        value = self.rules.time_ms(labels.figures)
        left = value.copy()
        for c in np.argsort(value, kind="stable")[:TIMED].tolist():
            if value[c] >= self.target_ms:
                break
            time = self.offer(self._pipeline(labels, c))
            self.best_ms = min(self.best_ms, time)
            # Where it takes longer than its label says, it may have kept a better one from being looked at.
            if (exact or self.rules.flow) and time <= value[c] * (1 + EQUAL):
                left[c] = np.inf
        self.left_ms = min(self.left_ms, float(left.min(initial=np.inf)))

    def _pipeline(self, labels: Labels, c: int) -> list[int]:
        """Stages of a complete label, the first one first."""
        out = [int(labels.stage[c])]
        at = int(labels.parent[c])
        for level in reversed(self._levels[1:]):
            out.append(int(level.stage[at]))
            at = int(level.parent[at])
        return out

    def _longer_loads(self, labels: Labels) -> FloatArray:
        """Return the loads of all stages of new labels, ``(2, C, stages)``, the first stage first."""
        return np.concatenate(
            [self.stages.load_ms[:, labels.stage, None], self._loads[:, labels.parent]], axis=2
        )

    def _with_true_times(self, labels: Labels, place: int) -> Labels:
        """Replace what paths say by the time that the suffix takes."""
        if self.rules.flow:
            return labels
        loads = self._longer_loads(labels)
        self.run.spend(LABEL_S * len(labels) * place * self.rules.microbatches / 10)
        times = suffix_times(loads, self.rules.microbatches)
        figures = labels.figures.copy()
        figures[:, 0] = np.maximum(figures[:, 0], times)
        return replace(labels, figures=figures)


def suffix_times(loads: FloatArray, microbatches: int) -> FloatArray:
    """Makespans of many pipelines under ``1f1b`` at once, ``(C,)``, from their loads, ``(2, C, S)``.

    Each task as soon as the stage has ended the one before and its own data are there.
    """
    forward, backward = loads
    stages = forward.shape[1]
    free = [np.zeros(forward.shape[0]) for _ in range(stages)]
    done = list(free)
    for r in range(microbatches + stages - 1):
        for i in range(min(stages - 1, r), max(0, r - microbatches + 1) - 1, -1):
            ready = np.maximum(free[i], done[i - 1]) if i else free[i]
            free[i] = done[i] = ready + forward[:, i]
        if r >= stages - 1:
            for i in reversed(range(stages)):
                ready = np.maximum(free[i], free[i + 1]) if i + 1 < stages else free[i]
                free[i] = ready + backward[:, i]
    return np.asarray(np.max(free, axis=0))
