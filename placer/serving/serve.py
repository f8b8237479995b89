"""From a question to a checked answer: `serve`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from placer.errors import UsageError
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
from placer.serving.serving_front import front
from placer.serving.serving_layout import to_plan
from placer.serving.serving_limits import limits
from placer.serving.serving_model import ServingModel, Setting
from placer.serving.serving_plan import ServingResult
from placer.serving.serving_questions import Answer, ask
from placer.serving.serving_request import Goal, ServingRequest
from placer.serving.token_time import Clock
from placer.serving.written_answer import asked_of, by_intervals, written
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
    stop = Stop.FINISHED if found.finished else Stop.INTERRUPTED if interrupted() else Stop.TIME_LIMIT
    given: dict[str, Any] = {"stop": stop, "seconds": clock.spent}
    if found.setting is None:
        given["message"] = _reason(model, request) if found.finished else f"no plan found: {stop}"
    else:
        given["front"] = front(model, found.setting, asked_of(request), Clock(FRONT_SECONDS, interrupted))
    result = written(model, request, found, devices=devices, **given)
    if result.plan is not None and not interrupted():
        said = (*result.limited_by, *by_intervals(model, request, result.plan))
        result = result.model_copy(update={"limited_by": said})
    if request.limits and result.value is not None and result.status is Status.OPTIMAL:
        more = limits(model, request, result.value, request.time_limit, interrupted)
        result = result.model_copy(update={"limits": more})
    return result


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
