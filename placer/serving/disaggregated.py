"""From a question about prefill and decode groups to a checked answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from placer.errors import UsageError, VerificationError
from placer.plans.result import Status
from placer.plans.status import Stop
from placer.serving.disaggregated_check import violations
from placer.serving.disaggregated_result import DisaggregatedResult, GroupStage, PrefillGroup, Together
from placer.serving.disaggregated_search import DisaggregatedSearch, TogetherSearch
from placer.serving.disaggregation import Disaggregation, Rates, TogetherModel
from placer.serving.served_language_model import ServedLanguageModel
from placer.serving.serving_layout import Place, tied, to_plan
from placer.serving.serving_model import ServingModel
from placer.serving.serving_plan import ServingPlan
from placer.serving.serving_request import Goal, ServingRequest
from placer.serving.setting_search import Answer
from placer.serving.token_time import Clock

__all__ = ["serve_disaggregated"]

TOGETHER_SHARE = 0.3
"""Of the time limit, for the same devices doing both: a search without splits is shorter."""


def serve_disaggregated(
    model: ServingModel,
    request: ServingRequest,
    *,
    devices: str = "",
    watch: Callable[[float, Answer], None] = lambda _, __: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> DisaggregatedResult:
    """Find the most requests per second with prefill and decode on devices of their own.

    Parameters
    ----------
    model, request
        As `placer.serving.serve.served` returns them; requests have ``context - prompt`` tokens of output.
    devices
        What the devices are called in the result.
    watch
        Told seconds and the best answer so far, in tokens per second.
    interrupted
        Asked whether to stop at once.

    Raises
    ------
    UsageError
        When the request does not say how long prompts and outputs are, or asks for something else.
    VerificationError
        When the answer does not hold, computed again from the model: a defect of this software.
    """
    language, prompt, output = _allowed(model, request)
    requests = Disaggregation(language, prompt, output - 1)
    clock = Clock(request.time_limit, interrupted)
    own = Clock((1 - TOGETHER_SHARE) * request.time_limit, interrupted)
    found = DisaggregatedSearch(requests, request, own, lambda best: watch(clock.spent, best)).answer()
    together = _together(requests, request, Clock(request.time_limit - clock.spent, interrupted))
    stop = Stop.FINISHED if found.finished else Stop.INTERRUPTED if interrupted() else Stop.TIME_LIMIT
    result = DisaggregatedResult(
        model=language.name,
        devices=devices or ", ".join(f"{len(p.names)} {p.cls.name}" for p in language.pools),
        request=request,
        prompt=prompt,
        output=output,
        together=together,
        notes=language.notes,
        stop=stop,
        seconds=clock.spent,
        **_answer(requests, request, found),
    )
    if result.value is None:
        never = "no two groups have room for the weights in each, and for the requests"
        result = result.model_copy(update={"message": never if found.finished else f"no plan found: {stop}"})
    if broken := violations(language, result):
        raise VerificationError(f"the plan does not hold: {broken[0]}")
    return result


def _allowed(model: ServingModel, request: ServingRequest) -> tuple[ServedLanguageModel, int, int]:
    """Return the model, and tokens of prompt and output."""
    if not isinstance(model, ServedLanguageModel):
        raise UsageError("--layout disaggregated takes language models: an instance says nothing of prompts")
    if request.objective is not Goal.THROUGHPUT or request.scattered or request.limits:
        raise UsageError("--layout disaggregated knows throughput alone: no --scattered, no --limits")
    if any(pool.host for pool in model.pools):
        raise UsageError("--layout disaggregated takes accelerators alone: leave hosts out of --devices")
    context, prompt = request.context or 1, request.prompt
    if prompt is None or context - prompt < 2:
        raise UsageError(
            "--layout disaggregated needs --prompt P and --context C: requests of P tokens and C - P to "
            "answer, at least two"
        )
    return model, prompt, context - prompt


def _answer(requests: Disaggregation, request: ServingRequest, found: Answer) -> dict[str, Any]:
    """Write down what was found."""
    bound = None if found.bound is None else found.bound / requests.steps
    if found.setting is None:
        status = Status.INFEASIBLE if found.finished else Status.UNKNOWN
        return {"status": status, "value": None, "bound": None if found.finished else bound}
    costs = requests.model.costs(found.setting)
    rates = requests.rates(costs, found.setting, found.layout)
    plan = to_plan(requests.model, costs, found.setting, [p for p in found.layout if not p.prefill])
    prefill, unused = _prefill(requests, rates, [p for p in found.layout if p.prefill], plan.unused)
    handed_ms = rates.hand_over_ms
    slowest = max(prefill.stages, key=lambda stage: stage.load_ms / stage.replicas)
    rate = {
        f"prefill on {slowest.devices[0]}": prefill.prompts_per_s,
        "the decode group": plan.tokens_per_s / requests.steps,
        "the links between the groups": 1e3 / handed_ms if handed_ms > 0 else inf,
    }
    value = min(rate.values())
    bound = None if bound is None else max(bound, value)
    gap = None if bound is None else (bound - value) / value
    proven = gap is not None and gap <= request.gap * (1 + 1e-9) + 1e-12
    return {
        "status": Status.OPTIMAL if proven else Status.FEASIBLE,
        "value": value,
        "bound": bound,
        "gap": gap,
        "prefill": prefill,
        "decode": plan.model_copy(update={"unused": unused}),
        "arrive_ms": rates.arrive_ms,
        "decoded_per_s": plan.tokens_per_s / requests.steps,
        "handed_over_per_s": 1e3 / handed_ms if handed_ms > 0 else None,
        "limited_by": tuple(
            f"{what}: {per_s:.4g} requests/s"
            for what, per_s in rate.items()
            if per_s <= value * (1 + request.gap)
        ),
    }


def _prefill(
    requests: Disaggregation, rates: Rates, layout: Sequence[Place], left: Sequence[str]
) -> tuple[PrefillGroup, tuple[str, ...]]:
    """Write down the prefill group; return it, and the devices that are left."""
    free, stages = list(left), []
    for place, load in zip(layout, rates.prefill.load_ms.tolist(), strict=True):
        option = requests.model.options[place.option]
        pool = requests.model.pools[option.pool]
        names = tuple([name for name in free if name in pool.names][: option.devices])
        free = [name for name in free if name not in names]
        stages.append(_stage(requests, place, names, load))
    group = PrefillGroup(
        stages=tuple(stages), ttft_ms=float(rates.prefill.load_ms.sum()), prompts_per_s=1e3 / rates.prompt_ms
    )
    return group, tuple(free)


def _stage(requests: Disaggregation, place: Place, names: tuple[str, ...], load: float) -> GroupStage:
    """Write down a prefill stage."""
    model, nodes = requests.model, list(place.nodes)
    option = model.options[place.option]
    pool = model.pools[option.pool]
    weights = float(requests.prefill.weight_bytes[place.option, nodes].sum()) - tied(model, place)
    cache = float(requests.prefill.cache_bytes[place.option, nodes].sum())
    numbers = [number for v in nodes if (number := model.layer_of[v]) is not None]
    limited = pool.room_bytes < inf
    return GroupStage(
        devices=names,
        device_class=pool.cls.name,
        shards=option.shards,
        replicas=option.replicas,
        layers=(min(numbers), max(numbers) + 1) if numbers else None,
        nodes=tuple(model.ids[v] for v in nodes),
        load_ms=load,
        hand_over_ms=float(requests.hand_over_ms[place.option, nodes].sum()),
        weight_bytes=weights,
        cache_bytes=cache,
        room_bytes=pool.room_bytes if limited else None,
        free_bytes=pool.room_bytes - weights - cache if limited else None,
    )


def _together(requests: Disaggregation, request: ServingRequest, clock: Clock) -> Together:
    """Search for the best plan of the same devices doing both."""
    model = TogetherModel(
        requests.model.model,
        requests.model.cluster,
        prompt=requests.prompt,
        steps=requests.steps,
        cache=request.cache,
        shards=request.shards,
        replicas=request.replicas,
    )
    found = TogetherSearch(model, request, clock).answer()
    bound = None if found.bound is None else found.bound / requests.steps
    if found.setting is None or found.value is None:
        return Together(requests_per_s=None, bound=None if found.finished else bound, plan=None)
    plan: ServingPlan = to_plan(model, model.costs(found.setting), found.setting, found.layout)
    return Together(requests_per_s=plan.tokens_per_s / requests.steps, bound=bound, plan=plan)
