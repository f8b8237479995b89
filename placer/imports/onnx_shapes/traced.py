"""A graph with what is known of its tensors, and the operators in it that run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from placer.errors import InputError
from placer.imports.onnx_shapes.tensors import Tensor

__all__ = ["Step", "Trace", "first_output", "reads", "undecided"]


@dataclass(eq=False)
class Step:
    """An operator that runs.

    Parameters
    ----------
    node
        The operator.
    bodies
        The graphs inside that run, and how often.
    """

    node: Any
    bodies: list[tuple[Trace, int]] = field(default_factory=list)


@dataclass(eq=False)
class Trace:
    """A graph, as it runs.

    Parameters
    ----------
    tensors
        What is known of every tensor, by name.
    steps
        Its operators in order; those of branches that are taken for certain are among them.
    weights
        Names of the tensors that the file brings along.
    outputs
        Names of its outputs.
    outer
        The graph that it is a body in.
    names
        What operators of branches that were put in place are called in plans, by first output.
    branch_weights
        Weights (``TensorProto``) of these branches.
    remark
        Why shapes may be missing.
    """

    tensors: dict[str, Tensor]
    steps: list[Step] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    outputs: tuple[str, ...] = ()
    outer: Trace | None = None
    names: dict[str, str] = field(default_factory=dict)
    branch_weights: list[Any] = field(default_factory=list)
    remark: str = ""

    def find(self, name: str) -> Tensor:
        """Look up a tensor of this graph or of those around it.

        Raises
        ------
        InputError
            When nothing produces it.
        """
        trace: Trace | None = self
        while trace is not None:
            if name in trace.tensors:
                return trace.tensors[name]
            trace = trace.outer
        raise InputError("an operator reads it, and nothing before produces it", place=f"tensor {name!r}")

    def name(self, node: Any) -> str:
        """Return what an operator is called in plans: after its first output, unique in a graph."""
        return self.names.get(first_output(node), first_output(node))

    def alike(self, other: Trace) -> bool:
        """Whether the same operators run on the same shapes, so that they cost the same."""
        if len(self.steps) != len(other.steps) or self.tensors.keys() != other.tensors.keys():
            return False
        return all(t.shape == other.tensors[name].shape for name, t in self.tensors.items()) and not any(
            step.bodies for step in (*self.steps, *other.steps)
        )

    def results(self) -> list[Tensor]:
        """Return what is known of its outputs."""
        return [self.find(name) for name in self.outputs]


def first_output(node: Any) -> str:
    """Name of the first output that is not left out: unique in a graph, unlike names of operators."""
    return next((name for name in node.output if name), "")


def reads(node: Any) -> Iterator[str]:
    """Names of the tensors that an operator reads, those that its graphs take from outside included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            inside = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            for inner in graph.node:
                yield from (name for name in reads(inner) if name not in inside)
                inside.update(inner.output)
            yield from (value.name for value in graph.output if value.name not in inside)


def undecided(trace: Trace, name: str) -> list[str]:
    """Find the small inputs of the model whose numbers a tensor's shape or value depends on."""
    while trace.outer is not None and name not in trace.tensors:
        trace = trace.outer
    producer = {made: step.node for step in trace.steps for made in step.node.output if made}
    seen, open_names, found = {name}, [name], []
    while open_names:
        one = open_names.pop()
        if one not in producer:
            tensor = trace.tensors.get(one)
            if trace.outer is None and tensor is not None and _decides(tensor) and one not in trace.weights:
                found.append(one)
            continue
        node = producer[one]
        if node.op_type in ("Shape", "Size") and trace.find(node.input[0]).shape is not None:
            continue
        new = {n for n in reads(node) if n not in seen and trace.find(n).value is None}
        seen |= new
        open_names += sorted(new)
    return sorted(found)


def _decides(tensor: Tensor) -> bool:
    """Whether an input may hold sizes or switches rather than data."""
    shape = tensor.shape
    return tensor.value is None and shape is not None and len(shape) <= 1 and (not shape or shape[0] <= 8)
