"""The document of an answer with prefill and decode on devices of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from placer.errors import InputError
from placer.formats.text import parse_json, read_text, validate
from placer.plans.result import Status
from placer.plans.status import Stop
from placer.serving.serving_plan import Document, ServingPlan
from placer.serving.serving_request import ServingRequest

__all__ = [
    "DisaggregatedResult",
    "GroupStage",
    "PrefillGroup",
    "Together",
    "is_disaggregated",
    "load_disaggregated",
]


class GroupStage(Document):
    """What a device holds that computes prompts, or a group of devices that act as one.

    Parameters
    ----------
    devices, device_class, shards, replicas, layers, nodes
        As of `ServedStage`.
    load_ms
        Time for a prompt, transfers between stages included.
    hand_over_ms
        Time in which its keys and values of a prompt leave it.
    weight_bytes, cache_bytes, room_bytes, free_bytes
        Of each device; the cache is that of two prompts, one computed and one handed over.
    """

    devices: tuple[str, ...]
    device_class: str
    shards: int
    replicas: int
    layers: tuple[int, int] | None
    nodes: tuple[str, ...]
    load_ms: float
    hand_over_ms: float
    weight_bytes: float
    cache_bytes: float
    room_bytes: float | None
    free_bytes: float | None


class PrefillGroup(Document):
    """The devices that compute prompts.

    Parameters
    ----------
    stages
        In the order of the layers.
    ttft_ms
        Time to the first token of a prompt with nothing before it.
    prompts_per_s
        Prompts per second.
    """

    stages: tuple[GroupStage, ...]
    ttft_ms: float
    prompts_per_s: float


class Together(Document):
    """The best plan of the same devices doing both: each step computes its share of the prompts, too.

    Parameters
    ----------
    requests_per_s, bound
        Of this plan, and what no such plan beats; None when absent.
    plan
        Its stages; steps and tokens per second with the prompts.  None where nothing fits.
    """

    requests_per_s: float | None
    bound: float | None
    plan: ServingPlan | None


class DisaggregatedResult(Document):
    """The answer, verified from the model alone.

    Parameters
    ----------
    prompt, output
        Tokens of a request's prompt and of its answer.
    status
        ``optimal`` (gap within the requested one), ``feasible``, ``infeasible`` or ``unknown``.
    value, bound
        Requests per second, and what nothing that was allowed can beat; None when absent.
    prefill, decode
        The two groups; devices in neither are ``decode.unused``.
    arrive_ms
        Time in which keys and values of a request reach each decode stage, per replica.
    decoded_per_s, handed_over_per_s
        Requests per second that the decode group could keep up with, and the links.
    together
        The same devices doing both.
    limited_by
        In words: which of the three is the least.
    message
        Why there is no plan.
    """

    format: Literal["placer-disaggregated-result"] = "placer-disaggregated-result"
    version: Literal[1] = 1
    model: str
    devices: str
    request: ServingRequest
    prompt: int
    output: int
    status: Status
    value: float | None
    bound: float | None
    gap: float | None = None
    prefill: PrefillGroup | None = None
    decode: ServingPlan | None = None
    arrive_ms: tuple[float, ...] = ()
    decoded_per_s: float | None = None
    handed_over_per_s: float | None = None
    together: Together | None = None
    limited_by: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    message: str = ""
    stop: Stop = Stop.FINISHED
    seconds: float = 0.0

    def to_json(self) -> str:
        """Return the document as JSON text."""
        return self.model_dump_json(indent=1) + "\n"


def is_disaggregated(document: Any) -> bool:
    """Whether a document says that it is such an answer."""
    return isinstance(document, dict) and document.get("format") == "placer-disaggregated-result"


def load_disaggregated(path: str | Path) -> DisaggregatedResult:
    """Read an answer.

    Raises
    ------
    InputError
        One line that names the file, the place and the rule broken.
    """
    try:
        return validate(DisaggregatedResult, parse_json(read_text(path), str(path)))
    except InputError as error:
        raise error.within(str(path)) from None
