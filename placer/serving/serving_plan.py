"""How a language model is served: the plan, and the document of an answer."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from placer.plans.result import Status
from placer.plans.status import Stop
from placer.serving.serving_request import ServingRequest

__all__ = [
    "Document",
    "FrontPoint",
    "Limit",
    "Resource",
    "ServedStage",
    "ServingPlan",
    "ServingResult",
    "Visit",
]


class Document(BaseModel):
    """Part of a document that nothing changes; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServedStage(Document):
    """What a device holds, or a group of devices that act as one; times per microbatch, one token each.

    Parameters
    ----------
    devices
        Their names; ``shards`` of them split every node, and ``replicas`` of such groups take turns.
    device_class
        Name of their class.
    host
        Whether it is host memory, or another tier beside the accelerators, that computes where data lie.
    layers
        First numbered layer and layer after the last that it holds some of; None for none.
    nodes
        What it holds, in the order of the model.
    load_ms, compute_ms, receive_ms, send_ms
        Time for a microbatch, all its visits together, and what it consists of.
    prefill_ms
        Time for one prompt, transfers included; None when the model does not say.
    weight_bytes, cache_bytes
        Of each device: weights, and keys and values of all sequences that are served.
    room_bytes, free_bytes
        Of each device: what a plan may use, and what is left; None without a limit.
    reserve_bytes
        Of each device: what is kept from plans, beyond the room; None without a limit, or in older answers.
    """

    devices: tuple[str, ...]
    device_class: str
    host: bool = False
    shards: int = 1
    replicas: int = 1
    layers: tuple[int, int] | None
    nodes: tuple[str, ...]
    load_ms: float
    compute_ms: float
    receive_ms: float
    send_ms: float
    prefill_ms: float | None
    weight_bytes: float
    cache_bytes: float
    room_bytes: float | None
    free_bytes: float | None
    reserve_bytes: float | None = None


class Visit(Document):
    """A stretch of nodes that run on one stage without a break; a token makes all visits in turn.

    Parameters
    ----------
    stage
        Index into the plan's stages.
    nodes
        First node and node after the last, by their place in the model.
    receive_ms, compute_ms, send_ms
        Time of a microbatch, paid by the stage.
    prefill_ms
        Time of a prompt, transfers included; None when the model does not say.
    """

    stage: int
    nodes: tuple[int, int]
    receive_ms: float
    compute_ms: float
    send_ms: float
    prefill_ms: float | None


class ServingPlan(Document):
    """Where every node lies, and what that gives.

    Parameters
    ----------
    batch, microbatches
        Sequences of a microbatch, and microbatches on their way at once.
    concurrency
        Sequences that are served at once: their product, or as many of them as were asked for.
    context, prompt
        Tokens of a sequence whose keys and values have room, and of a prompt; None when the model does not
        say what they cost.
    stages
        In the order of their first nodes; then hosts.
    visits
        The way of a token.
    return_ms
        Time in which a new token comes back to the first stage.
    tpot_ms
        Time per output token of a sequence: ``max(sum of loads + return, microbatches * largest load)``, the
        load of replicas divided by their number in the latter.
    tokens_per_s
        Tokens per second of all sequences: ``batch * microbatches / tpot``.
    ttft_ms
        Time to the first token of a prompt with nothing before it; None when the model does not say.
    room_per_layer_bytes
        Smallest free room per layer, by device; None without a limit.
    unused
        Devices that hold nothing.
    """

    batch: int
    microbatches: int
    concurrency: int
    context: int | None
    prompt: int | None
    stages: tuple[ServedStage, ...]
    visits: tuple[Visit, ...]
    return_ms: float
    tpot_ms: float
    tokens_per_s: float
    ttft_ms: float | None
    room_per_layer_bytes: float | None
    unused: tuple[str, ...]


class FrontPoint(Document):
    """A plan that no other beats in both time per token and tokens per second."""

    tpot_ms: float
    tokens_per_s: float
    ttft_ms: float | None
    batch: int
    microbatches: int
    concurrency: int
    stages: tuple[tuple[str, int], ...]
    """Class of each stage, and how many nodes it holds."""

    @classmethod
    def of(cls, plan: ServingPlan) -> FrontPoint:
        """Return the figures of a plan."""
        return cls(
            tpot_ms=plan.tpot_ms,
            tokens_per_s=plan.tokens_per_s,
            ttft_ms=plan.ttft_ms,
            batch=plan.batch,
            microbatches=plan.microbatches,
            concurrency=plan.concurrency,
            stages=tuple((stage.device_class, len(stage.nodes)) for stage in plan.stages),
        )


class Resource(StrEnum):
    """What there can be more of."""

    MEMORY = "memory"
    LINK = "link"
    TIME = "time"
    DEVICE = "device"


class Limit(Document):
    """What one more unit of something would bring.

    Parameters
    ----------
    resource
        ``memory`` of a class of devices, ``link``: bandwidth of its links, ``time``: its speed, or
        ``device``: one device more.
    device_class
        The class; several where they are of one type, whose speed changes.
    more
        How much more of it, in words.
    value
        What the objective then is; None where nothing is feasible still.
    gain
        By how much that is better, in the objective's unit.
    binding
        Whether more of it brings anything.
    """

    resource: Resource
    device_class: str
    more: str
    value: float | None
    gain: float
    binding: bool


class ServingResult(Document):
    """The answer, verified from the model alone.

    Parameters
    ----------
    status
        ``optimal`` (gap within the requested one), ``feasible``, ``infeasible`` or ``unknown``.
    value, bound
        Of the objective (tokens per second, milliseconds, sequences, or tokens of context), and what nothing
        that was allowed can beat; None when absent.
    gap
        Their difference as a share of the value.
    plan
        The best plan.
    front
        Time per token against tokens per second, by increasing time.
    limits
        What more of each resource would bring.
    limited_by
        In words: what keeps the objective from being better.
    notes
        What the figures stand for.
    message
        Why there is no plan.
    """

    format: Literal["placer-serving-result"] = "placer-serving-result"
    version: Literal[1] = 1
    model: str
    devices: str
    request: ServingRequest
    status: Status
    value: float | None
    bound: float | None
    gap: float | None = None
    plan: ServingPlan | None = None
    front: tuple[FrontPoint, ...] = ()
    limits: tuple[Limit, ...] = ()
    limited_by: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    message: str = ""
    stop: Stop = Stop.FINISHED
    seconds: float = 0.0

    def to_json(self) -> str:
        """Return the document as JSON text."""
        return self.model_dump_json(indent=1) + "\n"
