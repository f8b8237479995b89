"""The result document: what a solve found, complete enough to be checked from the file alone."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from placer.notebook import Shown
from placer.options import Options
from placer.plans.status import Stop
from placer.tolerances import EQUAL

__all__ = [
    "DeviceReport",
    "InstanceReference",
    "Piece",
    "Progress",
    "Result",
    "Status",
    "VirtualStage",
    "gap_of",
    "status_of",
]


class Status(StrEnum):
    """What is held at the end; why the solve stopped is `Stop`."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InstanceReference(_Document):
    """Which instance a result is about, and where its file was, relative to the result's."""

    name: str
    sha256: str
    file: str | None = None


class Piece(_Document):
    """A contiguous piece of a latency plan, with its times in ms."""

    device: str
    order: int
    nodes: list[str]
    start_ms: float
    finish_ms: float


class VirtualStage(_Document):
    """A virtual stage of a training pipeline: its device, and its work per microbatch in ms."""

    device: str
    nodes: list[str]
    forward_ms: float
    backward_ms: float


class DeviceReport(_Document):
    """What one device does per sample, recomputed from the instance.

    ``memory_bytes`` is the peak, ``resident_bytes + activation_bytes``; the latter is what ``in_flight``
    microbatches keep (with virtual stages, each in one of them).  ``memory_limit_bytes`` is what a plan may
    use (without the reserve).
    """

    name: str
    load_ms: float
    compute_ms: float
    receive_ms: float
    send_ms: float
    sync_ms: float = 0.0
    memory_bytes: float
    memory_limit_bytes: float | None
    resident_bytes: float
    activation_bytes: float
    in_flight: int
    nodes: list[str]


class Progress(_Document):
    """Best objective and bound (ms) after some seconds."""

    seconds: float
    incumbent: float | None
    bound: float | None


class Result(Shown, _Document):
    """The outcome of a solve, verified.

    Parameters
    ----------
    status
        ``optimal`` (gap within the requested one), ``feasible``, ``infeasible`` or ``unknown``.
    stop
        Why the solve stopped.
    objective, bound
        Objective of the plan and proven lower bound, ms; None when absent.
    gap
        ``(objective - bound) / objective``; None when either is absent.
    method, formulation
        What found it; the formulation is None for methods that solve no program.
    options
        The options as given, with defaults filled in.
    runtime_s
        Wall-clock seconds.
    instance
        Name and content hash of the instance.
    versions
        Versions of this software and of what it ran on.
    assignment
        Device name of every node id; None without a plan.
    pieces
        Latency plans only.
    stages
        Contiguous throughput plans only: the devices that hold nodes, in pipeline order.
    recompute
        Devices that drop their activations and compute them again in the backward pass.
    recomputed_nodes
        Single nodes that do, where they choose by themselves.
    replicas
        Groups of devices that run one stage together; the assignment names the first of each.
    shards
        Over how many devices a replica splits its nodes, by the first device of a group; 1 where left out.
    virtual_stages
        Plans with virtual stages only: each of them, in pipeline order.
    devices
        One report per device; empty without a plan.
    message
        The reason in words where there is no plan, or a remark.
    hints
        What binds the plan and what would help, checked; the message begins with it, or ends with it where
        there is no plan.
    stats, progress
        Figures of the method, and how objective and bound converged.
    digest
        Hash of all other fields, set when the document is written, so that `placer.check` notices
        a document that was altered.
    """

    format: Literal["placer-result"] = "placer-result"
    version: Literal[1] = 1
    status: Status
    stop: Stop
    objective: float | None
    bound: float | None
    gap: float | None
    method: str
    formulation: str | None
    options: Options
    runtime_s: float
    instance: InstanceReference
    versions: dict[str, str]
    assignment: dict[str, str] | None
    pieces: list[Piece] | None
    stages: list[str] | None = None
    recompute: list[str] = []
    recomputed_nodes: list[str] = []
    replicas: list[list[str]] = []
    shards: dict[str, int] = {}
    virtual_stages: list[VirtualStage] | None = None
    devices: list[DeviceReport]
    message: str
    hints: list[str] = []
    stats: dict[str, float | int | str] = {}
    progress: list[Progress] = []
    digest: str = ""

    def computed_digest(self) -> str:
        """SHA-256 over the fields but the digest itself and the place of the instance, which may move.

        Fields at their defaults are left out, so that documents keep their digest when later releases know
        more fields.
        """
        hidden: dict[str, Any] = {"digest": True, "instance": {"file"}}
        content = self.model_dump(mode="json", exclude=hidden, exclude_defaults=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()

    def sealed(self) -> Result:
        """Return the document with its digest."""
        return self.model_copy(update={"digest": self.computed_digest()})

    def to_json(self) -> str:
        """Return the result document as JSON text."""
        return self.model_dump_json(indent=1) + "\n"

    def summary(self) -> dict[str, Any]:
        """Return the headline: status, objective, bound, gap, method."""
        return {key: getattr(self, key) for key in ("status", "objective", "bound", "gap", "method")}


def gap_of(objective: float | None, bound: float | None) -> float | None:
    """Relative gap ``(objective - bound) / objective``, 0 for a zero objective, None when unknown."""
    if objective is None or bound is None:
        return None
    return (objective - bound) / objective if objective > 0 else 0.0


def status_of(objective: float | None, gap: float | None, stop: Stop, wanted_gap: float) -> Status:
    """Judge what is held: optimal needs a gap, computed by us, within the one asked for."""
    if objective is None:
        return Status.INFEASIBLE if stop is Stop.INFEASIBLE else Status.UNKNOWN
    return Status.OPTIMAL if gap is not None and gap <= max(wanted_gap, EQUAL) else Status.FEASIBLE
