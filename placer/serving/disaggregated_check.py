"""Checking an answer with prefill and decode groups: every figure again from the model and the assignment.

The bounds are claims of the search.  Costs are those of `placer.serving.recomputed_costs`, which no search
uses, and the decode group is checked as any plan of ``placer serve``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from placer.instance.cluster import Link
from placer.plans.result import Status
from placer.serving.disaggregated_result import DisaggregatedResult, GroupStage
from placer.serving.recomputed_costs import Device, Recomputed, recomputed
from placer.serving.served_language_model import ServedLanguageModel
from placer.serving.serving_check import plan_violations
from placer.serving.serving_plan import ServedStage, ServingPlan
from placer.tolerances import EQUAL, MEMORY_TOLERANCE

__all__ = ["violations"]

PROMPTS_KEPT = 2
"""Prompts that a prefill device keeps: one computed, one on its way to the decode group."""


def violations(model: ServedLanguageModel, result: DisaggregatedResult) -> list[str]:
    """List everything in an answer that does not hold, in words; an empty list means that it holds.

    Parameters
    ----------
    model
        What is served, and the devices.
    result
        The answer.
    """
    found = list(_claims(result))
    if result.prefill is None or result.decode is None or result.value is None:
        return found
    prompts = recomputed(model, 1, result.prompt, result.prompt)
    found += _support(model, result, prompts)
    if found:
        return found
    whole = result.decode.model_copy(update={"unused": _others(result.decode, prompts)})
    asked = result.request.model_copy(update={"prompt": None, "max_ttft_ms": None})
    found += plan_violations(model, whole, asked)
    return [*found, *_prefill(model, result, prompts), *_rates(model, result, prompts), *_both(model, result)]


def _claims(result: DisaggregatedResult) -> Iterator[str]:
    """Status, value, bound and gap have to fit each other and the request."""
    value, bound, request = result.value, result.bound, result.request
    parts = (value, result.prefill, result.decode, result.decoded_per_s)
    if len({part is None for part in parts}) > 1 or (value is None) != (
        result.status in (Status.INFEASIBLE, Status.UNKNOWN)
    ):
        yield f"status {result.status} and value {value} do not fit the groups"
    if result.output < PROMPTS_KEPT or (request.prompt, request.context) != (
        result.prompt,
        result.prompt + result.output,
    ):
        yield f"prompts of {result.prompt} and outputs of {result.output} tokens were not asked for"
    if value is None or bound is None:
        return
    gap = (bound - value) / value
    if gap < -EQUAL:
        yield f"the bound {bound!r} is worse than the value {value!r}"
    if result.gap is None or not math.isclose(gap, result.gap, rel_tol=EQUAL, abs_tol=EQUAL):
        yield f"the gap is {result.gap}, of value and bound it is {gap}"
    if result.status is Status.OPTIMAL and gap > request.gap * (1 + EQUAL) + EQUAL:
        yield f"status {result.status} does not fit the gap {gap}"


def _others(plan: ServingPlan, costs: Recomputed) -> tuple[str, ...]:
    """Return all devices that a plan does not use."""
    used = {name for stage in plan.stages for name in stage.devices}
    return tuple(name for name in costs.devices if name not in used)


def _devices(stages: Sequence[GroupStage] | Sequence[ServedStage]) -> list[str]:
    return [name for stage in stages for name in stage.devices]


def _support(model: ServedLanguageModel, result: DisaggregatedResult, costs: Recomputed) -> Iterator[str]:
    """Every node lies on one prefill stage, in order; every device is known and in one group."""
    assert result.prefill is not None
    assert result.decode is not None
    stages = result.prefill.stages
    if [node for stage in stages for node in stage.nodes] != list(model.ids):
        yield "the prefill stages do not hold the nodes in the order of the model"
    names = [*_devices(stages), *_devices(result.decode.stages)]
    unknown = sorted(set(names) - set(costs.devices))
    yield from (f"there is no device {name!r}" for name in unknown)
    yield from (f"{name} is in both groups, or twice in one" for name in names if names.count(name) > 1)
    if sorted([*names, *result.decode.unused]) != sorted(costs.devices) and not unknown:
        yield f"unused: {', '.join(result.decode.unused) or 'none'}, and other devices hold nothing"
    request, first = result.request, 0
    for stage in stages:
        if not stage.nodes or not stage.devices or len(stage.devices) != stage.shards * stage.replicas:
            yield f"{', '.join(stage.devices)}: {stage.shards} shards and {stage.replicas} replicas"
        elif stage.shards not in (1, *request.shards) or stage.replicas not in (1, *request.replicas):
            yield f"{stage.devices[0]}: {stage.shards} shards and {stage.replicas} replicas were not allowed"
        if first < len(model.ids) and first > 0 and not model.cuts[first]:
            yield f"{', '.join(stage.devices)} begin within layer {model.layer_of[first]}"
        first += len(stage.nodes)


def _prefill(model: ServedLanguageModel, result: DisaggregatedResult, costs: Recomputed) -> Iterator[str]:
    """Compare the figures of the prefill stages."""
    assert result.prefill is not None
    stages, place = result.prefill.stages, {name: v for v, name in enumerate(model.ids)}
    devices = [[costs.devices[name] for name in stage.devices] for stage in stages]
    for s, stage in enumerate(stages):
        device, nodes = devices[s][0], [place[name] for name in stage.nodes]
        alike = {(d.cls, d.room_bytes, d.server) for d in devices[s]}
        if len(alike) > 1 or stage.device_class != device.cls.name or device.cls.is_host:
            yield f"{', '.join(stage.devices)} do not act as one of class {stage.device_class}"
        numbers = [k for v in nodes if (k := model.layer_of[v]) is not None]
        if stage.layers != ((min(numbers), max(numbers) + 1) if numbers else None):
            yield f"{stage.devices[0]}: layers {stage.layers}"
        parts = [costs.prompt_ms(v, device, stage.shards) or 0.0 for v in nodes]
        for v, other in ((nodes[0] - 1, s - 1), (nodes[-1], s + 1)):
            if 0 <= other < len(stages):
                parts.append(costs.move_ms(v, device, devices[other][0], stage.shards, prompt=True))
        weights = math.fsum(costs.weight_bytes(v, stage.shards) for v in nodes)
        if len(nodes) == len(place) > 1:
            weights -= costs.tied_bytes() / stage.shards
        cache = PROMPTS_KEPT * math.fsum(costs.cache_bytes(v, stage.shards) for v in nodes)
        room = device.room_bytes
        yield from _compare(
            stage.devices[0],
            ("load_ms", stage.load_ms, math.fsum(parts), 0.0),
            ("hand_over_ms", stage.hand_over_ms, _hand_over(model, costs, stage, device), 0.0),
            ("weight_bytes", stage.weight_bytes, weights, 0.0),
            ("cache_bytes", stage.cache_bytes, cache, 0.0),
            ("room_bytes", stage.room_bytes, room if room < math.inf else None, 0.0),
            ("free_bytes", stage.free_bytes, room - weights - cache if room < math.inf else None, room),
        )
        if weights + cache > room * (1 + MEMORY_TOLERANCE):
            yield f"{stage.devices[0]} holds {weights + cache:.0f} bytes, more than its room of {room:.0f}"


def _hand_over(
    model: ServedLanguageModel, costs: Recomputed, stage: GroupStage | ServedStage, device: Device
) -> float:
    """Time in which keys and values of a prompt pass the stage's links, each attention on its own."""
    links = [device.cls.link, *([] if device.uplink is None else [device.uplink])]
    sizes = [costs.cache_bytes(v, stage.shards) for v, name in enumerate(model.ids) if name in stage.nodes]
    return math.fsum(max(_pass_ms(link, size) for link in links) for size in sizes if size > 0)


def _pass_ms(link: Link, size: float) -> float:
    rate = link.bandwidth_bytes_per_s
    return 0.0 if rate is None else link.latency_ms + 1e3 * size / rate


def _rates(model: ServedLanguageModel, result: DisaggregatedResult, costs: Recomputed) -> Iterator[str]:
    """Compare requests per second of both groups and of the links, and limits to the first token."""
    prefill, decode = result.prefill, result.decode
    assert prefill is not None
    assert decode is not None
    prompts = 1e3 / max(stage.load_ms / stage.replicas for stage in prefill.stages)
    stages: list[GroupStage | ServedStage] = [*prefill.stages, *decode.stages]
    handed = [
        _hand_over(model, costs, stage, costs.devices[stage.devices[0]]) / stage.replicas for stage in stages
    ]
    arrive = [h * stage.replicas for h, stage in zip(handed, stages, strict=True)][len(prefill.stages) :]
    if len(arrive) != len(result.arrive_ms):
        yield f"arrive_ms has {len(result.arrive_ms)} times, there are {len(arrive)} decode stages"
    else:
        written = enumerate(zip(result.arrive_ms, arrive, strict=True))
        yield from _compare("the answer", *((f"arrive_ms[{s}]", a, b, 0.0) for s, (a, b) in written))
    links = 1e3 / max(handed) if max(handed) > 0 else None
    decoded = decode.tokens_per_s / (result.output - 1)
    ttft = math.fsum(stage.load_ms for stage in prefill.stages)
    yield from _compare(
        "the answer",
        ("prompts_per_s", prefill.prompts_per_s, prompts, 0.0),
        ("handed_over_per_s", result.handed_over_per_s, links, 0.0),
        ("decoded_per_s", result.decoded_per_s, decoded, 0.0),
        ("value", result.value, min(prompts, decoded, math.inf if links is None else links), 0.0),
        ("ttft_ms", prefill.ttft_ms, ttft, 0.0),
    )
    limit = result.request.max_ttft_ms
    if limit is not None and prefill.ttft_ms > limit * (1 + EQUAL):
        yield f"time to the first token: {prefill.ttft_ms} ms is above the limit of {limit:g} ms"


def _both(model: ServedLanguageModel, result: DisaggregatedResult) -> Iterator[str]:
    """Compare the plan of the same devices doing both: steps with their share of the prompts."""
    together, steps = result.together, result.output - 1
    if together is None or together.plan is None:
        return
    plan = together.plan
    costs = recomputed(model, plan.batch, plan.context, result.prompt)
    place, share = {name: v for v, name in enumerate(model.ids)}, plan.batch / steps
    devices = [costs.devices[stage.devices[0]] for stage in plan.stages]
    loads = []
    for s, (stage, device) in enumerate(zip(plan.stages, devices, strict=True)):
        nodes, shards = [place[name] for name in stage.nodes], stage.shards
        parts = [
            costs.time_ms(v, device, shards) + share * (costs.prompt_ms(v, device, shards) or 0.0)
            for v in nodes
        ]
        for v, other in ((nodes[0] - 1, s - 1), (nodes[-1], s + 1)):
            if 0 <= other < len(devices):
                ends = device, devices[other], shards
                parts.append(costs.move_ms(v, *ends) + share * costs.move_ms(v, *ends, prompt=True))
        loads.append(math.fsum(parts))
    back = 0.0
    if len(devices) > 1:
        back = math.fsum(
            costs.move_ms(len(place) - 1, devices[a], devices[b], plan.stages[a].shards)
            for a, b in ((0, -1), (-1, 0))
        )
    slowest = max(load / stage.replicas for load, stage in zip(loads, plan.stages, strict=True))
    step = max(math.fsum([*loads, back]), plan.microbatches * slowest)
    slots = plan.batch * plan.microbatches
    yield from _compare(
        "together",
        ("tpot_ms", plan.tpot_ms, step, 0.0),
        ("requests_per_s", together.requests_per_s, 1e3 * slots / step / steps, 0.0),
    )


def _compare(place: str, *figures: tuple[str, float | None, float | None, float]) -> Iterator[str]:
    """Compare figures: name, as written, as computed here, and to what rounding is relative."""
    for name, written, own, scale in figures:
        slack = EQUAL * scale if scale < math.inf else 0.0
        same = written is own or (
            written is not None
            and own is not None
            and math.isclose(written, own, rel_tol=EQUAL, abs_tol=slack)
        )
        if not same:
            yield f"{place}: {name} is {written!r}, recomputed {own!r}"
