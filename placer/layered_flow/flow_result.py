"""The result of a layered flow, as a document."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from placer.plans.result import Status
from placer.plans.status import Stop

__all__ = ["Flow", "FlowResult"]

Tokens = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Flow(_Document):
    """Tokens per second on one link."""

    source: str = Field(alias="from")
    target: str = Field(alias="to")
    tokens_per_s: Tokens


class FlowResult(_Document):
    """The outcome of a layered flow, checked by a maximum flow.

    Parameters
    ----------
    status
        ``optimal`` (gap within the requested one), ``feasible``, ``infeasible`` or ``unknown``.
    tokens_per_s, bound
        Tokens per second that pass all layers, and a proven upper bound; None when absent.
    gap
        ``(bound - tokens_per_s) / tokens_per_s``; None when either is absent.
    ranges
        First layer and layer after the last of each device that holds layers.
    flows
        Tokens per second on each link that is used.
    seconds
        Wall-clock seconds.
    stop
        Why the search stopped.
    message
        The reason in words where there is no plan.
    """

    format: Literal["placer-flow-result"] = "placer-flow-result"
    version: Literal[1] = 1
    status: Status
    tokens_per_s: Tokens | None
    bound: Tokens | None
    gap: float | None = None
    ranges: dict[str, tuple[int, int]] = {}
    flows: list[Flow] = []
    seconds: float
    stop: Stop = Stop.FINISHED
    message: str = ""

    def to_json(self) -> str:
        """Return the document as JSON text."""
        return self.model_dump_json(indent=1, by_alias=True) + "\n"
