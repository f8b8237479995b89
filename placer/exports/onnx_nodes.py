"""The ONNX model behind a placement: read, checked, and its operators mapped to the plan's units."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from placer.errors import InputError, UsageError
from placer.exports.module_order import Part, in_parts
from placer.exports.placement import Placement
from placer.imports.onnx_file import light_model, onnx_module
from placer.imports.onnx_shapes.branches import inline_branches
from placer.imports.onnx_shapes.traced import reads
from placer.instance.origin import Source

if TYPE_CHECKING:
    import onnx

__all__ = ["OnnxPlan", "branch_lines", "branch_remarks", "load_model", "read_model"]


@dataclass(frozen=True, eq=False)
class OnnxPlan:
    """A model with the parts that its operators run in.

    Parameters
    ----------
    model
        The model; tensors that are kept in files of their own are not loaded.
    folder
        Where those files are.
    parts
        Indices into ``model.graph.node``, in order, by part; each operator that depends on an input of the
        model is in exactly one.
    constants
        Operators that depend on no input; parts hold copies of those that they read.
    unlisted
        Number of operators that depend on an input and that the plan does not know (the importer knows
        their values); they run where their inputs meet.
    branches
        Branches that are taken for certain with the sizes of the plan, in words: the export has no others.
    """

    model: onnx.ModelProto
    folder: Path
    parts: tuple[Part, ...]
    constants: frozenset[int]
    unlisted: int
    branches: tuple[str, ...] = ()


def read_model(placement: Placement) -> OnnxPlan:
    """Read the model and cut it as planned.

    Raises
    ------
    UsageError
        When the onnx package is missing.
    InputError
        When the file is not the model that the instance was imported from.
    """
    planned = {name for _, origin in placement.origins() for name in origin.operators}
    model, called, taken = load_model(str(placement.model), placement.instance.source, planned)
    path = light_model(str(placement.model))
    return replace(_cut(placement, model, called, path), branches=tuple(taken))


def load_model(
    name: str, source: Source | None, planned: set[str]
) -> tuple[onnx.ModelProto, list[str], list[str]]:
    """Read the model that an instance was imported from, without tensors in files of their own.

    Parameters
    ----------
    name
        The model's file, or one that the onnx package ships.
    source
        What the instance says of it.
    planned
        Operators that the plan knows, by what they are called in plans.

    Returns
    -------
    model, called, taken
        The model, what its operators are called, and the branches that are taken for certain.

    Raises
    ------
    UsageError
        When the onnx package is missing.
    InputError
        When the file is not the model that the instance was imported from.
    """
    onnx = onnx_module()
    path = light_model(name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", source=str(path)) from None
    if source is not None and source.sha256 not in (None, hashlib.sha256(content).hexdigest()):
        raise InputError(
            f"not the model that the instance was imported from ({source.name})", source=str(path)
        )
    try:
        model = onnx.load_model_from_string(content)
        if model.functions:  # as the importer does: the plan is about the operators inside
            model = onnx.inliner.inline_local_functions(model)
        called, taken = inline_branches(model, planned)
    except Exception:  # whatever the protobuf runtime at hand raises
        raise InputError("not an ONNX model", source=str(path)) from None
    return model, list(called), list(taken)


def _cut(placement: Placement, model: onnx.ModelProto, called: list[str], path: Path) -> OnnxPlan:
    nodes = model.graph.node
    units = _units(placement, called, path)
    producer = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    before = [[producer[name] for name in reads(node) if name in producer] for node in nodes]
    constants = _constants(model, before)
    live = [i for i in range(len(nodes)) if i not in constants]
    number = {i: k for k, i in enumerate(live)}
    unit = [units.get(i) for i in live]
    if all(u is None for u in unit):
        raise UsageError("the plan names no operator of the model (import it with `placer import onnx`)")
    edges = [(number[u], number[i]) for i in live for u in before[i] if u not in constants]
    parts = in_parts(unit, edges, placement.unit_before, placement.whole_units)
    return OnnxPlan(
        model,
        path.parent,
        tuple(Part(part.unit, tuple(sorted(live[k] for k in part.nodes))) for part in parts),
        constants,
        sum(u is None for u in unit),
    )


def _units(placement: Placement, called: list[str], path: Path) -> dict[int, int]:
    """Find the unit of every operator that the plan knows, by what the operators are called in plans."""
    index = {name: i for i, name in enumerate(called)}
    out: dict[int, int] = {}
    for v, origin in placement.origins():
        for name in origin.operators:
            if name not in index:
                raise InputError(f"the model has no operator with the output {name!r}", source=str(path))
            if out.setdefault(index[name], placement.node_unit[v]) != placement.node_unit[v]:
                raise InputError(f"the operator {name!r} belongs to two nodes", source=str(path))
    return out


def _constants(model: onnx.ModelProto, before: list[list[int]]) -> frozenset[int]:
    """Operators that depend on no input of the model; operators are listed in topological order."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {tensor.values.name for tensor in graph.sparse_initializer}
    inputs = {value.name for value in graph.input} - weights
    out: set[int] = set()
    for i, node in enumerate(graph.node):
        if not inputs & set(reads(node)) and out.issuperset(before[i]) and node.op_type not in RANDOM:
            out.add(i)
    return frozenset(out)


RANDOM = frozenset({"RandomNormal", "RandomUniform"})
"""Operators without inputs whose copies would differ."""


def branch_remarks(plan: OnnxPlan) -> list[str]:
    """Say which branches an export is bound to."""
    return branch_lines(plan.branches)


def branch_lines(branches: Sequence[str]) -> list[str]:
    """Say which branches these are, if there are any."""
    if not branches:
        return []
    more = f" and {len(branches) - 3} more" if len(branches) > 3 else ""
    shown = ", ".join(branches[:3]) + more
    return [f"only for the sizes and numbers that the instance was imported with: If {shown}"]
