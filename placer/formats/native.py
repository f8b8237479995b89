"""The project's own JSON format, version 1.

The models below are the format: their JSON Schema is exported by `schema`, unknown fields are errors, and
nothing is converted silently (``"3"`` is no number, ``true`` is no number).  The one exception is
convenience: ids and group labels may be written as integers and are read as strings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from placer.cluster import DeviceClass, Kind, Link
from placer.errors import InputError
from placer.instance import Instance
from placer.rules import MAX_BYTES, MAX_COUNT, MAX_TIME_MS

__all__ = [
    "FORMAT",
    "VERSION",
    "NativeClass",
    "NativeInstance",
    "NativeNode",
    "check_version",
    "cluster_document",
    "from_instance",
    "is_native_instance",
    "node_documents",
    "schema",
    "to_instance",
    "to_json",
]

FORMAT: Literal["placer-instance"] = "placer-instance"
VERSION: Literal[1] = 1


def _label(value: Any) -> Any:
    """Read an integer label as a string; everything else is left for validation to judge."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Label = Annotated[
    str,
    Field(min_length=1),
    BeforeValidator(_label),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer"}]}),
]
Time = Annotated[float, Field(ge=0, le=MAX_TIME_MS, allow_inf_nan=False)]
Size = Annotated[float, Field(ge=0, le=MAX_BYTES, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NativeNode(_Strict):
    """An operator or a layer."""

    id: Label = Field(description="Unique id.")
    name: str | None = Field(default=None, description="Readable name; the id when left out.")
    time_ms: dict[Name, Time] = Field(
        description="Processing time by device type, ms; it cannot run on a type that is left out."
    )
    memory_bytes: Size = Field(default=0.0, description="What it keeps resident on an accelerator.")
    transfer_ms: Time | None = Field(
        default=None,
        description="Time to move its output between an accelerator and host memory, one way, over a "
        "link of scale 1; not together with output_bytes; 0 when both are left out.",
    )
    output_bytes: Size | None = Field(
        default=None,
        description="Size of its output; the transfer time follows from bandwidth and latency of the link.",
    )
    backward: bool = Field(default=False, description="Whether it belongs to the backward pass.")
    colocate: Label | None = Field(default=None, description="Nodes with equal values go to one device.")
    layer: Label | None = Field(default=None, description="Group for coarsening; never a constraint.")
    pin: list[Name] = Field(
        default=[], description="Classes or devices: it goes to one of these (empty: to any)."
    )
    forbid: list[Name] = Field(default=[], description="Classes or devices that it must not go to.")


class NativeLink(_Strict):
    """The link between the devices of a class and host memory."""

    transfer_scale: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = Field(
        default=1.0, description="Factor on every transfer_ms."
    )
    bandwidth_bytes_per_s: Annotated[float, Field(gt=0, le=MAX_BYTES, allow_inf_nan=False)] | None = Field(
        default=None, description="For nodes with output_bytes: bytes per second."
    )
    latency_ms: Time = Field(default=0.0, description="For nodes with output_bytes: added to each transfer.")


class NativeClass(_Strict):
    """``count`` identical devices, called ``<name>0``, ``<name>1``, and so on."""

    name: Name = Field(description="Unique name; the devices are called <name>0, <name>1, ...")
    type: Name = Field(description="Which entry of a node's time_ms applies.")
    kind: Literal["accelerator", "host"] = Field(
        default="accelerator", description="Hosts have no memory limit and pay no transfers."
    )
    count: Annotated[int, Field(ge=0, le=MAX_COUNT)] = Field(description="How many there are.")
    memory_limit_bytes: Size | None = Field(
        default=None, description="Memory of one device; null for no limit."
    )
    link: NativeLink = Field(default=NativeLink(), description="The link of each device to host memory.")


class NativeCluster(_Strict):
    """The devices."""

    classes: list[NativeClass] = Field(description="Classes of interchangeable devices.")


class NativeInstance(_Strict):
    """A graph with costs and the cluster it is to be placed on."""

    format: Literal["placer-instance"] = Field(description="Marks the format.")
    version: Literal[1] = Field(description="Version of the format.")
    name: Name = Field(default="instance", description="What results call it.")
    nodes: list[NativeNode] = Field(description="Operators or layers.")
    edges: list[Annotated[list[Label], Field(min_length=2, max_length=2)]] = Field(
        description="Data dependencies as pairs [producer id, consumer id]; acyclic."
    )
    cluster: NativeCluster = Field(description="The devices.")


def is_native_instance(document: Any) -> bool:
    """Recognise the format, whatever its version; a document with a cluster has at least tried."""
    if not isinstance(document, dict):
        return False
    return document.get("format") == FORMAT or ("format" not in document and "cluster" in document)


def check_version(document: dict[str, Any]) -> None:
    """Refuse other versions before their fields are judged by this one's rules.

    Raises
    ------
    InputError
        When the version is there and is not `VERSION`.
    """
    version = document.get("version", VERSION)
    if type(version) is not int or version != VERSION:
        raise InputError(
            f"format version {version!r} is not supported; this release reads version {VERSION}",
            place="version",
        )


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the format."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **NativeInstance.model_json_schema(),
        "title": f"{FORMAT} version {VERSION}",
    }


def to_instance(document: NativeInstance) -> Instance:
    """Translate a document.

    Raises
    ------
    InputError
        When an id is used twice, an edge dangles, or a rule of the model is broken.
    """
    nodes = document.nodes
    index: dict[str, int] = {}
    for i, node in enumerate(nodes):
        if node.id in index:
            raise InputError(
                f"duplicate id: {node.id!r} is also the id of nodes[{index[node.id]}]", place=f"nodes[{i}].id"
            )
        index[node.id] = i
        if node.transfer_ms is not None and node.output_bytes is not None:
            raise InputError(
                f"two transfer times for node {node.id!r}: give transfer_ms or output_bytes, not both",
                place=f"nodes[{i}]",
            )
    edges = np.zeros((len(document.edges), 2), dtype=np.int64)
    for i, ends in enumerate(document.edges):
        for k, end in enumerate(ends):
            if end not in index:
                raise InputError(f"there is no node {end!r}", place=f"edges[{i}][{k}]")
            edges[i, k] = index[end]
    classes = tuple(_device_class(cls) for cls in document.cluster.classes)
    types = sorted({t for node in nodes for t in node.time_ms} | {cls.type for cls in classes})
    output = [math.nan if v.output_bytes is None else v.output_bytes for v in nodes]
    return Instance.build(
        name=document.name,
        ids=[v.id for v in nodes],
        names=[v.id if v.name is None else v.name for v in nodes],
        types=types,
        time_ms=np.array([[v.time_ms.get(t, math.inf) for t in types] for v in nodes]),
        memory_bytes=[v.memory_bytes for v in nodes],
        transfer_ms=[math.nan if v.output_bytes is not None else (v.transfer_ms or 0.0) for v in nodes],
        output_bytes=output,
        edges=edges,
        classes=classes,
        backward=[v.backward for v in nodes],
        colocate=[v.colocate for v in nodes],
        layer=[v.layer for v in nodes],
        pin=[v.pin for v in nodes],
        forbid=[v.forbid for v in nodes],
    )


def _device_class(cls: NativeClass) -> DeviceClass:
    return DeviceClass(
        name=cls.name,
        type=cls.type,
        count=cls.count,
        kind=Kind(cls.kind),
        memory_limit_bytes=math.inf if cls.memory_limit_bytes is None else cls.memory_limit_bytes,
        link=Link(**cls.link.model_dump()),
    )


def node_documents(instance: Instance) -> list[NativeNode]:
    """Write down each node; what equals the default is left to it."""
    nodes = []
    time_ms, memory = instance.time_ms.tolist(), instance.memory_bytes.tolist()
    direct, size = instance.transfer_ms.tolist(), instance.output_bytes.tolist()
    for v in range(instance.n):
        node: dict[str, Any] = {"id": instance.ids[v]}
        if instance.names[v] != instance.ids[v]:
            node["name"] = instance.names[v]
        times = zip(instance.types, time_ms[v], strict=True)
        node["time_ms"] = {t: time for t, time in times if math.isfinite(time)}
        if memory[v]:
            node["memory_bytes"] = memory[v]
        if not math.isnan(size[v]):
            node["output_bytes"] = size[v]
        elif direct[v]:
            node["transfer_ms"] = direct[v]
        if instance.backward[v]:
            node["backward"] = True
        node |= {
            key: value
            for key, value in (
                ("colocate", instance.colocate[v]),
                ("layer", instance.layer[v]),
                ("pin", list(instance.pin[v]) or None),
                ("forbid", list(instance.forbid[v]) or None),
            )
            if value is not None
        }
        nodes.append(NativeNode.model_validate(node))
    return nodes


def from_instance(instance: Instance) -> NativeInstance:
    """Translate an instance to a document; `to_instance` is its inverse."""
    return NativeInstance(
        format=FORMAT,
        version=VERSION,
        name=instance.name,
        nodes=node_documents(instance),
        edges=[[instance.ids[u], instance.ids[w]] for u, w in instance.edges.tolist()],
        cluster=cluster_document(instance.classes),
    )


def cluster_document(classes: Sequence[DeviceClass]) -> NativeCluster:
    """Translate device classes to a document."""
    return NativeCluster(
        classes=[
            NativeClass(
                name=cls.name,
                type=cls.type,
                kind=cls.kind.value,
                count=cls.count,
                memory_limit_bytes=None
                if math.isinf(cls.memory_limit_bytes)
                else float(cls.memory_limit_bytes),
                link=NativeLink(**asdict(cls.link)),
            )
            for cls in classes
        ]
    )


def to_json(instance: Instance) -> str:
    """Write an instance as JSON text, one node, edge or class on a line."""
    document = from_instance(instance)

    def rows(items: list[Any]) -> str:
        lines = ",\n".join("  " + json.dumps(_plain(item), ensure_ascii=False) for item in items)
        return f"[\n{lines}\n ]" if items else "[]"

    nodes = rows([v.model_dump(exclude_unset=True) for v in document.nodes])
    classes = rows([c.model_dump(exclude_defaults=True) | {"kind": c.kind} for c in document.cluster.classes])
    return (
        f'{{\n "format": "{FORMAT}",\n "version": {VERSION},\n'
        f' "name": {json.dumps(document.name, ensure_ascii=False)},\n'
        f' "nodes": {nodes},\n "edges": {rows(document.edges)},\n'
        f' "cluster": {{"classes": {classes}}}\n}}\n'
    )


def _plain(value: Any) -> Any:
    """Write whole numbers without a decimal point, so that byte counts stay readable."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
