"""From parts with times to an instance: outputs, gradients, weights, activations and colocation.

In the model of placement all edges of a node carry the same value.  A part of which different values go to
different parts therefore sends each through a node of its own, of zero time and colocated with it: transfers
are then counted exactly, once per value and device that needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from placer.arrays import FloatArray
from placer.imports.catalogue import Cluster
from placer.imports.costs import Costs
from placer.imports.gradients import Backward
from placer.imports.granularity import Part
from placer.imports.model import Kind, Model, consumers, producers
from placer.imports.residence import Residence
from placer.imports.working import Working
from placer.instance.instance import Instance
from placer.instance.origin import Origin
from placer.instance.training import Training

__all__ = ["assemble"]


@dataclass
class _Nodes:
    """Columns of the instance in the making."""

    columns: dict[str, Any] = field(default_factory=dict)
    edges: dict[tuple[int, int], None] = field(default_factory=dict)

    def add(self, **row: Any) -> int:
        """Add a node and return its index."""
        for key, value in row.items():
            self.columns.setdefault(key, []).append(value)
        return len(self.columns["ids"]) - 1


def assemble(
    model: Model,
    parts: Sequence[Part],
    cost: Costs,
    backward: Backward | None,
    cluster: Cluster,
    where: Residence,
    work: Working,
    training: Training | None = None,
) -> Instance:
    """Build the instance.

    Parameters
    ----------
    model
        The model.
    parts
        What becomes a node, in topological order.
    cost
        Times of the operators.
    backward
        The backward pass to add; None for inference.
    cluster
        The devices.
    where
        Where tensors lie that several parts read.
    work
        Working memory of the parts.
    training
        Optimizer and microbatches.
    """
    return _Assembly(model, parts, cost, backward, where, work).instance(cluster, training or Training())


class _Assembly:
    def __init__(
        self,
        model: Model,
        parts: Sequence[Part],
        cost: Costs,
        backward: Backward | None,
        where: Residence,
        work: Working,
    ) -> None:
        self.model, self.parts, self.cost, self.backward = model, parts, cost, backward
        self.where, self.work = where, work
        self.part_of = {i: p for p, part in enumerate(parts) for i in part.operators}
        self.producer = producers(model.operators)
        self.readers = consumers(model.operators)
        self.nodes = _Nodes()
        self.forward: list[int] = []
        self.reverse: dict[int, int] = {}  # part -> its backward node
        self.group = self._groups()

    def instance(self, cluster: Cluster, training: Training) -> Instance:
        """Add everything, then check the whole."""
        self._add_forward()
        if self.backward is not None:
            self._add_backward(self.backward)
        self._drop_lone_groups()
        return Instance.build(
            name=self.model.name,
            types=self.cost.types,
            classes=cluster.classes,
            servers=cluster.servers,
            edges=list(self.nodes.edges),
            training=training,
            source=self.model.source,
            **self.nodes.columns,
        )

    # -- weights and colocation -----------------------------------------------------------------

    def _groups(self) -> list[str]:
        """Label each part with the first of the parts that it stays together with."""
        root = list(range(len(self.parts)))

        def find(p: int) -> int:
            while root[p] != p:
                p = root[p]
            return p

        for parts in (*self.where.together, *self.work.groups):
            for p in parts[1:]:
                a, b = sorted((find(parts[0]), find(p)))
                root[b] = a
        return [self.parts[find(p)].id for p in range(len(self.parts))]

    def _weights(self, part: Part) -> list[str]:
        operators = self.model.operators
        return list(dict.fromkeys(key for i in part.operators for key in operators[i].weights))

    # -- forward --------------------------------------------------------------------------------

    def _add_forward(self) -> None:
        counted: set[str] = set()
        once = {key for key, w in self.model.weights.items() if w.state or key in self.where.joined}
        for p, part in enumerate(self.parts):
            trained, kept = 0.0, self.work.excess_bytes.get(p, 0.0)
            for key in self._weights(part):
                weight = self.model.weights[key]
                if key in self.where.everywhere or (key in once and key in counted):
                    continue  # every device keeps it, or it is resident with the first reader
                counted.add(key)
                if weight.trainable:
                    trained += weight.size_bytes
                else:
                    kept += weight.size_bytes
            rows = list(part.operators)
            stash = sum(self.backward.stash_bytes[i] for i in rows) if self.backward else 0.0
            self.forward.append(
                self._node(
                    part.id,
                    part.name,
                    p,
                    self.cost.forward[rows].sum(axis=0),
                    memory_bytes=kept,
                    weight_bytes=trained,
                    activation_bytes=stash,
                    origin=self._origin(part),
                )
            )
        for p, part in enumerate(self.parts):
            self._send(self.forward[p], part, p, self._outputs(p), self.forward)

    def _node(
        self,
        node: str,
        name: str,
        p: int,
        times: FloatArray,
        *,
        memory_bytes: float = 0.0,
        weight_bytes: float = 0.0,
        activation_bytes: float = 0.0,
        origin: Origin | None = None,
        backward: bool = False,
    ) -> int:
        return self.nodes.add(
            ids=node,
            names=name,
            time_ms=times,
            memory_bytes=memory_bytes,
            weight_bytes=weight_bytes,
            activation_bytes=activation_bytes,
            output_bytes=0.0,
            colocate=self.group[p],
            layer=self.parts[p].module,
            backward=backward,
            origin=origin,
        )

    def _origin(self, part: Part) -> Origin:
        operators = [self.model.operators[i] for i in part.operators]
        known = [o.flops for o in operators if o.flops is not None]
        names = (name for key in self._weights(part) for name in self.model.weights[key].names)
        return Origin(
            op=operators[0].op if len(operators) == 1 else None,
            module=part.module,
            operators=tuple(name for o in operators for name in o.members),
            parameters=tuple(dict.fromkeys(names)),
            flops=float(sum(known)) if known else None,
        )

    def _outputs(self, p: int) -> list[tuple[float, frozenset[int]]]:
        """Values that leave a part: bytes and the parts that read them."""
        out = []
        for i in self.parts[p].operators:
            for key in self.model.operators[i].outputs:
                to = frozenset(self.part_of[j] for j in self.readers.get(key, ())) - {p}
                if to:
                    out.append((self.model.values[key].size_bytes, to))
        return out

    def _send(
        self,
        node: int,
        part: Part,
        p: int,
        values: Iterable[tuple[float, frozenset[int]]],
        target: Sequence[int] | dict[int, int],
        *,
        backward: bool = False,
    ) -> None:
        """Connect a node with those that read its values, through senders where they go different ways."""
        ways: dict[frozenset[int], float] = {}
        for size, to in values:
            ways[to] = ways.get(to, 0.0) + size
        if len(ways) == 1:
            ((to, size),) = ways.items()
            self.nodes.columns["output_bytes"][node] = size
            self.nodes.edges.update(dict.fromkeys((node, target[q]) for q in sorted(to)))
            return
        suffix, what = ("/backward/out", "gradient") if backward else ("/out", "output")
        for k, (to, size) in enumerate(ways.items()):
            times = np.where(np.isfinite(self.nodes.columns["time_ms"][node]), 0.0, np.inf)
            sender = self._node(
                f"{part.id}{suffix}{k}", f"{part.name} ({what} {k})", p, times, backward=backward
            )
            self.nodes.columns["output_bytes"][sender] = size
            self.nodes.edges[node, sender] = None
            self.nodes.edges.update(dict.fromkeys((sender, target[q]) for q in sorted(to)))

    # -- backward -------------------------------------------------------------------------------

    def _add_backward(self, backward: Backward) -> None:
        """Mirror the graph: gradients flow from each reader of a value to its producer."""
        for p in reversed(range(len(self.parts))):
            part = self.parts[p]
            rows = [i for i in part.operators if backward.factor[i] is not None]
            if not rows:
                continue
            flops = [(self.model.operators[i].flops, backward.factor[i]) for i in rows]
            known = [f * (k or 0.0) for f, k in flops if f is not None]
            origin = Origin(module=part.module, flops=float(sum(known)) if known else None)
            self.reverse[p] = self._node(
                f"{part.id}/backward",
                f"{part.name} (backward)",
                p,
                self.cost.backward[rows].sum(axis=0),
                origin=origin,
                backward=True,
            )
            self.nodes.edges[self.forward[p], self.reverse[p]] = None
        for p, node in list(self.reverse.items()):
            self._send(node, self.parts[p], p, self._gradients(p, backward), self.reverse, backward=True)

    def _gradients(self, p: int, backward: Backward) -> list[tuple[float, frozenset[int]]]:
        """Gradients that leave a part: bytes and the parts that they go to.

        Those of one value are summed within the part; a sum hands the same gradient to all its operands.
        """
        operators = self.model.operators
        reads: dict[str, list[int]] = {}
        for i in self.parts[p].operators:
            if backward.factor[i] is None:
                continue
            for key in operators[i].inputs:
                if key in backward.values and self.part_of[self.producer[key]] != p:
                    reads.setdefault(key, []).append(i)
        sent: dict[object, tuple[float, set[int]]] = {}
        for key, by in reads.items():
            size = self.model.values[key].size_bytes
            same = (
                len(by) == 1
                and operators[by[0]].kind is Kind.SUM
                and self.model.values[operators[by[0]].outputs[0]].size_bytes == size
            )
            handle: object = by[0] if same else key
            sent.setdefault(handle, (size, set()))[1].add(self.part_of[self.producer[key]])
        return [(size, frozenset(to)) for size, to in sent.values()]

    def _drop_lone_groups(self) -> None:
        labels = self.nodes.columns["colocate"]
        count: dict[str, int] = {}
        for label in labels:
            count[label] = count.get(label, 0) + 1
        self.nodes.columns["colocate"] = [label if count[label] > 1 else None for label in labels]
