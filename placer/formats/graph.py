"""networkx on the border: graphs with the native format's node fields as attributes.

A node of the graph carries the fields of a native node except the id (``time_ms`` as a dictionary by
device type, ``memory_bytes``, ``transfer_ms`` or ``output_bytes``, ``backward``, ``colocate``, ``layer``,
``pin``, ``forbid``, ``name``); edges carry nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from placer.errors import InputError
from placer.formats import documents, native
from placer.formats.text import validate
from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance

__all__ = ["from_networkx", "to_networkx"]


def from_networkx(
    graph: nx.DiGraph, classes: Sequence[DeviceClass], name: str | None = None, order: Sequence[str] = ()
) -> Instance:
    """Read a graph.

    Parameters
    ----------
    graph
        Directed, acyclic; nodes are strings or integers, with the attributes named above.
    classes
        The device classes to place it on.
    name
        Name of the instance; ``graph.name`` or ``"instance"`` by default.
    order
        Classes or devices in the order in which a contiguous pipeline must use them.

    Raises
    ------
    InputError
        When the graph is not directed, an attribute is missing, unknown or wrong, or a rule is broken.
    """
    if not graph.is_directed() or graph.is_multigraph():
        raise InputError("expected a networkx.DiGraph: directed, without parallel edges")
    nodes = []
    for v, attributes in graph.nodes(data=True):
        if "id" in attributes:
            raise InputError(
                "the attribute 'id' is not allowed; the node itself is the id", place=f"node {v!r}"
            )
        try:
            nodes.append(validate(documents.NativeNode, {"id": v, **attributes}))
        except InputError as error:
            raise InputError(error.rule, place=f"node {v!r}" + f".{error.place}".rstrip(".")) from None
    document = documents.NativeInstance(
        format=documents.FORMAT,
        version=documents.VERSION,
        name=name or graph.name or "instance",
        nodes=nodes,
        edges=[[str(u), str(w)] for u, w in graph.edges],
        cluster=native.cluster_document(classes, order),
    )
    return native.to_instance(document)


def to_networkx(instance: Instance) -> nx.DiGraph:
    """Return the graph of an instance; what equals the default is left out of the attributes."""
    graph = nx.DiGraph(name=instance.name)
    for node in native.node_documents(instance):
        attributes = node.model_dump(exclude_unset=True)
        graph.add_node(attributes.pop("id"), **attributes)
    graph.add_edges_from((instance.ids[u], instance.ids[w]) for u, w in instance.edges.tolist())
    return graph
