"""Putting a branch of an ``If`` in the place of the operator, in the same way on import and on export."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from placer.imports.onnx_shapes.traced import first_output

__all__ = ["BRANCHES", "Branch", "branch", "inline_branches", "inlined"]

BRANCHES = ("then_branch", "else_branch")


def branch(node: Any, which: str) -> Any:
    """Graph of a branch."""
    return next(a.g for a in node.attribute if a.name == which)


@dataclass(frozen=True)
class Branch:
    """A branch that is put in the place of its operator.

    Parameters
    ----------
    nodes, weights
        Its operators and weights: what it gives has the names of the operator's outputs, others get a prefix.
    names
        What the operators are called in plans, by first output: ``OPERATOR/then_branch/NAME``.
    """

    nodes: list[Any]
    weights: list[Any]
    names: dict[str, str]


def inlined(node: Any, which: str, operator: str) -> Branch:
    """Make the operators of a branch fit the graph around it.

    Parameters
    ----------
    node
        The operator.
    which
        Name of the branch.
    operator
        What the operator is called in plans.
    """
    from onnx import helper

    graph = branch(node, which)
    prefix = f"{operator}/{which}/"
    made = {name for inner in graph.node for name in inner.output if name}
    held = {tensor.name for tensor in graph.initializer}
    names = {name: prefix + name for name in made | held}
    copies = []
    given: set[str] = set()
    for target, info in zip(node.output, graph.output, strict=False):
        if not target:
            continue
        if info.name in made and info.name not in given:
            names[info.name] = target
            given.add(info.name)
        else:
            copies.append((info.name, target))
    nodes = [_renamed(inner, names) for inner in graph.node]
    called = [prefix + first_output(inner) for inner in graph.node]
    nodes += [helper.make_node("Identity", [names.get(name, name)], [target]) for name, target in copies]
    called += [f"{prefix}output {target}" for _, target in copies]
    weights = []
    for tensor in graph.initializer:
        weights.append(type(tensor)())
        weights[-1].CopyFrom(tensor)
        weights[-1].name = names[tensor.name]
    return Branch(nodes, weights, {first_output(n): c for n, c in zip(nodes, called, strict=True)})


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    copy = type(node)()
    copy.CopyFrom(node)
    _rename(copy, names)
    return copy


def _rename(node: Any, names: Mapping[str, str], *, outputs: bool = True) -> None:
    for field in (node.input, node.output) if outputs else (node.input,):
        field[:] = [names.get(name, name) for name in field]
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            own = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
            own |= {name for inner in graph.node for name in inner.output}
            outside = {old: new for old, new in names.items() if old not in own}
            for inner in graph.node:
                _rename(inner, outside, outputs=False)
            for info in graph.output:
                info.name = outside.get(info.name, info.name)


def inline_branches(model: Any, wanted: Collection[str]) -> tuple[list[str], list[str]]:
    """Put those branches in place, in a model, that some names of operators lie in.

    Parameters
    ----------
    model
        The model; changed.
    wanted
        Names of operators, as the import gives them.

    Returns
    -------
    list of str
        What each operator is called in plans.
    list of str
        Which branches were taken, in words.
    """
    graph = model.graph
    taken: list[str] = []
    nodes: list[Any] = []
    called: list[str] = []
    waiting = [(first_output(node), node) for node in reversed(graph.node)]
    while waiting:
        name, node = waiting.pop()
        which = next((w for w in _branches(node) if _any_in(wanted, f"{name}/{w}/")), None)
        if which is None:
            nodes.append(node)
            called.append(name)
            continue
        found = inlined(node, which, name)
        waiting += [(found.names[first_output(inner)], inner) for inner in reversed(found.nodes)]
        graph.initializer.extend(found.weights)
        taken.append(f"{name!r} takes its {which.removesuffix('_branch')} branch")
    if taken:
        kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(kept)
    return called, taken


def _branches(node: Any) -> tuple[str, ...]:
    return BRANCHES if node.op_type == "If" and node.domain in ("", "ai.onnx") else ()


def _any_in(names: Collection[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)
