"""The objectives: which batch, how many microbatches, how long a context; each an outer search over settings.

Loads and memory grow with the sequences of a microbatch (B), the microbatches (M) and the context, and so
does the least time per token.  So a box of settings whose smallest corner is not within a target holds none
that is; largest settings are found by bisection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

from placer.serving.largest_search import ConcurrencySearch, ContextSearch
from placer.serving.serving_model import ServingModel
from placer.serving.serving_request import Goal, ServingRequest
from placer.serving.setting_search import Answer, SettingSearch
from placer.serving.throughput_search import ThroughputSearch
from placer.serving.token_time import Clock, Found, TokenTime

__all__ = ["Answer", "ask"]


class TokenTimeSearch(SettingSearch):
    """The least time per token of a given number of sequences, however they are put into microbatches."""

    def _search(self) -> None:
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


SEARCHES: dict[Goal, type[SettingSearch]] = {
    Goal.THROUGHPUT: ThroughputSearch,
    Goal.TPOT: TokenTimeSearch,
    Goal.CONCURRENCY: ConcurrencySearch,
    Goal.CONTEXT: ContextSearch,
}


def ask(
    model: ServingModel,
    request: ServingRequest,
    clock: Clock,
    watch: Callable[[Answer], None] = lambda _: None,
) -> Answer:
    """Answer a question: search until the end, or until the time is over.

    Parameters
    ----------
    model, request
        What is served, and what is asked.
    clock
        When to stop.
    watch
        Told the best answer so far.
    """
    return SEARCHES[request.objective](model, request, clock, watch).answer()
