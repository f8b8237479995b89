"""What is asked of `placer serve`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Goal", "ServingRequest"]

Count = Annotated[int, Field(ge=1, le=2**31)]
Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Goal(StrEnum):
    """What is optimised."""

    THROUGHPUT = "throughput"
    """Most tokens per second, for a context."""
    TPOT = "tpot"
    """Least time per output token, for a context and a number of sequences."""
    CONCURRENCY = "concurrency"
    """Most sequences at once, for a context; of these plans, the most free room per layer."""
    CONTEXT = "context"
    """Longest context, for a number of sequences; of these plans, the most free room per layer."""


class ServingRequest(BaseModel):
    """A question.

    Parameters
    ----------
    objective
        What is optimised.
    context
        Tokens of a sequence whose keys and values have room.
    prompt
        Tokens of a prompt, for the time to the first token; the context by default.
    concurrency
        Sequences that are served at once; 1 by default where it is needed, else at most so many.
    max_tpot_ms, max_ttft_ms
        Limits on time per output token and time to the first token.
    shards, replicas
        Devices that may split every node of a stage, and groups that may take turns at one.
    scattered
        Whether any node may lie anywhere; else each accelerator has an interval of the layers, of which hosts
        may hold some nodes.
    weights, precision, cache
        Number formats of a language model's matrices, of the rest, and of keys and values, where given.
    reserve
        Share of each device's memory to keep free, where given.
    limits
        Whether to say of a proven answer what more of each resource would bring.
    gap
        Relative gap to stop at.
    time_limit
        Seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Goal = Goal.THROUGHPUT
    context: Count | None = None
    prompt: Count | None = None
    concurrency: Count | None = None
    max_tpot_ms: Milliseconds | None = None
    max_ttft_ms: Milliseconds | None = None
    shards: tuple[Count, ...] = (1,)
    replicas: tuple[Count, ...] = (1,)
    scattered: bool = False
    weights: str | None = None
    precision: str | None = None
    cache: str | None = None
    reserve: float | None = None
    limits: bool = False
    gap: Annotated[float, Field(ge=0, lt=1)] = 1e-6
    time_limit: Annotated[float, Field(gt=0)] = 60.0
