"""Cutting a plan into stages: what a device does for one sample without waiting for other devices.

A device whose data flow only forward is one stage per direction.  Devices that feed each other (a
non-contiguous plan) are cut into several stages each, the paper's virtual devices: the depth of a node
counts how often its data change the device within such a cycle, and nodes of equal depth on one device
are a stage.  Source: Tarnawski et al., NeurIPS 2020, Section 5 and appendix (non-contiguous splits).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import networkx as nx

from placer.simulation.plan_costs import Placement

__all__ = ["Stage", "cut"]


@dataclass(frozen=True)
class Stage:
    """A part of a device's work for one sample.

    Parameters
    ----------
    device, backward, chunk
        Where and in which direction, and in which virtual stage of the device.
    nodes
        What it computes, in a topological order; none when it only receives.
    again
        Forward nodes that it computes once more before its backward nodes, because it dropped their
        activations.
    received
        Foreign outputs that it fetches from host memory; each device fetches an output once, in the
        first stage that reads it.
    sent
        Outputs that it writes to host memory.
    """

    device: int
    backward: bool
    nodes: tuple[int, ...]
    again: tuple[int, ...]
    received: tuple[int, ...]
    sent: tuple[int, ...]
    chunk: int = 0


def cut(placement: Placement, recomputed: Collection[int] = ()) -> list[Stage]:
    """Cut a plan into stages, grouped by device and in the order in which a sample passes them.

    A forward output that only backward nodes of a device read is received by a forward stage of its own,
    after the others: a transfer counts with its producer's direction.  With virtual stages these are the
    stages, and the last one that runs in that direction receives it.

    Parameters
    ----------
    placement
        The plan.
    recomputed
        Nodes whose activations are dropped; the forward ones are computed again in the first backward stage
        of their device.
    """
    backward = placement.instance.backward.tolist()
    several = placement.chunks > 1
    depth = _turns(placement) if several else _depths(placement)
    last = placement.chunks - 1 if several else max(depth, default=0) + 1
    keys = [(placement.device[v], bool(backward[v]), depth[v]) for v in range(len(depth))]
    nodes: dict[tuple[int, bool, int], list[int]] = {}
    received: dict[tuple[int, bool, int], list[int]] = {}
    sent: dict[tuple[int, bool, int], list[int]] = {}
    for v in placement.order:
        nodes.setdefault(keys[v], []).append(v)
        away = {placement.device[w] for w in placement.consumers[v]} - {placement.device[v]}
        if away and placement.transfer_ms(v, placement.device[v]) > 0:
            sent.setdefault(keys[v], []).append(v)
        for d in sorted(away):
            if placement.transfer_ms(v, d) > 0:
                readers = [keys[w] for w in placement.consumers[v] if placement.device[w] == d]
                first = min(key for key in [*readers, (d, bool(backward[v]), last)] if key[1] == backward[v])
                received.setdefault(first, []).append(v)
    again: dict[tuple[int, bool, int], list[int]] = {}
    for v in placement.order:
        if v in recomputed and not backward[v]:
            d = placement.device[v]
            first = min((key for key in nodes if key[:2] == (d, True)), default=(d, True, 0))
            again.setdefault((d, True, last - depth[v]) if several else first, []).append(v)
    return [
        Stage(
            device=key[0],
            backward=key[1],
            nodes=tuple(nodes.get(key, ())),
            again=tuple(again.get(key, ())),
            received=tuple(received.get(key, ())),
            sent=tuple(sent.get(key, ())),
            chunk=(last - key[2] if key[1] else key[2]) if several else 0,
        )
        for key in sorted(nodes.keys() | received.keys() | again.keys())
    ]


def _turns(placement: Placement) -> list[int]:
    """Return when a device runs the virtual stage of each node: in the backward pass the last one first."""
    turned = placement.instance.backward.tolist()
    return [placement.chunks - 1 - c if b else c for c, b in zip(placement.chunk, turned, strict=True)]


def _depths(placement: Placement) -> list[int]:
    """Count the changes of device that precede each node within a cycle of devices, by direction."""
    device, backward = placement.device, placement.instance.backward
    depth = [0] * len(device)
    component: dict[tuple[bool, int], int] = {}
    for direction in (False, True):
        edges = [
            (device[u], device[w])
            for u, w in placement.instance.edges.tolist()
            if backward[u] == backward[w] == direction and device[u] != device[w]
        ]
        for number, members in enumerate(nx.strongly_connected_components(nx.DiGraph(edges))):
            component.update({(direction, d): number for d in members})
    for v in placement.order:
        direction = bool(backward[v])
        home = component.get((direction, device[v]))
        for u in placement.producers[v]:
            in_cycle = home is not None and component.get((direction, device[u])) == home
            if backward[u] == direction and in_cycle:
                depth[v] = max(depth[v], depth[u] + (device[u] != device[v]))
    return depth
