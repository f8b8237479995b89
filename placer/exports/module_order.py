"""Cutting a labelled graph into parts that run one after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Part", "in_parts"]


@dataclass(frozen=True)
class Part:
    """Nodes of one unit that run without a break.

    Parameters
    ----------
    unit
        The unit: a device, or a piece of one.
    nodes
        The nodes, in an order in which they can run.
    """

    unit: int
    nodes: tuple[int, ...]


def in_parts(
    unit: Sequence[int | None],
    edges: Sequence[tuple[int, int]],
    before: Mapping[int, int] | None = None,
    whole: Container[int] = (),
) -> tuple[Part, ...]:
    """Cut a directed acyclic graph into parts of one unit each, in a valid order of execution.

    A unit that can run all of its nodes does so at once, so there is one part per unit whenever some order
    of the units allows it.  Otherwise the unit that can run most nodes goes next (the smallest number of
    parts is hard to find in general).

    Parameters
    ----------
    unit
        Unit of each node ``0..n-1``; None for nodes that run wherever their inputs first meet.
    edges
        Pairs (producer, consumer).
    before
        Units that wait for another unit to be finished.
    whole
        Units that are cut only when no other unit can run.

    Returns
    -------
    tuple of Part
        Every node is in exactly one part.

    Raises
    ------
    ValueError
        When nothing can run: a cycle, or units that wait for each other.
    """
    graph = _Graph(unit, edges)
    left = Counter(u for u in unit if u is not None)
    before = before or {}
    parts: list[Part] = []
    while left:
        open_units = [u for u in sorted(left) if before.get(u) not in left]
        runs = {u: graph.runnable(u) for u in open_units}
        size = {u: sum(unit[v] is not None for v in run) for u, run in runs.items()}
        complete = [u for u in open_units if size[u] == left[u]]
        if complete:
            chosen = min(complete, key=lambda u: min(v for v in runs[u] if unit[v] is not None))
        else:
            able = [u for u in open_units if size[u]]
            if not able:
                raise ValueError("the parts wait for each other")
            chosen = max(able, key=lambda u: (u not in whole, size[u]))
        graph.finish(runs[chosen])
        left[chosen] -= size[chosen]
        left = +left
        parts.append(Part(chosen, tuple(runs[chosen])))
    return tuple(parts)


class _Graph:
    """What still has to run."""

    def __init__(self, unit: Sequence[int | None], edges: Sequence[tuple[int, int]]) -> None:
        self.unit = unit
        self.after: list[list[int]] = [[] for _ in unit]
        self.waiting = [0] * len(unit)
        for u, w in set(edges):
            self.after[u].append(w)
            self.waiting[w] += 1
        self.ready = {v for v, count in enumerate(self.waiting) if not count}

    def runnable(self, unit: int) -> list[int]:
        """Nodes that a unit could run now without any other unit, in a valid order."""
        ready = sorted(v for v in self.ready if self.unit[v] in (unit, None))
        met: Counter[int] = Counter()
        out = []
        while ready:
            out.append(v := ready.pop(0))
            for w in self.after[v]:
                met[w] += 1
                if met[w] == self.waiting[w] and self.unit[w] in (unit, None):
                    ready.append(w)
        return out

    def finish(self, nodes: list[int]) -> None:
        """Take nodes out."""
        self.ready.difference_update(nodes)
        for v in nodes:
            for w in self.after[v]:
                self.waiting[w] -= 1
                if not self.waiting[w]:
                    self.ready.add(w)
        self.ready.difference_update(nodes)
