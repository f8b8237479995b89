"""From a question to a checked answer: `serve`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

from placer.errors import UsageError, VerificationError
from placer.formats.files import load
from placer.formats.text import parse_json, read_text
from placer.imports.catalogue import Cluster, find_cluster
from placer.instance.instance import Instance
from placer.language.configuration import read_configuration
from placer.language.gguf import read_gguf
from placer.language.language_model import LanguageModel
from placer.plans.result import Status
from placer.plans.status import Stop
from placer.serving.served_instance import ServedInstance
from placer.serving.served_language_model import ServedLanguageModel
from placer.serving.serving_check import violations
from placer.serving.serving_front import front
from placer.serving.serving_layout import to_plan
from placer.serving.serving_limits import limits
from placer.serving.serving_model import ServingModel, Setting
from placer.serving.serving_plan import ServingPlan, ServingResult
from placer.serving.serving_questions import Answer, ask
from placer.serving.serving_request import Goal, ServingRequest
from placer.serving.token_time import Asked, Clock
from placer.units import size

__all__ = ["CONTEXT", "read_served", "serve", "served"]

FRONT_SECONDS = 5.0
"""Seconds for the table beside the answer."""
CONTEXT = 4096
"""Tokens of context unless told otherwise, or as many as the model was made for."""


def read_served(
    path: str | Path, *, precision: str | None = None, weights: str | None = None
) -> LanguageModel | Instance:
    """Read what is to be served: a configuration of Hugging Face, its folder, a GGUF file, or an instance.

    Raises
    ------
    InputError
        When it is none of these.
    UsageError
        When a number format is given for a file that says its own.
    """
    name = str(path)
    if name.endswith(".gguf"):
        if precision is not None or weights is not None:
            raise UsageError(
                "--precision and --weights do not apply to GGUF: the file says what its weights are"
            )
        return read_gguf(path)
    if not Path(path).is_dir():
        document = parse_json(read_text(path), name)
        if isinstance(document, dict) and ("nodes" in document or "cluster" in document):
            if precision is not None or weights is not None:
                raise UsageError("--precision and --weights do not apply to an instance: it has its costs")
            return load(path)
    return read_configuration(path, precision=precision, weights=weights)


def served(
    model: LanguageModel | Instance,
    devices: str | Cluster | None,
    request: ServingRequest,
    *,
    cache: str | None = None,
    reserve: float | None = None,
) -> tuple[ServingModel, ServingRequest]:
    """Prepare a model to be served, and fill in the request.

    Parameters
    ----------
    model
        A language model, or an instance with its own devices.
    devices
        The cluster, for a language model.
    request
        What is asked.
    cache
        Number format of keys and values.
    reserve
        Share of each device's memory to keep free; that of the cluster by default.

    Raises
    ------
    UsageError
        When they do not fit together.
    """
    _refuse(request)
    request = request.model_copy(update={"cache": cache, "reserve": reserve})
    if isinstance(model, Instance):
        for name, given in (
            ("--devices", devices),
            ("--cache", cache),
            ("--reserve", reserve),
            ("--context", request.context),
            ("--prompt", request.prompt),
            ("--max-ttft", request.max_ttft_ms),
        ):
            if given is not None:
                raise UsageError(f"{name} does not apply to an instance, which has its devices and its costs")
        if request.objective is Goal.CONTEXT:
            raise UsageError("the costs of an instance do not depend on a context (--objective context)")
        return ServedInstance(model, shards=request.shards, replicas=request.replicas), request
    if devices is None:
        raise UsageError("--devices is needed: the cluster on which the model is to be served")
    cluster = find_cluster(devices)
    if reserve is not None:
        if not 0 <= reserve < 1:
            raise UsageError(f"--reserve must be a share from 0 to below 1, got {reserve:g}")
        classes = tuple(dataclasses.replace(cls, memory_reserve_share=reserve) for cls in cluster.classes)
        cluster = cluster.model_copy(update={"classes": classes})
    if request.objective is not Goal.CONTEXT and request.context is None:
        context = min(CONTEXT, model.max_tokens or CONTEXT)
        request = request.model_copy(update={"context": context})
        _refuse(request)
    made = ServedLanguageModel(model, cluster, cache=cache, shards=request.shards, replicas=request.replicas)
    return made, request


def _refuse(request: ServingRequest) -> None:
    """Refuse options that contradict each other."""
    if request.objective is Goal.CONTEXT and request.context is not None:
        raise UsageError("--context is what --objective context looks for")
    if request.objective is Goal.CONCURRENCY and request.concurrency is not None:
        raise UsageError("--concurrency is what --objective concurrency looks for")
    if None not in (request.prompt, request.context) and (request.prompt or 0) > (request.context or 0):
        raise UsageError(
            f"--prompt {request.prompt} is longer than --context {request.context}, which it is part of"
        )
    if request.scattered and (max(request.shards) > 1 or max(request.replicas) > 1):
        raise UsageError("--scattered goes with one device per stage: no --shards, no --replicas")


def serve(
    model: ServingModel,
    request: ServingRequest,
    *,
    devices: str = "",
    watch: Callable[[float, Answer], None] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> ServingResult:
    """Answer a question.

    Parameters
    ----------
    model, request
        As `served` returns them.
    devices
        What the devices are called in the result.
    watch
        Told seconds and the best answer so far.
    interrupted
        Asked whether to stop at once.

    Raises
    ------
    VerificationError
        When the answer does not hold, computed again from the model: a defect of this software.
    """
    clock = Clock(request.time_limit, interrupted)
    found = ask(model, request, clock, lambda best: None if watch is None else watch(clock.spent, best))
    plan, given = None, dict[str, Any]()
    if found.setting is not None:
        costs = model.costs(found.setting)
        plan = to_plan(model, costs, found.setting, found.layout, request.concurrency)
        given["front"] = front(model, found.setting, _asked(request), Clock(FRONT_SECONDS, interrupted))
    status, gap = _status(request, found)
    stop = Stop.FINISHED if found.finished else Stop.INTERRUPTED if interrupted() else Stop.TIME_LIMIT
    if plan is None:
        given["message"] = _reason(model, request) if found.finished else f"no plan found: {stop}"
    result = ServingResult(
        model=model.name,
        devices=devices or ", ".join(f"{len(p.names)} {p.cls.name}" for p in model.pools),
        request=request,
        status=status,
        value=found.value,
        bound=found.bound if plan is not None or not found.finished else None,
        gap=gap,
        plan=plan,
        limited_by=(*found.limited_by, *(() if plan is None else _full(model, plan))),
        notes=model.notes,
        stop=stop,
        seconds=clock.spent,
        **given,
    )
    if broken := violations(model, result):
        raise VerificationError(f"the plan does not hold: {broken[0]}")
    if request.limits and result.value is not None and status is Status.OPTIMAL:
        more = limits(model, request, result.value, request.time_limit, interrupted)
        result = result.model_copy(update={"limits": more})
    return result


def _asked(request: ServingRequest) -> Asked:
    """Return the limits of a request."""
    return Asked(
        tpot_ms=request.max_tpot_ms or inf, ttft_ms=request.max_ttft_ms or inf, scattered=request.scattered
    )


def _status(request: ServingRequest, found: Answer) -> tuple[Status, float | None]:
    """Say what is held, and how far the bound is away."""
    if found.value is None:
        return (Status.INFEASIBLE if found.finished else Status.UNKNOWN), None
    if found.bound is None:
        return Status.FEASIBLE, None
    gap = abs(found.bound - found.value) / max(found.value, 1e-300)
    return (Status.OPTIMAL if gap <= request.gap * (1 + 1e-9) + 1e-12 else Status.FEASIBLE), gap


def _full(model: ServingModel, plan: ServingPlan) -> list[str]:
    """Say which device is the slowest, and which have no room for another node."""
    out = []
    slowest = max(plan.stages, key=lambda stage: stage.load_ms / stage.replicas)
    if plan.microbatches > 1 and plan.microbatches * slowest.load_ms / slowest.replicas >= plan.tpot_ms * (
        1 - 1e-9
    ):
        link = slowest.receive_ms + slowest.send_ms
        what = "bandwidth of its link" if link > slowest.compute_ms else "time of its stage"
        out.append(f"{slowest.devices[0]}: {what}, {slowest.load_ms:.4g} ms per microbatch")
    costs = model.costs(Setting(plan.batch, plan.microbatches, plan.context, plan.prompt))
    least = float((costs.weight_bytes + costs.cache_bytes).max())
    return out + [
        f"{stage.devices[0]}: memory, {size(max(stage.free_bytes, 0.0))} free"
        for stage in plan.stages
        if stage.free_bytes is not None and stage.free_bytes < least
    ]


def _reason(model: ServingModel, request: ServingRequest) -> str:
    """Say why there is no plan."""
    sequences = 1 if request.objective in (Goal.THROUGHPUT, Goal.CONCURRENCY) else request.concurrency or 1
    context = (
        request.context if request.context is not None or model.max_context is None else request.prompt or 1
    )
    batch, microbatches = (sequences, 1) if model.batches else (1, sequences)
    costs = model.costs(Setting(batch, microbatches, context, request.prompt or context))
    held = (costs.weight_bytes + costs.cache_bytes).min(axis=0).sum() - model.tied_bytes
    room = sum(pool.room_bytes * len(pool.names) for pool in model.pools)
    what = f"weights and cache of {sequences} sequence{'s' * (sequences > 1)}"
    if held > room:
        return f"{what} need {size(float(held))}, all devices have {size(room)}"
    limits = [
        f"{name} {value:g} ms"
        for name, value in (("--max-tpot", request.max_tpot_ms), ("--max-ttft", request.max_ttft_ms))
        if value is not None
    ]
    if limits:
        asked = request.model_copy(update={"max_tpot_ms": None, "max_ttft_ms": None, "objective": Goal.TPOT})
        asked = asked.model_copy(update={"concurrency": sequences, "context": context})
        best = ask(model, asked, Clock(request.time_limit))
        if best.setting is not None:
            plan = to_plan(model, model.costs(best.setting), best.setting, best.layout, asked.concurrency)
            first = "" if plan.ttft_ms is None else f", with {plan.ttft_ms:,.4g} ms to the first token"
            least = f"{plan.tpot_ms:.4g} ms per token is the least{first}"
            return f"no plan keeps {' and '.join(limits)}: without, {least}"
    return (
        f"{what} need {size(float(held))} of {size(room)}, but whole nodes do not fit the devices one by one"
    )
