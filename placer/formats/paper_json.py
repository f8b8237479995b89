"""The JSON formats of the paper's published code: instances and splits.

Top level of an instance: ``maxSizePerFPGA``, ``maxFPGAs``, ``maxCPUs``, ``nodes``, ``edges``; "FPGA" stands
for any accelerator.  A split lists ``fpgas`` and ``cpus``, each with its ``nodes``; backward nodes may be
left out of a split, they follow their colocated forward nodes.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from placer.arrays import IntArray
from placer.errors import InputError
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.plans.plan import Plan
from placer.units import MAX_BYTES, MAX_COUNT, MAX_TIME_MS

__all__ = [
    "PaperInstance",
    "PaperSplit",
    "is_paper_instance",
    "is_paper_split",
    "to_instance",
    "to_plan",
    "to_split",
]

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


class PaperPart(_Strict):
    """What one device of a split holds; a load of -1 means that it was not computed."""

    load: Annotated[float, Field(allow_inf_nan=False)] = -1
    nodes: list[int | str]


class PaperSplit(_Strict):
    """The paper's result format."""

    fpgas: list[PaperPart]
    cpus: list[PaperPart] = []
    maxLoad: Annotated[float, Field(allow_inf_nan=False)] | None = None  # noqa: N815
    totalLatency: Annotated[float, Field(allow_inf_nan=False)] | None = None  # noqa: N815


def is_paper_instance(document: Any) -> bool:
    """Tell the paper's format from the native one by content."""
    return (
        isinstance(document, dict)
        and "format" not in document
        and not document.keys().isdisjoint({"maxSizePerFPGA", "maxFPGAs", "maxCPUs"})
    )


def is_paper_split(document: Any) -> bool:
    """Recognise the paper's result format by content."""
    return isinstance(document, dict) and "format" not in document and "fpgas" in document


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


def to_plan(split: PaperSplit, instance: Instance, *, pieces: bool = False) -> Plan:
    """Translate a split: its i-th accelerator or host is the instance's i-th.

    Parameters
    ----------
    split
        The document.
    instance
        The instance that was split.
    pieces
        Whether to make a latency plan, each accelerator entry being one piece.

    Raises
    ------
    InputError
        When a node is unknown, listed twice or without a device, or there are too many entries.
    """
    device = np.full(instance.n, -1, dtype=np.int64)
    for key, parts, is_host in (("fpgas", split.fpgas, False), ("cpus", split.cpus, True)):
        members = [d for d in instance.devices if d.is_host == is_host]
        for i, part in enumerate(parts):
            if part.nodes and i >= len(members):
                raise InputError(
                    f"the instance has only {len(members)} of these devices", place=f"{key}[{i}]"
                )
            for k, node in enumerate(part.nodes):
                place = f"{key}[{i}].nodes[{k}]"
                v = instance.index.get(str(node))
                if v is None:
                    raise InputError(f"there is no node {node!r}", place=place)
                if device[v] >= 0:
                    raise InputError(f"node {node!r} is listed twice", place=place)
                device[v] = members[i].index
    _follow_partners(instance, device)
    if (device < 0).any():
        missing = instance.ids[int(np.argmax(device < 0))]
        raise InputError(f"node {missing!r} is on no device ({(device < 0).sum()} such nodes)")
    if not pieces:
        return Plan(device)
    on_host = np.array([d.is_host for d in instance.devices])[device]
    return Plan(device, np.where(on_host, -1, 0))


def _follow_partners(instance: Instance, device: IntArray) -> None:
    """Send backward nodes that are not listed where the forward nodes of their group are."""
    for group, nodes in instance.groups.items():
        absent = nodes[(device[nodes] < 0) & instance.backward[nodes]]
        forward = nodes[(device[nodes] >= 0) & ~instance.backward[nodes]]
        places = sorted({instance.devices[d].name for d in device[forward]})
        if len(absent) and len(places) > 1:
            raise InputError(
                f"node {instance.ids[absent[0]]!r} should follow its forward partners, "
                f"and they are on {', '.join(places)}",
                place=f"group {group!r}",
            )
        if len(absent) and places:
            device[absent] = device[forward[0]]


def to_split(instance: Instance, plan: Plan, load_ms: list[float], objective_ms: float) -> PaperSplit:
    """Translate a plan to the paper's result format; ids that are integers are written so.

    Parameters
    ----------
    instance, plan
        The plan and what it is a plan for.
    load_ms
        Load of each device, length D.
    objective_ms
        Written as ``maxLoad``, or as ``totalLatency`` when the plan has pieces.
    """
    parts: dict[bool, list[PaperPart]] = {False: [], True: []}
    for d in instance.devices:
        on = plan.device == d.index
        orders = sorted(set(plan.piece[on].tolist())) or [0] if plan.piece is not None else [0]
        for order in orders:
            here = on if plan.piece is None else on & (plan.piece == order)
            ids = [instance.ids[v] for v in np.flatnonzero(here)]
            nodes: list[int | str] = [int(v) if v.isdecimal() and str(int(v)) == v else v for v in ids]
            parts[d.is_host].append(PaperPart(load=load_ms[d.index], nodes=nodes))
    key = "maxLoad" if plan.piece is None else "totalLatency"
    return PaperSplit(fpgas=parts[False], cpus=parts[True], **{key: objective_ms})
