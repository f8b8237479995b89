"""Serving questions from Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from placer.choices import none_of
from placer.errors import UsageError
from placer.imports.catalogue import Cluster
from placer.instance.instance import Instance
from placer.serving import disaggregated
from placer.serving import serve as serving
from placer.serving.disaggregated_result import DisaggregatedResult
from placer.serving.serving_model import ServingModel
from placer.serving.serving_plan import ServingResult
from placer.serving.serving_questions import Answer
from placer.serving.serving_request import ServingRequest

__all__ = ["serve", "serve_disaggregated"]


def serve(
    model: str | Path | Instance,
    devices: str | Cluster | None = None,
    *,
    precision: str | None = None,
    weights: str | None = None,
    cache: str | None = None,
    reserve: float | None = None,
    watch: Callable[[float, Answer], None] | None = None,
    **request: Any,
) -> ServingResult:
    """Find which device serves which layers, with what batch, and how good that is at best.

    Parameters
    ----------
    model
        A configuration of Hugging Face or its folder, a GGUF file, or an instance or its file.
    devices
        The cluster, for a language model: ``"rtx3090:2,rtx4090:1"``, or a file's (see `find_cluster`).
    precision, weights, cache
        Number formats of computation, weights, and keys and values.
    reserve
        Share of each device's memory to keep free; that of the cluster by default.
    watch
        Told seconds and the best answer so far.
    **request
        What is asked, by the names of `ServingRequest`: ``objective="tpot"``, ``context=8192``, ...

    Raises
    ------
    UsageError
        When they do not fit together.
    InputError
        When a file cannot be read.
    """
    given = {**request, "precision": precision, "weights": weights, "cache": cache, "reserve": reserve}
    made, asked = _asked(model, devices, given)
    return serving.serve(made, asked, devices=_named(devices), watch=watch)


def serve_disaggregated(
    model: str | Path,
    devices: str | Cluster,
    *,
    prompt: int,
    context: int,
    watch: Callable[[float, Answer], None] = lambda _, __: None,
    **request: Any,
) -> DisaggregatedResult:
    """Find the most requests per second where some devices compute prompts and others decode.

    Parameters
    ----------
    model, devices
        As of `serve`; no instance, no host.
    prompt, context
        Tokens of a prompt, and of a request with its answer.
    watch
        Told seconds and the best answer so far, in tokens per second.
    **request
        Limits and what is allowed, by the names of `ServingRequest`: ``max_ttft_ms=500``, ``weights="fp8"``,
        ``shards=(1, 2)``, ...

    Raises
    ------
    UsageError
        When they do not fit together.
    InputError
        When a file cannot be read.
    """
    made, asked = _asked(model, devices, {**request, "prompt": prompt, "context": context})
    return disaggregated.serve_disaggregated(made, asked, devices=_named(devices), watch=watch)


def _asked(
    model: str | Path | Instance, devices: str | Cluster | None, given: dict[str, Any]
) -> tuple[ServingModel, ServingRequest]:
    """Read a model, and validate what is asked."""
    try:
        asked = ServingRequest.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise UsageError(none_of("option", name, ServingRequest.model_fields)) from None
        what = first["msg"].replace("Input should be", "must be")
        raise UsageError(f"option {name}: {what}, got {first['input']!r}") from None
    read = (
        model
        if isinstance(model, Instance)
        else serving.read_served(model, precision=asked.precision, weights=asked.weights)
    )
    return serving.served(read, devices, asked, cache=asked.cache, reserve=asked.reserve)


def _named(devices: str | Cluster | None) -> str:
    return devices if isinstance(devices, str) else ""
