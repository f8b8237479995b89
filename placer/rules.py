"""The rules that every instance keeps; each function checks one and names the offender."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np

from placer.errors import InputError

if TYPE_CHECKING:
    from placer.instance import Instance

__all__ = ["MAX_BYTES", "MAX_COUNT", "MAX_TIME_MS", "check", "check_runnable"]

MAX_TIME_MS = 1e12
"""Largest accepted time (some 30 years): sums stay far from overflow."""
MAX_BYTES = 1e18
"""Largest accepted size (an exabyte)."""
MAX_COUNT = 100_000
"""Largest accepted number of devices in a class."""


def check(instance: Instance) -> None:
    """Check all rules.

    Raises
    ------
    InputError
        Naming the first rule broken and the place.
    """
    _check_nodes(instance)
    _check_cluster(instance)
    _check_numbers(instance)
    _check_transfers(instance)
    _check_edges(instance)
    _check_acyclic(instance)
    _check_names_used(instance)
    _check_supported(instance)


def _check_nodes(instance: Instance) -> None:
    if instance.n == 0:
        raise InputError("the graph is empty; it needs at least one node", place="nodes")
    for node, count in Counter(instance.ids).items():
        if count > 1:
            raise InputError(f"duplicate id: {count} nodes are called {node!r}", place="nodes")


def _check_cluster(instance: Instance) -> None:
    classes = instance.classes
    for cls in classes:
        if not 0 <= cls.count <= MAX_COUNT:
            raise InputError(f"count must be in 0..{MAX_COUNT}, got {cls.count}", place=f"class {cls.name!r}")
        if not cls.memory_limit_bytes >= 0:
            raise InputError(
                f"memory limit must be >= 0, got {cls.memory_limit_bytes}", place=f"class {cls.name!r}"
            )
    if not any(cls.count for cls in classes):
        raise InputError("there are no devices", place="cluster")
    for name, count in Counter(cls.name for cls in classes).items():
        if count > 1:
            raise InputError(f"duplicate class name {name!r}", place="cluster")
    for name, count in Counter(d.name for d in instance.devices).items():
        if count > 1:
            raise InputError(f"two devices would be called {name!r}; rename a class", place="cluster")


def _check_numbers(instance: Instance) -> None:
    for v, node in enumerate(instance.ids):
        for t, kind in enumerate(instance.types):
            time = instance.time_ms[v, t]
            if np.isnan(time) or time < 0 or (time > MAX_TIME_MS and not np.isposinf(time)):
                raise InputError(
                    f"processing time on {kind!r} must be in 0..{MAX_TIME_MS:g} ms, got {time}",
                    place=f"node {node!r}",
                )
        if not 0 <= instance.memory_bytes[v] <= MAX_BYTES:
            raise InputError(
                f"memory must be in 0..{MAX_BYTES:g} bytes, got {instance.memory_bytes[v]}",
                place=f"node {node!r}",
            )


def _check_transfers(instance: Instance) -> None:
    direct, size = instance.transfer_ms, instance.output_bytes
    for v, node in enumerate(instance.ids):
        place = f"node {node!r}"
        if not np.isnan(direct[v]) and not np.isnan(size[v]):
            raise InputError("two transfer times: give transfer_ms or output_bytes, not both", place=place)
        if np.isnan(direct[v]) and np.isnan(size[v]):
            raise InputError("no transfer time: neither transfer_ms nor output_bytes", place=place)
        if not np.isnan(direct[v]) and not 0 <= direct[v] <= MAX_TIME_MS:
            raise InputError(f"transfer time must be in 0..{MAX_TIME_MS:g} ms, got {direct[v]}", place=place)
        if not np.isnan(size[v]) and not 0 <= size[v] <= MAX_BYTES:
            raise InputError(f"output must be in 0..{MAX_BYTES:g} bytes, got {size[v]}", place=place)
        if size[v] > 0:
            for cls in instance.classes:
                if not cls.is_host and cls.link.bandwidth_bytes_per_s is None:
                    raise InputError(
                        f"output_bytes needs a link with a bandwidth, and class {cls.name!r} has none",
                        place=place,
                    )


def _check_edges(instance: Instance) -> None:
    seen: set[tuple[int, int]] = set()
    for u, w in instance.edges.tolist():
        if not (0 <= u < instance.n and 0 <= w < instance.n):
            raise InputError(f"edge ({u}, {w}) names a node that does not exist", place="edges")
        place = f"edge {instance.ids[u]!r} -> {instance.ids[w]!r}"
        if u == w:
            raise InputError("self-loop: a node cannot read its own output", place=place)
        if (u, w) in seen:
            raise InputError("the edge is listed twice", place=place)
        if instance.backward[u] and not instance.backward[w]:
            raise InputError("an edge leads from a backward node to a forward node", place=place)
        seen.add((u, w))


def _check_acyclic(instance: Instance) -> None:
    graph = nx.DiGraph(instance.edges.tolist())
    if nx.is_directed_acyclic_graph(graph):
        return
    cycle = [instance.ids[u] for u, _ in nx.find_cycle(graph)]
    shown = " -> ".join(repr(v) for v in [*cycle[:8], *(["..."] if len(cycle) > 8 else []), cycle[0]])
    raise InputError(f"the graph has a cycle: {shown}", place="edges")


def _check_names_used(instance: Instance) -> None:
    known = {cls.name for cls in instance.classes} | set(instance.device_index)
    for v, node in enumerate(instance.ids):
        for what, names in (("pin", instance.pin[v]), ("forbid", instance.forbid[v])):
            for name in names:
                if name not in known:
                    raise InputError(
                        f"{what} names {name!r}, which is no class and no device", place=f"node {node!r}"
                    )


def _check_supported(instance: Instance) -> None:
    """Every node has a class that can run it, every group a common one; pins are judged by the solver."""
    runs = np.isfinite(instance.class_time_ms)
    present = np.array([cls.count > 0 or cls.is_host for cls in instance.classes])
    for v in np.flatnonzero(~runs[:, present].any(axis=1)):
        raise InputError(
            "no device of the cluster can run it: it has a processing time for none of their types",
            place=f"node {instance.ids[v]!r}",
        )
    for group, members in instance.groups.items():
        if not runs[np.ix_(members, present)].all(axis=0).any():
            shown = ", ".join(repr(instance.ids[v]) for v in members[:6]) + (
                ", ..." if len(members) > 6 else ""
            )
            raise InputError(
                f"colocation cannot hold: no device type runs all of its nodes ({shown})",
                place=f"group {group!r}",
            )


def check_runnable(instance: Instance) -> None:
    """Check that each node has a *present* device type to run on (hosts of count 0 serve latency only).

    Raises
    ------
    InputError
        Naming the node.
    """
    runs = np.isfinite(instance.class_time_ms)[:, instance.device_class]
    for v in np.flatnonzero(~runs.any(axis=1)):
        raise InputError(
            "no device of the cluster can run it (only a host could, and there is none)",
            place=f"node {instance.ids[v]!r}",
        )
