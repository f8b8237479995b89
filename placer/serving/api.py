"""Serving questions from Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from placer.errors import UsageError
from placer.imports.catalogue import Cluster
from placer.instance.instance import Instance
from placer.serving import serve as serving
from placer.serving.serving_plan import ServingResult
from placer.serving.serving_questions import Answer
from placer.serving.serving_request import ServingRequest

__all__ = ["serve"]


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
    try:
        asked = ServingRequest.model_validate({**request, "precision": precision, "weights": weights})
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"serve: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    read = (
        model
        if isinstance(model, Instance)
        else serving.read_served(model, precision=precision, weights=weights)
    )
    made, asked = serving.served(read, devices, asked, cache=cache, reserve=reserve)
    named = devices if isinstance(devices, str) else ""
    return serving.serve(made, asked, devices=named, watch=watch)
