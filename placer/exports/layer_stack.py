"""Repeated layers of a model: which stage of a pipeline has each, and what comes before and after them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx

from placer.errors import UsageError
from placer.exports.placement import Placement
from placer.instance.order import topological_position
from placer.language.module_names import LAYER

__all__ = ["LayerStack", "layer_stack", "outside"]


@dataclass(frozen=True, eq=False)
class LayerStack:
    """The layers of a model on the stages of a pipeline.

    Parameters
    ----------
    name
        Module that holds the layers, such as ``model.layers``.
    others
        Modules that hold other repeated layers.
    nodes
        Forward nodes inside the layers.
    layers
        Numbers of the layers on each stage, in order.
    """

    name: str
    others: tuple[str, ...]
    nodes: frozenset[int]
    layers: tuple[tuple[int, ...], ...]

    @property
    def counts(self) -> list[int]:
        """Layers of each stage."""
        return [len(own) for own in self.layers]


def layer_stack(
    placement: Placement, stages: Sequence[Sequence[int]], names: Sequence[str], target: str
) -> LayerStack:
    """Find the largest stack of repeated layers, and the stage of each.

    Parameters
    ----------
    placement
        The plan.
    stages, names
        Forward nodes of each stage in pipeline order, and what messages call it.
    target
        What needs layers, for messages.

    Raises
    ------
    UsageError
        When there are no repeated layers, one is split, or they are not in the order of the stages.
    """
    stage = {v: s for s, nodes in enumerate(stages) for v in nodes}
    found = {
        v: (match["stack"], int(match["number"]))
        for v, origin in placement.origins()
        if origin.module is not None and (match := LAYER.match(origin.module))
    }
    if not found:
        raise UsageError(
            f"{target} needs repeated layers, and no node's module is like 'layers.0', 'h.0' or 'layer.0'"
        )
    sizes = Counter(stack for stack, _ in set(found.values()))
    (name, _), *others = sizes.most_common()
    where: dict[int, int] = {}
    for v, (its, number) in found.items():
        if its == name and where.setdefault(number, stage[v]) != stage[v]:
            both = " and ".join(names[s] for s in sorted({where[number], stage[v]}))
            raise UsageError(
                f"{target} cannot express this plan: {name}.{number} is split over {both} "
                "(import the model with --by module)"
            )
    in_order = [where[number] for number in sorted(where)]
    if in_order != sorted(in_order):
        raise UsageError(f"{target} cannot express this plan: the layers are not in the order of the devices")
    layers = [tuple(number for number in sorted(where) if where[number] == s) for s in range(len(stages))]
    nodes = frozenset(v for v, (its, _) in found.items() if its == name)
    return LayerStack(name, tuple(other for other, _ in others), nodes, tuple(layers))


def outside(placement: Placement, stack: LayerStack) -> tuple[list[int], list[int]]:
    """Return the forward nodes with weights outside the layers, in order: those before them, those after."""
    graph = nx.DiGraph(placement.instance.forward_edges.tolist())
    after = set().union(*(nx.descendants(graph, v) for v in stack.nodes if v in graph))
    position = topological_position(placement.instance)
    ends = [v for v, origin in placement.origins() if origin.parameters and v not in stack.nodes]
    ends.sort(key=lambda v: position[v])
    return [v for v in ends if v not in after], [v for v in ends if v in after]
