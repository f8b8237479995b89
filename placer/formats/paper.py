"""The JSON formats of the paper's published code: instances and splits.

Top level of an instance: ``maxSizePerFPGA``, ``maxFPGAs``, ``maxCPUs``, ``nodes``, ``edges``; "FPGA" stands
for any accelerator.  A split lists ``fpgas`` and ``cpus``, each with its ``nodes``.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from placer.cluster import DeviceClass, Kind
from placer.errors import InputError
from placer.instance import Instance
from placer.rules import MAX_BYTES, MAX_COUNT, MAX_TIME_MS

__all__ = ["PaperInstance", "is_paper_instance", "to_instance"]

COST_TOLERANCE_MS = 1e-6
"""Transfer times of one producer that differ by less are one (the files are printed that way)."""

Time = Annotated[float, Field(ge=0, le=MAX_TIME_MS, allow_inf_nan=False)]
Size = Annotated[float, Field(ge=0, le=MAX_BYTES, allow_inf_nan=False)]
Flag = bool | Annotated[int, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PaperNode(_Strict):
    """A node of the paper's instance format."""

    id: int
    name: str = ""
    supportedOnFpga: Flag  # noqa: N815
    cpuLatency: Time  # noqa: N815
    fpgaLatency: Time  # noqa: N815
    isBackwardNode: Flag = False  # noqa: N815
    size: Size = 0.0
    colorClass: int | None = None  # noqa: N815
    layerId: int | str | None = None  # noqa: N815


class PaperEdge(_Strict):
    """An edge; ``cost`` is the transfer time of its producer, equal on all its edges."""

    sourceId: int  # noqa: N815
    destId: int  # noqa: N815
    cost: Time
    size: Size = 0.0


class PaperInstance(_Strict):
    """The paper's instance format."""

    maxSizePerFPGA: Size  # noqa: N815
    maxFPGAs: Annotated[int, Field(ge=0, le=MAX_COUNT)]  # noqa: N815
    maxCPUs: Annotated[int, Field(ge=0, le=MAX_COUNT)]  # noqa: N815
    nodes: list[PaperNode]
    edges: list[PaperEdge]


def is_paper_instance(document: Any) -> bool:
    """Tell the paper's format from the native one by content."""
    return isinstance(document, dict) and "format" not in document and "maxFPGAs" in document


def to_instance(document: PaperInstance, name: str) -> Instance:
    """Translate the paper's format: classes ``acc`` and ``cpu``, types ``acc`` and ``cpu``.

    Raises
    ------
    InputError
        When a producer has two transfer times, an edge dangles, or a rule of the model is broken.
    """
    ids = [str(v.id) for v in document.nodes]
    index: dict[int, int] = {}
    for i, node in enumerate(document.nodes):
        if node.id in index:
            raise InputError(f"duplicate id: {node.id} was used before", place=f"nodes[{i}].id")
        index[node.id] = i
    transfer = np.zeros(len(ids))
    known: dict[int, float] = {}
    edges: dict[tuple[int, int], None] = {}
    for i, edge in enumerate(document.edges):
        for field, end in (("sourceId", edge.sourceId), ("destId", edge.destId)):
            if end not in index:
                raise InputError(f"there is no node {end}", place=f"edges[{i}].{field}")
        u = index[edge.sourceId]
        if abs(known.setdefault(u, edge.cost) - edge.cost) > COST_TOLERANCE_MS:
            raise InputError(
                f"two transfer times for the output of node {edge.sourceId}: {known[u]} and {edge.cost}",
                place=f"edges[{i}].cost",
            )
        transfer[u] = known[u]
        edges[u, index[edge.destId]] = None
    return Instance.build(
        name=name,
        ids=ids,
        names=[v.name or str(v.id) for v in document.nodes],
        types=("acc", "cpu"),
        time_ms=[[v.fpgaLatency if v.supportedOnFpga else np.inf, v.cpuLatency] for v in document.nodes],
        memory_bytes=[v.size for v in document.nodes],
        transfer_ms=transfer,
        edges=list(edges),
        classes=(
            DeviceClass("acc", "acc", document.maxFPGAs, Kind.ACCELERATOR, document.maxSizePerFPGA),
            DeviceClass("cpu", "cpu", document.maxCPUs, Kind.HOST),
        ),
        backward=[bool(v.isBackwardNode) for v in document.nodes],
        colocate=[None if v.colorClass is None else str(v.colorClass) for v in document.nodes],
        layer=[None if v.layerId is None else str(v.layerId) for v in document.nodes],
    )
