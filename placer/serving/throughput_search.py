"""Most tokens per second: a branch and bound over boxes of batches and microbatches.

Loads and memory grow with the sequences of a microbatch (B) and with the microbatches (M), and so does the
least time per token: a box of settings passes at most its most sequences in the least time of its smallest
corner, and no more than all devices can share (`placer.serving.sharing_bound`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from math import ceil, inf

from placer.serving.largest_fitting import largest
from placer.serving.serving_model import Setting
from placer.serving.setting_search import MOST_SEQUENCES, SettingSearch
from placer.serving.sharing_bound import most_tokens
from placer.serving.token_time import WIDTHS, Found, UndecidedError

__all__ = ["ThroughputSearch"]

SMALL_BOX = 1.5
"""Largest ratio of a box's corners for which labels look at the smallest; larger ones are split at once."""
MOST_BATCH = 4096
"""Sequences of a microbatch at most, when throughput is asked for without a limit."""


class ThroughputSearch(SettingSearch):
    """Tokens per second of all sequences, as many as there is room for or as are asked for."""

    @property
    def _slots(self) -> int:
        return self.request.concurrency or MOST_SEQUENCES

    def _search(self) -> None:
        most_batch = min(self.request.concurrency or MOST_BATCH, MOST_BATCH) if self.model.batches else 1
        hosts = self._at(self._setting(1, 1)).labels
        most_batch = largest(lambda b: (self._may_fit if hosts else self._fits)(b, 1), most_batch)
        if most_batch == 0:
            return
        most = min(self._useful(), self._slots)
        several = min(most, sum(len(pool.names) for pool in self.model.pools))
        for microbatches in range(1, min(several, 8) + 1) if hosts else ():
            self._start_alone(microbatches, min(most_batch, self._slots // microbatches))
        for microbatches in sorted({1, several}):
            self._start(
                microbatches, min(most_batch, (self.request.concurrency or most_batch) // microbatches)
            )
        boxes = [(-self._bound(1, most_batch, 1, most), 0, 1, most_batch, 1, most)]
        while boxes:
            least = -boxes[0][0]
            value = self.best.value or 0.0
            self.best = replace(self.best, bound=max(value, least) if least < inf else None)
            self.clock.check()
            if least <= value * (1 + self.request.gap):
                break
            for upper, part in self._split(*heapq.heappop(boxes)[1:]):
                heapq.heappush(boxes, (-min(least, upper), *part))
        self.best = replace(self.best, bound=max(self.best.value or 0.0, -boxes[0][0] if boxes else 0.0))

    def _start(self, microbatches: int, most_batch: int) -> None:
        """Look for good plans: with hosts, the largest batch need not be the best."""
        if not self._at(self._setting(1, microbatches)).labels:
            batch = largest(lambda b: self._fits(b, microbatches), most_batch) if most_batch else 0
            if batch:
                self._improve(batch, microbatches)
            return
        batch = 1
        while batch <= most_batch:
            slots, setting = batch * microbatches, self._setting(batch, microbatches)
            value = self.best.value or 0.0
            with suppress(UndecidedError):
                found = self._at(setting).within(1e3 * slots / value if value else inf, WIDTHS[:2])
                if found is not None:
                    self._offer(setting, found)
            batch = 2 * batch if 2 * batch <= most_batch or batch == most_batch else most_batch

    def _offer(self, setting: Setting, found: Found) -> None:
        """Keep a plan that passes more tokens per second than the best one."""
        rate = 1e3 * setting.batch * setting.microbatches / found[0]
        if rate > (self.best.value or 0.0):
            self._keep(rate, setting, found[1], self.best.bound)

    def _start_alone(self, microbatches: int, most_batch: int) -> None:
        """Look for a good plan without hosts."""
        for batch in (2**i for i in range(most_batch.bit_length())):
            setting = self._setting(batch, microbatches)
            alone = self._at(setting).fastest_chain(self.asked.tpot_ms)
            if alone is None:
                return
            self._offer(setting, alone)

    def _useful(self) -> int:
        """Bound the microbatches: with more, the time per token is that of the slowest stage alone."""
        costs = self.model.costs(self._setting(1, 1))
        turns = max(option.replicas for option in self.model.options)
        slowest = float(costs.time_ms.min(axis=0).max()) / turns
        back = 2.0 * float(costs.across_ms[:, -1].max())
        devices = sum(len(pool.names) for pool in self.model.pools)
        return devices * turns + (ceil(back / slowest) if slowest > 0 else 0)

    def _split(
        self, level: int, first: int, last: int, few: int, many: int
    ) -> Iterator[tuple[float, tuple[int, int, int, int, int]]]:
        """Look at the smallest corner of a box; yield parts with bounds, if it may hold a better setting.

        Of one setting that beams leave open, the next level has wider ones.
        """
        slots = min(last * many, self._slots)
        if first * few > slots:
            return
        value = (self.best.value or 0.0) * (1 + self.request.gap)
        if first == last and few == many:
            least = self._improve(first, few, WIDTHS[:3] if level == 0 else WIDTHS[level + 2 : level + 3])
            if least is not None:
                yield 1e3 * slots / least if least > 0 else inf, (level + 1, first, last, few, many)
            return
        corner, found = self._at(self._setting(first, few)), None
        if not corner.labels or last * many <= SMALL_BOX * first * few:
            with suppress(UndecidedError):
                found = corner.within(1e3 * slots / value if value else inf, WIDTHS[:3])
                if found is None:
                    return
        if found is not None and 1e3 * first * few / found[0] > value:
            self._keep(1e3 * first * few / found[0], self._setting(first, few), found[1], self.best.bound)
        if last / first >= many / few:
            middle = int((first * last) ** 0.5)
            parts = [(first, middle, few, many), (middle + 1, last, few, many)]
        else:
            middle = int((few * many) ** 0.5)
            parts = [(first, last, few, middle), (first, last, middle + 1, many)]
        for part in parts:
            yield self._bound(*part), (0, *part)

    def _bound(self, first: int, last: int, few: int, many: int) -> float:
        """Bound the tokens per second of a box of settings, without a search."""
        least = self._at(self._setting(first, few)).least
        slots = min(last * many, self._slots)
        if least == inf or least > self.asked.tpot_ms:
            return 0.0
        shared = most_tokens(self.model, self._setting(first, few), self._setting(last, many))
        return min(shared, 1e3 * slots / least if least > 0 else inf)

    def _improve(
        self, batch: int, microbatches: int, widths: tuple[int | None, ...] = WIDTHS[:3]
    ) -> float | None:
        """Find the best plan of a setting; where beams do not, return a bound on its time per token."""
        slots, value = batch * microbatches, (self.best.value or 0.0) * (1 + self.request.gap)
        setting = self._setting(batch, microbatches)
        search = self._at(setting)

        def watch(found: Found | None) -> None:
            if found is not None:
                self._offer(setting, found)

        try:
            search.minimise(
                1e3 * slots / value if value else inf, self.request.gap, widths=widths, watch=watch
            )
        except UndecidedError:
            return search.least
        return None
