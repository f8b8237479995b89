"""A forward pass in the making: operators, what they read and what they cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Graph", "Operator"]


@dataclass(frozen=True)
class Operator:
    """One operator: its name (a path, "block3/attention/query"), its producers, and its costs.

    ``time_ms`` is that on the reference accelerator; ``other`` is how many times as long another type takes.
    """

    name: str
    reads: tuple[int, ...]
    time_ms: float
    weight_bytes: float
    output_bytes: float
    other: float = 1.0


@dataclass
class Graph:
    """Operators in a topological order."""

    operators: list[Operator] = field(default_factory=list)

    def add(
        self,
        name: str,
        reads: Iterable[int],
        time_ms: float,
        *,
        weights: float = 0.0,
        output: float = 0.0,
        other: float = 1.0,
    ) -> int:
        """Add an operator; returns its number."""
        sources = tuple(sorted(set(reads)))
        self.operators.append(Operator(name, sources, time_ms, weights, output, other))
        return len(self.operators) - 1

    def coarsened(self, depth: int) -> Graph:
        """Merge all operators that share the first ``depth`` parts of their names.

        A merged operator sends what others read of it, all at once.
        """
        keys = ["/".join(op.name.split("/")[:depth]) for op in self.operators]
        number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        read_outside = {u for w, op in enumerate(self.operators) for u in op.reads if keys[u] != keys[w]}
        merged = Graph()
        for key in number:
            members = [v for v, k in enumerate(keys) if k == key]
            parts = [self.operators[v] for v in members]
            reads = {number[keys[u]] for op in parts for u in op.reads if keys[u] != key}
            time = sum(op.time_ms for op in parts)
            merged.add(
                key,
                reads,
                time,
                weights=sum(op.weight_bytes for op in parts),
                output=sum(self.operators[v].output_bytes for v in members if v in read_outside),
                other=sum(op.other * op.time_ms for op in parts) / time if time else 1.0,
            )
        return merged
