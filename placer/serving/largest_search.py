"""Largest settings: most sequences, longest context; by bisection, since memory and time grow with both."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace

from placer.serving.largest_fitting import largest
from placer.serving.serving_model import Setting
from placer.serving.serving_tie import break_tie
from placer.serving.setting_search import MOST_SEQUENCES, SettingSearch
from placer.serving.token_time import DECIDING, WIDTHS, Clock, OutOfTimeError, UndecidedError

__all__ = ["ConcurrencySearch", "ContextSearch"]

TIE_SHARE = 0.2
"""Of the time limit: for the most room and the fastest among plans of the largest setting."""


class LargestSearch(SettingSearch):
    """The largest of something that fits, and of its plans one with the most room."""

    @abstractmethod
    def _size(self, setting: Setting) -> float:
        """Return what is to be large."""

    def _fits(self, batch: int, microbatches: int, context: int | None = None) -> bool:
        """Whether a setting has a plan within the limits; keeps it as the best if it is."""
        setting = self._setting(batch, microbatches, context)
        layout = self._plan(setting)
        if layout is None:
            return False
        value = self._size(setting)
        if self.best.value is None or value > self.best.value:
            self._keep(value, setting, layout, self.best.bound)
        return True

    @abstractmethod
    def _settings(self, setting: Setting) -> Iterator[Setting]:
        """Yield all settings that are worth looking at of as large ones."""

    def _pair(self, sequences: int) -> tuple[int, int]:
        """Return the batch and the microbatches in which so many sequences keep least.

        Each device of r replicas has the cache of ``ceil(M / r) B`` sequences, at least ``ceil(M B / r)``.
        """
        replicated = any(option.replicas > 1 for option in self.model.options)
        return (sequences, 1) if self.model.batches and not replicated else (1, sequences)

    def _most(
        self, fits: Callable[[int], bool], may_fit: Callable[[int], bool], most: int, least: int = 1
    ) -> None:
        """Find the largest number that fits: with beams first, then with all labels."""
        if self._at(self._setting(1, 1, 1)).labels:  # each look is dear: from the top
            top = largest(may_fit, most, least)
            self.best = replace(self.best, bound=float(top))
            if not top or fits(top):
                return
            most = top - 1
        found = largest(fits, most, least)
        if self._undecided:
            self.best = replace(self.best, bound=float(largest(may_fit, most, max(found, least))))
            self._widths = WIDTHS[DECIDING:]
            found = largest(fits, most, max(found, least))
        self.best = replace(self.best, bound=float(found))

    def _roomiest(self) -> None:
        """Of plans for the largest setting, take one with the most room per layer, then the fastest."""
        best, whole = self.best, self.clock
        if best.setting is None or best.value is None:
            return
        value = best.value
        clock = Clock(min(whole.seconds - whole.spent, TIE_SHARE * whole.seconds), whole.interrupted)
        keep = lambda setting, layout: self._keep(value, setting, layout, best.bound)  # noqa: E731
        settings = [best.setting, *(s for s in self._settings(best.setting) if s != best.setting)]
        try:
            break_tie(self.model, self.asked, clock, settings, best.layout, keep)
        except (OutOfTimeError, UndecidedError):
            whole.check()


class ConcurrencySearch(LargestSearch):
    """The most sequences of a given context."""

    def _size(self, setting: Setting) -> float:
        return float(setting.batch * setting.microbatches)

    def _search(self) -> None:
        if self._fits_any(MOST_SEQUENCES):
            most = f"{MOST_SEQUENCES:,}"
            said = (f"nothing: memory has room for any number, and none beyond {most} is looked at",)
            self.best = replace(self.best, bound=float(MOST_SEQUENCES), limited_by=said)
        elif self.model.batches and self.request.max_tpot_ms is not None:
            self._staircase()
        else:
            self._most(self._fits_any, lambda s: self._may_fit(*self._pair(s)), MOST_SEQUENCES)
        self._roomiest()

    def _settings(self, setting: Setting) -> Iterator[Setting]:
        slots = setting.batch * setting.microbatches
        for microbatches in range(1, slots + 1) if self.model.batches else (slots,):
            if slots % microbatches == 0:
                yield replace(setting, batch=slots // microbatches, microbatches=microbatches)

    def _fits_any(self, sequences: int) -> bool:
        """Whether memory is enough for so many sequences, and one microbatch keeps the limits."""
        return self._fits(*self._pair(sequences))

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


class ContextSearch(LargestSearch):
    """The longest context of a given number of sequences."""

    def _size(self, setting: Setting) -> float:
        return float(setting.context or 0)

    def _settings(self, setting: Setting) -> Iterator[Setting]:
        for batch, microbatches in self._pairs(self.request.concurrency or 1):
            yield replace(setting, batch=batch, microbatches=microbatches)

    def _search(self) -> None:
        sequences, least = self.request.concurrency or 1, self.request.prompt or 1
        pairs = list(self._pairs(sequences))
        if self.request.max_tpot_ms is None:
            pairs = [self._pair(sequences)]

        def fits(context: int) -> bool:
            for pair in pairs:
                if self._fits(*pair, context):
                    pairs.sort(key=lambda other: other != pair)
                    return True
            return False

        longest = self.model.max_context or 1
        self._most(fits, lambda c: any(self._may_fit(*pair, c) for pair in pairs), longest, least)
        if self.best.value == longest:
            said = (f"the model: it is made for {longest} tokens",)
            self.best = replace(self.best, limited_by=said)
        self._roomiest()
