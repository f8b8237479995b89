"""Most requests per second with prefill and decode on devices of their own, over all splits of the devices.

For a time per token in a setting, one dynamic program finds the least sum of loads of decode chains for all
numbers of devices at once, another one that of prefill chains fast enough; a split is found where both fit.
The settings are searched as for throughput: what prompts take per step of a microbatch grows with it, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np

from placer.arrays import FloatArray
from placer.serving.disaggregation import Disaggregation
from placer.serving.interval_search import SLACK, Beside, ChainsByUse, chains_by_use
from placer.serving.serving_layout import Place
from placer.serving.serving_model import ServingModel, Setting
from placer.serving.serving_request import ServingRequest
from placer.serving.setting_search import Answer
from placer.serving.throughput_search import ThroughputSearch
from placer.serving.token_time import Asked, Clock, Found, TokenTime
from placer.tolerances import MEMORY_TOLERANCE

__all__ = ["DisaggregatedSearch", "TogetherSearch"]


class DisaggregatedTime(TokenTime):
    """The least time per token in a setting of the decode group that prompts keep up with.

    Parameters
    ----------
    requests
        What is asked and handed over.
    setting, asked, clock
        As of `TokenTime`; limits are those of the groups on their own, where nothing waits for the other.
    """

    def __init__(self, requests: Disaggregation, setting: Setting, asked: Asked, clock: Clock) -> None:
        self.requests = requests
        super().__init__(requests.model, setting, asked, clock)
        self.limit_ms, self.first_ms = asked.tpot_ms, asked.ttft_ms
        self.asked = Asked()  # prompts that come late may hold up tokens beyond the limit on decoding
        self.least = max(self.least, self._least_of_both())

    def _least_of_both(self) -> float:
        """Bound the time per token: both kinds of work at their fastest, spread over all devices."""
        model, prefill, costs = self.model, self.requests.prefill, self.costs
        turns = np.array([[option.replicas] for option in model.options])
        taken = np.array([[option.devices] for option in model.options])
        held = sum(
            float((taken * (part.weight_bytes + part.cache_bytes)).min(axis=0).sum()) - model.tied_bytes
            for part in (prefill, costs)
        )
        room = sum(pool.room_bytes * len(pool.names) for pool in model.pools)
        devices = sum(len(pool.names) for pool in model.pools)
        if held > room * (1 + MEMORY_TOLERANCE) * SLACK or devices < 2:
            return inf
        prompts = self._prompts * (prefill.time_ms / turns).min(axis=0)
        tokens = (costs.time_ms / turns).min(axis=0)
        share = max(float(prompts.max()), float(prompts.sum() + tokens.sum()) / devices)
        return self.setting.microbatches * share / SLACK

    @property
    def _prompts(self) -> float:
        """Prompts that a microbatch takes per step."""
        return self.setting.batch / self.requests.steps

    def _chain(self, target: float) -> Found | None:
        self.clock.check()
        cap = target / self.setting.microbatches
        prompt = Beside(self.requests.hand_over_ms, cap / self._prompts)
        own = min(cap, self.limit_ms / self.setting.microbatches)
        decode = chains_by_use(self.model, self.costs, own, prompt)
        good = decode.value <= min(target, self.limit_ms) * SLACK
        if not good.any():
            return None
        self.clock.check()
        prefill = chains_by_use(self.model, self.requests.prefill, prompt.cap_ms, prompt)
        layout = self._split(np.where(good, decode.value, inf), decode, prefill)
        if layout is None:
            return None
        return self.requests.rates(self.costs, self.setting, layout).step_ms, layout

    def _split(
        self, value: FloatArray, decode: ChainsByUse, prefill: ChainsByUse
    ) -> tuple[Place, ...] | None:
        """Find devices for both: the fastest decode group that leaves enough, and a prefill group."""
        least = prefill.value
        for axis in range(least.ndim):  # with at most so many devices
            least = np.minimum.accumulate(least, axis=axis)
        left = least[(slice(None, None, -1),) * least.ndim]
        both = np.where(left <= self.first_ms * SLACK, value, inf)
        both[left == inf] = inf
        if both.min() == inf:
            return None
        use = np.unravel_index(int(both.argmin()), both.shape)
        rest = tuple(slice(0, size - int(u)) for size, u in zip(both.shape, use, strict=True))
        given = prefill.value[rest]
        other = np.unravel_index(int(given.argmin()), given.shape)
        first = prefill.chains(tuple(map(int, other)))
        return (*(replace(p, prefill=True) for p in first), *decode.chains(tuple(map(int, use))))


class DisaggregatedSearch(ThroughputSearch):
    """Tokens per second of the decode group, as many as prompts come for.

    Parameters
    ----------
    requests
        What is asked and handed over.
    request, clock, watch
        As of `SettingSearch`.
    """

    def __init__(
        self,
        requests: Disaggregation,
        request: ServingRequest,
        clock: Clock,
        watch: Callable[[Answer], None] = lambda _: None,
    ) -> None:
        super().__init__(requests.model, request, clock, watch)
        self.requests = requests
        self._limits, self.asked = self.asked, Asked()

    def _setting(self, batch: int, microbatches: int, context: int | None = None) -> Setting:
        return Setting(batch, microbatches, context or self.request.context)

    def _at(self, setting: Setting, room: float = 0.0) -> TokenTime:
        return DisaggregatedTime(self.requests, setting, self._limits, self.clock)


class TogetherSearch(ThroughputSearch):
    """Tokens per second of devices that do both (`TogetherModel`), without a limit to the first token."""

    def __init__(self, model: ServingModel, request: ServingRequest, clock: Clock) -> None:
        super().__init__(model, request, clock)
        self.asked = replace(self.asked, ttft_ms=inf)

    def _setting(self, batch: int, microbatches: int, context: int | None = None) -> Setting:
        return Setting(batch, microbatches, context or self.request.context)
