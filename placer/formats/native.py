"""Reading and writing the project's own instance format (see `placer.formats.documents`)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from placer.errors import InputError
from placer.formats.documents import (
    FORMAT,
    VERSION,
    NativeClass,
    NativeCluster,
    NativeConstraints,
    NativeGroup,
    NativeInstance,
    NativeLink,
    NativeNode,
    NativeOrigin,
    NativePeerLink,
    NativeServer,
    NativeSource,
    NativeTraining,
)
from placer.formats.shard_documents import shard_documents, shards_of
from placer.instance.cluster import DeviceClass, Kind, Link, Server
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.instance.origin import Origin, Source
from placer.instance.training import DeviceGroup, Optimizer, Training

__all__ = [
    "check_version",
    "cluster_document",
    "from_instance",
    "is_native_instance",
    "node_documents",
    "to_instance",
    "to_json",
]


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
        weight_bytes=[v.weight_bytes for v in nodes],
        activation_bytes=[v.activation_bytes for v in nodes],
        training=_training(document.training),
        origin=[None if v.origin is None else _origin(v.origin) for v in nodes],
        source=None if document.source is None else _source(document.source),
        constraints=_constraints(document.constraints, index),
        order=[_one_or_all(names) for names in document.cluster.order],
        servers=[
            Server(server.name, tuple(server.devices), Link(**server.uplink.model_dump()))
            for server in document.cluster.servers
        ],
        shards=shards_of(nodes, types),
    )


def _training(document: NativeTraining) -> Training:
    return Training(
        Optimizer(document.optimizer),
        document.microbatches,
        document.samples,
        DeviceGroup(**document.group.model_dump()),
    )


def _constraints(document: NativeConstraints, index: dict[str, int]) -> Constraints:
    for i, group in enumerate(document.apart):
        for k, node in enumerate(group):
            if node not in index:
                raise InputError(f"there is no node {node!r}", place=f"constraints.apart[{i}][{k}]")
    return Constraints(
        apart=tuple(tuple(index[node] for node in group) for group in document.apart),
        max_devices=document.max_devices,
        use_devices=tuple(document.use_devices),
    )


def _origin(document: NativeOrigin) -> Origin:
    return Origin(
        op=document.op,
        module=document.module,
        operators=tuple(document.operators),
        parameters=tuple(document.parameters),
        flops=document.flops,
    )


def _source(document: NativeSource) -> Source:
    return Source(document.kind, document.name, document.sha256, tuple(document.notes))


def _source_document(source: Source) -> NativeSource:
    return NativeSource.model_validate({**asdict(source), "notes": list(source.notes)})


def _device_class(cls: NativeClass) -> DeviceClass:
    return DeviceClass(
        name=cls.name,
        type=cls.type,
        count=cls.count,
        kind=Kind(cls.kind),
        memory_limit_bytes=math.inf if cls.memory_limit_bytes is None else cls.memory_limit_bytes,
        link=Link(**cls.link.model_dump()),
        memory_reserve_bytes=tuple(cls.memory_reserve_bytes),
        memory_reserve_share=cls.memory_reserve_share,
        price_per_hour=cls.price_per_hour,
        peer_link=None if cls.peer_link is None else Link(**cls.peer_link.model_dump()),
    )


def node_documents(instance: Instance) -> list[NativeNode]:
    """Write down each node; what equals the default is left to it."""
    nodes = []
    time_ms, memory = instance.time_ms.tolist(), instance.memory_bytes.tolist()
    weight, activation = instance.weight_bytes.tolist(), instance.activation_bytes.tolist()
    direct, size = instance.transfer_ms.tolist(), instance.output_bytes.tolist()
    for v in range(instance.n):
        node: dict[str, Any] = {"id": instance.ids[v]}
        if instance.names[v] != instance.ids[v]:
            node["name"] = instance.names[v]
        times = zip(instance.types, time_ms[v], strict=True)
        node["time_ms"] = {t: time for t, time in times if math.isfinite(time)}
        for key, sizes in (
            ("memory_bytes", memory),
            ("weight_bytes", weight),
            ("activation_bytes", activation),
        ):
            if sizes[v]:
                node[key] = sizes[v]
        if not math.isnan(size[v]):
            node["output_bytes"] = size[v]
        elif direct[v]:
            node["transfer_ms"] = direct[v]
        if instance.backward[v]:
            node["backward"] = True
        if (shards := shard_documents(instance, v)) is not None:
            node["shards"] = shards
        node |= {
            key: value
            for key, value in (
                ("colocate", instance.colocate[v]),
                ("layer", instance.layer[v]),
                ("pin", list(instance.pin[v]) or None),
                ("forbid", list(instance.forbid[v]) or None),
                ("origin", _origin_document(instance.origin[v])),
            )
            if value is not None
        }
        nodes.append(NativeNode.model_validate(node))
    return nodes


def _origin_document(origin: Origin | None) -> dict[str, Any] | None:
    if origin is None:
        return None
    fields = {
        key: list(value) if isinstance(value, tuple) else value for key, value in asdict(origin).items()
    }
    return {key: value for key, value in fields.items() if value not in (None, [])}


def from_instance(instance: Instance) -> NativeInstance:
    """Translate an instance to a document; `to_instance` is its inverse."""
    return NativeInstance(
        format=FORMAT,
        version=VERSION,
        name=instance.name,
        nodes=node_documents(instance),
        edges=[[instance.ids[u], instance.ids[w]] for u, w in instance.edges.tolist()],
        cluster=cluster_document(instance.classes, instance.order, instance.servers),
        training=NativeTraining(
            optimizer=instance.training.optimizer.value,
            microbatches=instance.training.microbatches,
            samples=instance.training.samples,
            group=NativeGroup(**asdict(instance.training.group)),
        ),
        source=None if instance.source is None else _source_document(instance.source),
        constraints=NativeConstraints(
            apart=[[instance.ids[v] for v in group] for group in instance.constraints.apart],
            max_devices=instance.constraints.max_devices,
            use_devices=list(instance.constraints.use_devices),
        ),
    )


def cluster_document(
    classes: Sequence[DeviceClass],
    order: Sequence[str | Sequence[str]] = (),
    servers: Sequence[Server] = (),
) -> NativeCluster:
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
                memory_reserve_bytes=list(cls.memory_reserve_bytes)
                if isinstance(cls.memory_reserve_bytes, tuple)
                else [float(cls.memory_reserve_bytes)],
                memory_reserve_share=cls.memory_reserve_share,
                price_per_hour=None if cls.price_per_hour is None else float(cls.price_per_hour),
                link=NativeLink(**asdict(cls.link)),
                peer_link=None if cls.peer_link is None else _peer_document(cls.peer_link),
            )
            for cls in classes
        ],
        order=[[entry] if isinstance(entry, str) else list(entry) for entry in order],
        servers=[
            NativeServer(
                name=server.name, devices=list(server.devices), uplink=NativeLink(**asdict(server.uplink))
            )
            for server in servers
        ],
    )


def _peer_document(link: Link) -> NativePeerLink:
    return NativePeerLink.model_validate({k: v for k, v in asdict(link).items() if k != "transfer_scale"})


def to_json(instance: Instance) -> str:
    """Write an instance as JSON text, one node, edge or class on a line."""
    document = from_instance(instance)

    def rows(items: list[Any]) -> str:
        lines = ",\n".join("  " + json.dumps(_plain(item), ensure_ascii=False) for item in items)
        return f"[\n{lines}\n ]" if items else "[]"

    extra = {
        "training": document.training.model_dump(exclude_defaults=True),
        "constraints": document.constraints.model_dump(exclude_defaults=True),
        "source": document.source and document.source.model_dump(exclude_defaults=True),
    }
    head = "".join(
        f' "{key}": {json.dumps(value, ensure_ascii=False)},\n' for key, value in extra.items() if value
    )
    order = ""
    if document.cluster.order:
        order = f'"order": {json.dumps([_one_or_all(names) for names in document.cluster.order])}, '
    if document.cluster.servers:
        servers = [s.model_dump(exclude_defaults=True) for s in document.cluster.servers]
        order += f'"servers": {rows(servers)},\n  '
    nodes = rows([v.model_dump(exclude_unset=True) for v in document.nodes])
    classes = rows([c.model_dump(exclude_defaults=True) | {"kind": c.kind} for c in document.cluster.classes])
    return (
        f'{{\n "format": "{FORMAT}",\n "version": {VERSION},\n'
        f' "name": {json.dumps(document.name, ensure_ascii=False)},\n'
        f"{head}"
        f' "nodes": {nodes},\n "edges": {rows(document.edges)},\n'
        f' "cluster": {{{order}"classes": {classes}}}\n}}\n'
    )


def _one_or_all(names: list[str]) -> str | list[str]:
    """Return a single name by itself, several as they are."""
    return names[0] if len(names) == 1 else names


def _plain(value: Any) -> Any:
    """Write whole numbers without a decimal point, so that byte counts stay readable."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
