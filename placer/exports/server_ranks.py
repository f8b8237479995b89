"""Which layers the devices of a serving plan hold, as far as servers can be told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from placer.errors import UsageError
from placer.language.module_names import LAYER
from placer.serving.serving_plan import ServedStage, ServingPlan

__all__ = ["ServerRanks", "server_ranks"]

PARTS = {
    "experts": re.compile(r"\.experts(?:\.|$)"),
    "shared experts": re.compile(r"\.shared_(?:experts?|mlp)(?:\.|$)"),
    "router": re.compile(r"\.(?:gate|router)(?:\.wg)?$"),
}
"""Parts of a layer that may lie apart from it, by module paths such as ``model.layers.3.mlp.experts``."""


@dataclass(frozen=True)
class ServerRanks:
    """Whole layers of accelerators, in the order of the model, and what lies elsewhere.

    Parameters
    ----------
    stages
        The accelerators' stages.
    counts
        Layers of each, at least one; parts of them may lie elsewhere.
    host_layers
        Layers before these, which a host holds.
    host_ends
        Whether a host holds what is before the layers.
    apart
        Parts of layers (`PARTS`) that lie elsewhere than the rest: part, layer and stage; stage None for a
        host.
    """

    stages: tuple[ServedStage, ...]
    counts: tuple[int, ...]
    host_layers: int
    host_ends: bool
    apart: tuple[tuple[str, int, int | None], ...]

    @property
    def names(self) -> list[str]:
        """Devices in the order of ranks: groups of replicas, in these the stages, in these the shards."""
        shards, replicas = self.stages[0].shards, self.stages[0].replicas
        return [
            name
            for group in range(replicas)
            for stage in self.stages
            for name in stage.devices[group * shards : (group + 1) * shards]
        ]


def server_ranks(plan: ServingPlan, runtime: str) -> ServerRanks:
    """Find out which layers lie where.

    Parameters
    ----------
    plan
        The plan.
    runtime
        What is to be told, for what is refused.

    Raises
    ------
    UsageError
        When some accelerator holds no layer, a layer is split, or layers or ends are out of order.
    """
    stages = tuple(s for s in plan.stages if not s.host)
    try:
        if len(plan.stages) - len(stages) > 1:
            raise _Unfit("more than one host or tier holds nodes")
        nodes = _in_order(plan, stages)
        where, apart = _places(nodes, [_names(s) for s in stages])
        counts, hosts = _counts([where[number] for number in sorted(where)], stages)
        numbered = [p for p, (node, _) in enumerate(nodes) if LAYER.match(node)]
        before = {at for _, at in nodes[: numbered[0]]}
        after = {at for _, at in nodes[numbered[-1] + 1 :]}
        if not before <= {0, None} or not after <= {len(stages) - 1}:
            raise _Unfit("the first device lacks what is before the layers, or the last what is after")
    except _Unfit as unfit:
        raise UsageError(f"{runtime} cannot express this plan: {unfit}") from None
    parts = tuple((part, n, apart[part, n]) for part, n in sorted(apart) if where[n] is not None)
    return ServerRanks(stages, counts, hosts, None in before, parts)


class _Unfit(Exception):  # noqa: N818  (becomes a UsageError that names the runtime)
    pass


def _names(stage: ServedStage) -> str:
    return " and ".join(stage.devices)


def _in_order(plan: ServingPlan, stages: Sequence[ServedStage]) -> list[tuple[str, int | None]]:
    """List nodes in the order of the model, each with its accelerator stage; None for a host."""
    left = [iter(stage.nodes) for stage in plan.stages]
    places = [None if stage.host else stages.index(stage) for stage in plan.stages]
    return [
        (next(left[visit.stage]), places[visit.stage]) for visit in plan.visits for _ in range(*visit.nodes)
    ]


def _places(
    nodes: Sequence[tuple[str, int | None]], names: Sequence[str]
) -> tuple[dict[int, int | None], dict[tuple[str, int], int | None]]:
    """Place of each layer, and of its parts that are apart from it."""
    where: dict[int, int | None] = {}
    parts: dict[tuple[str, int], int | None] = {}
    for node, at in nodes:
        match = LAYER.match(node)
        if match is None:
            continue
        number = int(match["number"])
        part = next((name for name, path in PARTS.items() if path.search(node)), None)
        other = where.setdefault(number, at) if part is None else parts.setdefault((part, number), at)
        if other != at:
            both = " and ".join("the host" if k is None else names[k] for k in (other, at))
            raise _Unfit(f"layer {number} is split over {both}")
    if not where:
        raise _Unfit("no node's name is like 'layers.0', 'h.0' or 'layer.0', so there are no layers to count")
    return where, {(part, n): at for (part, n), at in parts.items() if at != where.get(n)}


def _counts(order: Sequence[int | None], stages: Sequence[ServedStage]) -> tuple[tuple[int, ...], int]:
    """Layers of each accelerator, and of the host before them, from the places of all layers."""
    hosts = sum(at is None for at in order)
    on_stages = [at for at in order[hosts:] if at is not None]
    if hosts + len(on_stages) != len(order):
        raise _Unfit("a host holds layers that are not the first")
    if on_stages != sorted(on_stages):
        raise _Unfit("the layers are not in the order of the devices")
    counts = tuple(on_stages.count(s) for s in range(len(stages)))
    for stage, count in zip(stages, counts, strict=True):
        if not count:
            raise _Unfit(f"{_names(stage)} holds no layer, and servers want one on each (plan without it)")
    if not stages:
        raise _Unfit("no accelerator holds anything")
    return counts, hosts
