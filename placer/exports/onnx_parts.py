"""Sub-models for ONNX Runtime, one per part, which chained together compute what the model computes.

ONNX Runtime runs one model on one device, so a plan for k devices is k models, or more when a device serves
several stages.  ``manifest.json`` lists them in a valid order of execution with their devices, inputs and
outputs.  Files are named by number: no name from the model becomes a path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placer.errors import UsageError
from placer.exports.onnx_nodes import OnnxPlan, branch_remarks, read_model
from placer.exports.placement import Placement
from placer.imports.onnx_file import read_external
from placer.imports.onnx_shapes.traced import reads
from placer.imports.onnx_shapes.types import element_types

if TYPE_CHECKING:
    import onnx

__all__ = ["FORMAT", "write"]

FORMAT = "placer-onnx-parts"
LARGEST_MESSAGE = 2_000_000_000
"""Bytes up to which a model fits in one protobuf message (2 GiB), with some room."""


@dataclass(frozen=True, eq=False)
class _Tensors:
    """What is known of the tensors of a model, by name."""

    values: dict[str, onnx.ValueInfoProto]
    weights: dict[str, onnx.TensorProto]
    sparse: dict[str, onnx.SparseTensorProto]
    producer: dict[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def write(placement: Placement, path: Path) -> list[str]:
    """Write the parts and the manifest.

    Raises
    ------
    UsageError
        When the type of a tensor between two parts cannot be inferred.
    InputError
        When the model is another one.
    """
    plan = read_model(placement)
    tensors = _tensors(plan)
    members = [_with_constants(plan, tensors, part.nodes) for part in plan.parts]
    members[-1] = _with_constant_outputs(plan, tensors, members[-1])
    interfaces = _interfaces(plan, tensors, members)
    entries = []
    for number, (nodes, (inputs, outputs)) in enumerate(zip(members, interfaces, strict=True)):
        name = f"part{number}.onnx"
        _save(plan, _part(plan, tensors, nodes, inputs, outputs), path / name)
        device = placement.label(placement.part_device(plan.parts[number]).index)
        entries.append({"file": name, "device": device, "inputs": inputs, "outputs": outputs})
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": 1,
        "model": Path(str(placement.model)).name,
        "inputs": list(tensors.inputs),
        "outputs": list(tensors.outputs),
        "parts": entries,
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    (path / "manifest.json").write_text(text, encoding="utf-8")
    return _remarks(placement, plan)


def _tensors(plan: OnnxPlan) -> _Tensors:
    import onnx

    graph = plan.model.graph
    try:
        known = onnx.shape_inference.infer_shapes(plan.model, data_prop=True).graph
    except onnx.shape_inference.InferenceError:  # what the model itself says may be enough
        known = graph
    values = {
        name: onnx.helper.make_tensor_value_info(name, kind, None)
        for name, kind in element_types(plan.model).items()
    }
    values |= {v.name: v for v in (*known.value_info, *known.output, *graph.input) if _is_typed(v)}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    sparse = {tensor.values.name: tensor for tensor in graph.sparse_initializer}
    return _Tensors(
        values=values,
        weights=weights,
        sparse=sparse,
        producer={name: i for i, node in enumerate(graph.node) for name in node.output if name},
        inputs=tuple(v.name for v in graph.input if v.name not in weights and v.name not in sparse),
        outputs=tuple(value.name for value in graph.output),
    )


def _is_typed(value: onnx.ValueInfoProto) -> bool:
    """Whether a type says something, and no size is less than none (some exporters write -1)."""
    tensor = value.type.tensor_type
    if value.type.HasField("tensor_type") and not tensor.elem_type:
        return False
    return bool(value.type.WhichOneof("value")) and all(dim.dim_value >= 0 for dim in tensor.shape.dim)


def _with_constants(plan: OnnxPlan, tensors: _Tensors, nodes: Iterable[int]) -> list[int]:
    """Add the operators of constants that some nodes read, directly or not; in the model's order."""
    graph = plan.model.graph
    found = set(nodes)
    open_nodes = list(found)
    while open_nodes:
        for name in reads(graph.node[open_nodes.pop()]):
            i = tensors.producer.get(name, -1)
            if i in plan.constants and i not in found:
                found.add(i)
                open_nodes.append(i)
    return sorted(found)


def _with_constant_outputs(plan: OnnxPlan, tensors: _Tensors, nodes: list[int]) -> list[int]:
    """Add the operators of outputs that are constants: they are given to the last part."""
    constant = {tensors.producer.get(name, -1) for name in tensors.outputs} & plan.constants
    return _with_constants(plan, tensors, {*nodes, *constant})


def _interfaces(
    plan: OnnxPlan, tensors: _Tensors, members: list[list[int]]
) -> list[tuple[list[str], list[str]]]:
    """Find inputs and outputs of each part: what crosses parts, and those of the model."""
    graph = plan.model.graph
    made = [{name for i in nodes for name in graph.node[i].output if name} for nodes in members]
    fixed = tensors.weights.keys() | tensors.sparse.keys()
    read = [
        list(dict.fromkeys(name for i in nodes for name in reads(graph.node[i]) if name not in fixed | own))
        for nodes, own in zip(members, made, strict=True)
    ]
    wanted = set(tensors.outputs).union(*read)
    out = []
    for number, own in enumerate(made):
        # A constant that several parts hold is no output of any; only the last one may owe it to the user.
        given = {
            name
            for name in own & wanted
            if tensors.producer[name] not in plan.constants
            or (number == len(made) - 1 and name in tensors.outputs)
        }
        if number == len(made) - 1:
            given |= set(tensors.outputs) & fixed
        order = [*tensors.outputs, *(name for i in members[number] for name in graph.node[i].output)]
        out.append((read[number], list(dict.fromkeys(name for name in order if name in given))))
    return out


def _part(
    plan: OnnxPlan, tensors: _Tensors, nodes: list[int], inputs: list[str], outputs: list[str]
) -> onnx.ModelProto:
    """Build one sub-model."""
    import onnx

    source = plan.model
    part = onnx.ModelProto()
    part.CopyFrom(_without_graph(source))
    graph = part.graph
    graph.name = f"{source.graph.name} part"
    graph.node.extend(source.graph.node[i] for i in nodes)
    needed = {name for node in graph.node for name in reads(node)} | set(outputs)
    graph.initializer.extend(tensor for name, tensor in tensors.weights.items() if name in needed)
    graph.sparse_initializer.extend(tensor for name, tensor in tensors.sparse.items() if name in needed)
    graph.input.extend(_typed(tensors, name) for name in inputs)
    graph.output.extend(_typed(tensors, name) for name in outputs)
    made = {name for node in graph.node for name in node.output} - set(outputs)
    graph.value_info.extend(tensors.values[name] for name in sorted(made & tensors.values.keys()))
    # Before version 4 every initializer must be an input as well; parts do without.
    part.ir_version = max(part.ir_version, 4)
    return part


def _without_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Everything of a model but its graph: operator sets, functions, metadata."""
    import onnx

    out = onnx.ModelProto()
    out.ir_version = model.ir_version
    out.producer_name = model.producer_name
    out.opset_import.extend(model.opset_import)
    out.functions.extend(model.functions)
    out.metadata_props.extend(model.metadata_props)
    return out


def _typed(tensors: _Tensors, name: str) -> onnx.ValueInfoProto:
    value = tensors.values.get(name)
    if value is None or not value.type.WhichOneof("value"):
        raise UsageError(
            f"onnx-parts cannot express this plan: the type of {name!r}, which passes between parts, "
            "is not known (no shape inference for its operator)"
        )
    return value


def _save(plan: OnnxPlan, part: onnx.ModelProto, path: Path) -> None:
    """Write a part; large weights go to a file beside it."""
    import onnx
    from onnx import external_data_helper

    outside = [t for t in part.graph.initializer if external_data_helper.uses_external_data(t)]
    for tensor in outside:
        read_external(tensor, plan.folder)
    if outside or part.ByteSize() > LARGEST_MESSAGE:
        onnx.save_model(part, str(path), save_as_external_data=True, location=f"{path.stem}.data")
    else:
        path.write_bytes(part.SerializeToString())


def _remarks(placement: Placement, plan: OnnxPlan) -> list[str]:
    remarks = branch_remarks(plan)
    devices = {placement.part_device(part).name for part in plan.parts}
    if len(plan.parts) > len(devices):
        remarks.append(
            f"{len(plan.parts)} parts for {len(devices)} devices: a device runs several, in the order of the "
            "manifest"
        )
    if plan.unlisted:
        remarks.append(f"{plan.unlisted} operators that the plan does not list run where their inputs are")
    return remarks
