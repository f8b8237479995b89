"""What every search over settings holds: the best answer so far, and questions about single settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil, inf

from placer.serving.serving_layout import Place
from placer.serving.serving_model import ServingModel, Setting
from placer.serving.serving_request import ServingRequest
from placer.serving.token_time import (
    DECIDING,
    WIDTHS,
    Asked,
    Clock,
    OutOfTimeError,
    TokenTime,
    UndecidedError,
)

__all__ = ["MOST_SEQUENCES", "Answer", "SettingSearch"]

MOST_SEQUENCES = 2**22
"""Sequences beyond which memory is taken not to limit them."""


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


class SettingSearch(ABC):
    """A search over settings for one objective.

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
        self._widths = WIDTHS[:DECIDING]
        self._undecided = False

    def answer(self) -> Answer:
        """Search until the end, or until the time is over."""
        try:
            self._search()
            self.best = replace(self.best, finished=True)
        except OutOfTimeError:
            pass
        return self.best

    @abstractmethod
    def _search(self) -> None:
        """Search until the end; the best answer and its bound are kept."""

    def _setting(self, batch: int, microbatches: int, context: int | None = None) -> Setting:
        context = context or self.request.context
        return Setting(batch, microbatches, context, self.request.prompt or context)

    def _at(self, setting: Setting, room: float = 0.0) -> TokenTime:
        return TokenTime(self.model, setting, replace(self.asked, room_per_layer=room), self.clock)

    def _fits(self, batch: int, microbatches: int, context: int | None = None) -> bool:
        """Whether a setting has a plan within the limits, as far as beams of this width see."""
        return self._plan(self._setting(batch, microbatches, context)) is not None

    def _plan(self, setting: Setting) -> tuple[Place, ...] | None:
        """Find any plan for a setting within the limits."""
        try:
            found = self._at(setting).within(inf, self._widths)
        except UndecidedError:
            self._undecided = True
            return None
        return None if found is None else found[1]

    def _may_fit(self, batch: int, microbatches: int, context: int | None = None) -> bool:
        """Whether no bound rules a setting out."""
        least = self._at(self._setting(batch, microbatches, context)).least
        return least < inf and least <= self.asked.tpot_ms

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
