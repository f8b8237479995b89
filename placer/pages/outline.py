"""How a placed graph folds up: nodes into layers, layers into the pieces of each device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import networkx as nx
import numpy as np

from placer.arrays import IntArray
from placer.instance.instance import Instance
from placer.instance.order import topological_position
from placer.instance.short_names import short_names
from placer.plans.plan import Plan

__all__ = ["Group", "Outline", "outline"]

RUN = 24
"""Nodes of a piece that are folded up together where no layers are given."""


@dataclass(frozen=True)
class Group:
    """Some nodes of one device; ``parent`` is the index of the group it belongs to, or -1.

    ``short`` is the label with names of nodes and layers as short as in tables.
    """

    label: str
    short: str
    device: int
    parent: int


@dataclass(frozen=True)
class Outline:
    """The groups, parents first, and the innermost group of each node, ``(n,)``."""

    groups: tuple[Group, ...]
    leaf: IntArray


def outline(instance: Instance, plan: Plan) -> Outline:
    """Fold a placed graph.

    A piece is what a device runs between two waits: the pieces of a latency plan; all that a device holds
    of one direction where data flows through the devices once; else its nodes by round, as data may come
    back to a device.  Inside a piece nodes fold by their layer, or by runs in topological order.

    Parameters
    ----------
    instance
        The instance that the plan is for.
    plan
        A valid plan.

    Returns
    -------
    Outline
    """
    position = topological_position(instance)
    groups: list[Group] = []
    leaf = np.full(instance.n, -1, dtype=np.int64)
    for label, nodes in _pieces(instance, plan):
        piece = len(groups)
        device = int(plan.device[nodes[0]])
        groups.append(Group(label, label, device, -1))
        leaf[nodes] = piece
        inner = _layers(instance, sorted(nodes, key=lambda v: position[v]))
        if 1 < len(inner) < len(nodes):
            for name, short, members in inner:
                if len(members) > 1:
                    leaf[members] = len(groups)
                    groups.append(Group(name, short, device, piece))
    return Outline(tuple(groups), leaf)


def _pieces(instance: Instance, plan: Plan) -> list[tuple[str, list[int]]]:
    """Pieces with their labels, ordered by device."""
    device = plan.device.tolist()
    names = [d.name for d in instance.devices]
    word = (" forward", " backward") if instance.is_training else ("", "")
    backward = instance.backward.tolist()
    if plan.piece is not None:
        piece = plan.piece.tolist()
        return _split(
            instance.n,
            lambda v: (device[v], piece[v]),
            lambda v: names[device[v]] + (f" piece {piece[v] + 1}" if piece[v] >= 0 else ""),
        )
    pairs = {
        ((device[u], backward[u]), (device[w], backward[w]))
        for u, w in instance.edges.tolist()
        if (device[u], backward[u]) != (device[w], backward[w])
    }
    if nx.is_directed_acyclic_graph(nx.DiGraph(list(pairs))):
        return _split(
            instance.n,
            lambda v: (device[v], backward[v]),
            lambda v: names[device[v]] + word[backward[v]],
        )
    stage = _rounds(instance, plan)
    return _split(
        instance.n,
        lambda v: (device[v], backward[v], stage[v]),
        lambda v: f"{names[device[v]]}{word[backward[v]]} stage {stage[v] + 1}",
    )


def _rounds(instance: Instance, plan: Plan) -> list[int]:
    """Stage of each node on its device, where data comes back to devices, length n.

    Nodes are told apart by the largest number of times that a path to them changes device or direction.
    An edge never lowers this number, and raises it between devices: the groups form no cycle.
    """
    crossings = np.zeros(instance.n, dtype=np.int64)
    for v in np.argsort(topological_position(instance)):
        for u in instance.predecessors[v]:
            step = int(plan.device[u] != plan.device[v] or instance.backward[u] != instance.backward[v])
            crossings[v] = max(crossings[v], crossings[u] + step)
    # Number the stages of each device and direction from 0 without holes.
    out = [0] * instance.n
    for key in {(int(d), bool(b)) for d, b in zip(plan.device, instance.backward, strict=True)}:
        nodes = np.flatnonzero((plan.device == key[0]) & (instance.backward == key[1]))
        for number, value in enumerate(np.unique(crossings[nodes])):
            for v in nodes[crossings[nodes] == value]:
                out[v] = number
    return out


def _split(
    n: int, key: Callable[[int], tuple[int, ...]], label: Callable[[int], str]
) -> list[tuple[str, list[int]]]:
    parts: dict[tuple[int, ...], list[int]] = {}
    for v in range(n):
        parts.setdefault(key(v), []).append(v)
    return [(label(nodes[0]), nodes) for _, nodes in sorted(parts.items())]


def _layers(instance: Instance, nodes: Sequence[int]) -> list[tuple[str, str, list[int]]]:
    """Layers of a piece's nodes (in topological order), or equal runs of them where there are none.

    Each with its label, in full and short.
    """
    names, short = instance.names, short_names(instance.names)
    layers: dict[str, list[int]] = {}
    for v in nodes:
        layers.setdefault(instance.layer[v] or "", []).append(v)
    if len(layers) > 1:
        short_layers = short_names(tuple(layer or "" for layer in instance.layer))
        return [
            part
            for name, members in layers.items()
            for part in (
                [(name, short_layers[name], members)]
                if name
                else [(names[v], short[names[v]], [v]) for v in members]
            )
        ]
    count = ceil(len(nodes) / RUN)
    size = ceil(len(nodes) / count)
    runs = [list(nodes[i : i + size]) for i in range(0, len(nodes), size)]
    return [
        (f"{names[a]} … {names[b]}", f"{short[names[a]]} … {short[names[b]]}", run)
        for run in runs
        for a, b in [(run[0], run[-1])]
    ]
