"""The objectives: which batch, how many microbatches, how long a context; each an outer search over settings.

Loads and memory grow with the sequences of a microbatch (B), the microbatches (M) and the context, and so
does the least time per token.  So a box of settings whose smallest corner is not within a target holds none
that is; largest settings are found by bisection.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from math import ceil, inf

from placer.serving.largest_fitting import largest
from placer.serving.serving_layout import Place
from placer.serving.serving_model import ServingModel, Setting
from placer.serving.serving_request import Goal, ServingRequest
from placer.serving.serving_tie import break_tie
from placer.serving.token_time import (
    DECIDING,
    WIDTHS,
    Asked,
    Clock,
    Found,
    OutOfTimeError,
    TokenTime,
    UndecidedError,
)

__all__ = ["Answer", "Questions"]

MOST_SEQUENCES = 2**22
"""Sequences beyond which memory is taken not to limit them."""
TIE_SHARE = 0.2
"""Of the time limit: for the most room and the fastest among plans of the largest setting."""
SMALL_BOX = 1.5
"""Largest ratio of a box's corners for which labels look at the smallest; larger ones are split at once."""
MOST_BATCH = 4096
"""Sequences of a microbatch at most, when throughput is asked for without a limit."""


@dataclass(frozen=True)
class Answer:
    """What a question found so far.

    Parameters
    ----------
    value, bound
        Of the objective; None when absent.
    setting, layout
        The plan.
    finished
        Whether the search went to its end.
    limited_by
        In words, what is not of the devices.
    """

    value: float | None = None
    bound: float | None = None
    setting: Setting | None = None
    layout: tuple[Place, ...] = ()
    finished: bool = True
    limited_by: tuple[str, ...] = ()


class Questions:
    """All objectives for a model.

    Parameters
    ----------
    model, request
        What is served, and what is asked.
    clock
        When to stop.
    watch
        Told the best answer so far.
    """

    def __init__(
        self,
        model: ServingModel,
        request: ServingRequest,
        clock: Clock,
        watch: Callable[[Answer], None] = lambda _: None,
    ) -> None:
        self.model, self.request, self.clock, self.watch = model, request, clock, watch
        self.asked = Asked(
            tpot_ms=request.max_tpot_ms or inf,
            ttft_ms=request.max_ttft_ms or inf,
            scattered=request.scattered,
        )
        self.best = Answer(finished=False)
        self._most_slots = request.concurrency or MOST_SEQUENCES
        self._widths = WIDTHS[:DECIDING]
        self._undecided = False

    def answer(self) -> Answer:
        """Search until the end, or until the time is over."""
        search = {
            Goal.THROUGHPUT: self._throughput,
            Goal.TPOT: self._tpot,
            Goal.CONCURRENCY: self._concurrency,
            Goal.CONTEXT: self._context,
        }[self.request.objective]
        try:
            search()
            self.best = replace(self.best, finished=True)
        except OutOfTimeError:
            pass
        return self.best

    # -- settings -------------------------------------------------------------------------------

    def _setting(self, batch: int, microbatches: int, context: int | None = None) -> Setting:
        context = context or self.request.context
        return Setting(batch, microbatches, context, self.request.prompt or context)

    def _at(self, setting: Setting, room: float = 0.0) -> TokenTime:
        return TokenTime(self.model, setting, replace(self.asked, room_per_layer=room), self.clock)

    def _fits(self, batch: int, microbatches: int, context: int | None = None) -> bool:
        """Whether a setting has a plan within the limits; keeps it as the best if it is."""
        setting = self._setting(batch, microbatches, context)
        goal = self.request.objective
        value = float((batch * microbatches if goal is Goal.CONCURRENCY else setting.context) or 0)
        try:
            found = self._at(setting).within(inf, self._widths)
        except UndecidedError:
            self._undecided = True
            return False
        if found is None:
            return False
        if goal in (Goal.CONCURRENCY, Goal.CONTEXT) and (self.best.value is None or value > self.best.value):
            self._keep(value, setting, found[1], self.best.bound)
        return True

    def _may_fit(self, batch: int, microbatches: int, context: int | None = None) -> bool:
        """Whether no bound rules a setting out."""
        least = self._at(self._setting(batch, microbatches, context)).least
        return least < inf and least <= self.asked.tpot_ms

    def _most(self, fits: Callable[[int], bool], may_fit: Callable[[int], bool], most: int) -> None:
        """Find the largest number that fits: with beams first, then with all labels."""
        if self._at(self._setting(1, 1, 1)).labels:  # each look is dear: from the top
            top = largest(may_fit, most)
            self.best = replace(self.best, bound=float(top))
            if not top or fits(top):
                return
            most = top - 1
        found = largest(fits, most)
        if self._undecided:
            self.best = replace(self.best, bound=float(largest(may_fit, most, max(found, 1))))
            self._widths = WIDTHS[DECIDING:]
            found = largest(fits, most, max(found, 1))
        self.best = replace(self.best, bound=float(found))

    def _keep(
        self, value: float, setting: Setting, layout: tuple[Place, ...], bound: float | None = None
    ) -> None:
        self.best = replace(self.best, value=value, setting=setting, layout=layout, bound=bound)
        self.watch(self.best)

    def _pairs(self, sequences: int) -> Iterator[tuple[int, int]]:
        """Smallest batches and microbatches that have room for so many sequences."""
        if not self.model.batches:
            yield 1, sequences
            return
        before = 0
        for microbatches in range(1, sequences + 1):
            batch = ceil(sequences / microbatches)
            if batch != before:
                yield batch, microbatches
            before = batch

    # -- tokens per second ----------------------------------------------------------------------

    def _throughput(self) -> None:
        most_batch = min(self.request.concurrency or MOST_BATCH, MOST_BATCH) if self.model.batches else 1
        hosts = self._at(self._setting(1, 1)).labels
        most_batch = largest(lambda b: (self._may_fit if hosts else self._fits)(b, 1), most_batch)
        if most_batch == 0:
            return
        most = min(self._useful(), self._most_slots)
        several = min(most, sum(len(pool.names) for pool in self.model.pools))
        for microbatches in range(1, min(several, 8) + 1) if hosts else ():
            self._start_alone(microbatches, min(most_batch, self._most_slots // microbatches))
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
        slots = min(last * many, self._most_slots)
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
        slots = min(last * many, self._most_slots)
        out = least == inf or least > self.asked.tpot_ms
        return 0.0 if out else 1e3 * slots / least if least > 0 else inf

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

    # -- time per token -------------------------------------------------------------------------

    def _tpot(self) -> None:
        settings = [self._setting(b, m) for b, m in self._pairs(self.request.concurrency or 1)]
        waiting = sorted((self._at(s).least, i) for i, s in enumerate(settings))
        for rank, (least, i) in enumerate(waiting):
            value = inf if self.best.value is None else self.best.value
            self.best = replace(self.best, bound=min(value, least))
            if least >= value * (1 - self.request.gap):
                break
            following = waiting[rank + 1][0] if rank + 1 < len(waiting) else inf
            search = self._at(settings[i])

            def watch(
                found: Found | None, search: TokenTime = search, i: int = i, other: float = following
            ) -> None:
                if found is not None and (self.best.value is None or found[0] < self.best.value):
                    self._keep(found[0], settings[i], found[1])
                known = inf if self.best.value is None else self.best.value
                self.best = replace(self.best, bound=min(known, search.least, other))

            search.minimise(value * (1 - self.request.gap), self.request.gap, watch=watch)
        self.best = replace(self.best, bound=self.best.value)

    # -- largest settings -----------------------------------------------------------------------

    def _concurrency(self) -> None:
        if self._fits_any(MOST_SEQUENCES):
            self._keep(1.0, self._setting(1, 1), self.best.layout)
            said = ("memory does not limit the sequences: any number fits",)
            self.best = replace(self.best, bound=1.0, limited_by=said)
        elif self.model.batches and (self.request.max_tpot_ms is not None or self._replicated):
            self._staircase()
        else:
            self._most(self._fits_any, lambda s: self._may_fit(*self._pair(s)), MOST_SEQUENCES)
        self._roomiest()

    @property
    def _replicated(self) -> bool:
        return any(option.replicas > 1 for option in self.model.options)

    def _fits_any(self, sequences: int) -> bool:
        """Whether so many sequences fit, in one microbatch or as many as the model needs."""
        return self._fits(*self._pair(sequences))

    def _pair(self, sequences: int) -> tuple[int, int]:
        return (sequences, 1) if self.model.batches else (1, sequences)

    def _staircase(self) -> None:
        """Go through the microbatches; each time, only a batch that makes more sequences is of interest."""
        most, microbatches = 0, 1
        while self._fits(1, microbatches):
            more = most // microbatches + 1
            if self._fits(more, microbatches):
                test = lambda b, m=microbatches: self._fits(b, m)  # noqa: E731
                most = max(most, microbatches * largest(test, MOST_SEQUENCES, more))
            microbatches += 1
        bound, microbatches = most, 1
        while self._undecided and self._may_fit(1, microbatches):
            test = lambda b, m=microbatches: self._may_fit(b, m)  # noqa: E731
            bound = max(bound, microbatches * largest(test, MOST_SEQUENCES))
            microbatches += 1
        self.best = replace(self.best, bound=float(bound))

    def _context(self) -> None:
        pairs = list(self._pairs(self.request.concurrency or 1))
        if self.request.max_tpot_ms is None:
            pairs = pairs[:1]

        def fits(context: int) -> bool:
            for pair in pairs:
                if self._fits(*pair, context):
                    pairs.sort(key=lambda other: other != pair)
                    return True
            return False

        longest = self.model.max_context or 1
        self._most(fits, lambda c: any(self._may_fit(*pair, c) for pair in pairs), longest)
        if self.best.value == longest:
            said = (f"the model is made for {longest} tokens",)
            self.best = replace(self.best, limited_by=said)
        self._roomiest()

    def _roomiest(self) -> None:
        """Of plans for the largest setting, take one with the most room per layer, then the fastest."""
        best, whole = self.best, self.clock
        if best.setting is None or best.value is None:
            return
        value = best.value
        clock = Clock(min(whole.seconds - whole.spent, TIE_SHARE * whole.seconds), whole.interrupted)
        keep = lambda setting, layout: self._keep(value, setting, layout, best.bound)  # noqa: E731
        try:
            break_tie(self.model, self.asked, clock, best.setting, best.layout, keep)
        except (OutOfTimeError, UndecidedError):
            whole.check()
