"""Prefill and decode on devices of their own: costs of both, and of the keys and values handed over.

Requests have a prompt of P tokens and ask for O more.  The prefill group is a pipeline of whole prompts,
which ends in the first token; keys and values go to the decode group beside computation, over the link of
their stage at either end; there they stay while O - 1 tokens are decoded, in M microbatches of B sequences.
Requests per second are the least of

    1 / max over prefill stages of load and of hand-over,  1 / max over decode stages of hand-over,
    M B / (TPOT (O - 1))

where loads and hand-overs of replicas are divided by their number.  A microbatch takes B / (O - 1) requests
per step: seen from the decode group, the others are stages that take that many times their time of a
request.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from placer.imports.catalogue import Cluster
from placer.language.language_model import LanguageModel
from placer.serving.served_language_model import ServedLanguageModel
from placer.serving.serving_layout import Figures, Place, figures
from placer.serving.serving_model import Costs, Setting

__all__ = ["HELD_PROMPTS", "Disaggregation", "Rates", "TogetherModel"]

HELD_PROMPTS = 2
"""Prompts whose keys and values a prefill device has room for: the one it computes, the one handed over."""


@dataclass(frozen=True, eq=False)
class Rates:
    """What two groups give.

    Parameters
    ----------
    prefill, decode
        Figures of the two pipelines.
    prompt_ms, hand_over_ms
        Time per request of the slowest prefill stage, and of the slowest hand-over at either end.
    arrive_ms
        Of the hand-over to each decode place.
    step_ms
        Time per output token where microbatches wait for prompts if these are slower.
    """

    prefill: Figures
    decode: Figures
    prompt_ms: float
    hand_over_ms: float
    arrive_ms: tuple[float, ...]
    step_ms: float


class Disaggregation:
    """Requests of one kind, and what they cost a model.

    Parameters
    ----------
    model
        The model on its devices, none of them a host.
    prompt, steps
        Tokens of a prompt, and tokens that are decoded after the first.
    """

    def __init__(self, model: ServedLanguageModel, prompt: int, steps: int) -> None:
        self.model, self.prompt, self.steps = model, prompt, steps
        costs = model.costs(Setting(context=prompt, prompt=prompt))
        assert costs.prefill_ms is not None
        assert costs.prefill_move_ms is not None
        assert costs.prefill_across_ms is not None
        move, across = costs.prefill_move_ms.copy(), costs.prefill_across_ms.copy()
        move[:, -1] = across[:, -1] = 0.0  # nothing goes back to the first stage
        self.prefill = Costs(
            costs.prefill_ms, costs.weight_bytes, HELD_PROMPTS * costs.cache_bytes, move, across
        )
        """Costs of a prompt, as of a microbatch."""
        self.hand_over_ms = model.hand_over_ms(prompt)
        """Time in which a node's keys and values leave or reach a stage, ``(O, n)``."""

    def rates(self, costs: Costs, setting: Setting, layout: tuple[Place, ...]) -> Rates:
        """Compute what two groups give in a setting of the decode group, whose costs these are."""
        first = [place for place in layout if place.prefill]
        second = [place for place in layout if not place.prefill]
        prefill = figures(self.model, self.prefill, Setting(), first)
        decode = figures(self.model, costs, setting, second)
        loads = zip(prefill.load_ms.tolist(), first, strict=True)
        prompt = max(load / self.model.options[place.option].replicas for load, place in loads)
        spent = [float(self.hand_over_ms[place.option, list(place.nodes)].sum()) for place in layout]
        links = max(
            time / self.model.options[place.option].replicas
            for time, place in zip(spent, layout, strict=True)
        )
        arrive = tuple(time for time, place in zip(spent, layout, strict=True) if not place.prefill)
        slots = setting.batch * setting.microbatches
        step = max(decode.tpot_ms, slots * max(prompt, links) / self.steps)
        return Rates(prefill, decode, prompt, links, arrive, step)


class TogetherModel(ServedLanguageModel):
    """The same model, each step of which also computes its share of the prompts that come (chunked prefill).

    With requests of ``steps`` tokens after the first, a microbatch of B sequences takes ``B / steps`` prompts
    per step.
    """

    def __init__(
        self,
        model: LanguageModel,
        cluster: Cluster,
        *,
        prompt: int,
        steps: int,
        cache: str | None,
        shards: tuple[int, ...],
        replicas: tuple[int, ...],
    ) -> None:
        super().__init__(model, cluster, cache=cache, shards=shards, replicas=replicas)
        self.prompt, self.steps = prompt, steps

    def costs(self, setting: Setting) -> Costs:
        """Compute the costs in a setting."""
        own = super().costs(replace(setting, prompt=self.prompt))
        assert own.prefill_ms is not None
        assert own.prefill_move_ms is not None
        assert own.prefill_across_ms is not None
        share = setting.batch / self.steps
        move, across = own.move_ms.copy(), own.across_ms.copy()
        move[:, :-1] += share * own.prefill_move_ms[:, :-1]  # the last node's goes back, which prompts do not
        across[:, :-1] += share * own.prefill_across_ms[:, :-1]
        return Costs(own.time_ms + share * own.prefill_ms, own.weight_bytes, own.cache_bytes, move, across)
