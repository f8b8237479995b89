"""ONNX models as operators with costs: constants folded into the operators that read them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from itertools import takewhile
from math import prod
from pathlib import Path
from typing import Any

from placer.errors import InputError
from placer.imports import onnx_flops
from placer.imports.model import Kind, Model, Operator, Stash, Value, Weight
from placer.imports.onnx_file import light_model, load_onnx
from placer.imports.onnx_flops import Call, words
from placer.imports.precision import check_precision, float_bytes
from placer.instance.origin import Source

__all__ = ["read_onnx"]

MAX_ELEMENTS = 2**50

STATISTICS = {"BatchNormalization": (3, 4)}
"""Inputs that are running statistics: kept, but not trained."""
NEEDS_OUTPUT = words("Relu LeakyRelu Sigmoid Tanh Softmax LogSoftmax Exp Sqrt Reciprocal Clip")
"""Operators whose gradient follows from their output."""
NEEDS_NOTHING = words("AveragePool GlobalAveragePool ReduceMean ReduceSum Sub Neg Cast Mean Resize Upsample")
"""Operators whose gradient follows from the gradient of their output and shapes."""
WEIGHT_SUFFIX = re.compile(
    r"[._/]?(?:weight|bias|scale|gamma|beta|running_mean|running_var|[wbsm])?(?:_\d+)?$"
)


def read_onnx(
    path: str | Path, *, dims: Mapping[str, int] | None = None, precision: str | None = None
) -> Model:
    """Read an ONNX model.

    Parameters
    ----------
    path
        The file, or ``light:NAME`` for a model that comes with the onnx package.
    dims
        Values of symbolic dimensions by name, or of ``input:axis``.
    precision
        Number format of floating-point tensors; that of the model by default.

    Returns
    -------
    Model
        One operator per node that computes: what depends on constants alone is folded.

    Raises
    ------
    InputError
        When it is no ONNX model, or holds what cannot be planned.
    UsageError
        When an option does not fit, or onnx is not installed.
    """
    check_precision(precision)
    file = light_model(str(path))
    loaded, digest = load_onnx(file, dims or {})
    try:
        return _Reader(loaded, precision).model(
            file.stem,
            Source("onnx", os.path.basename(file), digest),
            [f"{k} = {v}" for k, v in (dims or {}).items()],
        )
    except InputError as error:
        raise error.within(str(path)) from None


class _Reader:
    """Collects what is constant, then turns the other nodes into operators."""

    def __init__(self, loaded: Any, precision: str | None) -> None:
        from onnx import TensorProto, helper

        self.graph = loaded.graph
        self.helper = helper
        self.floats = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
        self.type: dict[str, int] = {}
        self.shape: dict[str, tuple[int, ...]] = {}
        self.unknown: dict[str, str] = {}
        self.precision = precision
        self.roots: dict[str, tuple[str, ...]] = {}  # constant -> weights behind it
        self.weights: dict[str, Weight] = {}
        self._collect_shapes()
        self.statistics = {
            node.input[i]
            for node in self.graph.node
            for i in STATISTICS.get(node.op_type, ())
            if i < len(node.input)
        }
        self.read = {name for node in self.graph.node for name in node.input}
        self.read |= {info.name for info in self.graph.output}
        self._collect_constants()

    # -- tensors --------------------------------------------------------------------------------

    def _collect_shapes(self) -> None:
        for info in (*self.graph.value_info, *self.graph.output, *self.graph.input):
            if info.type.HasField("tensor_type") and info.type.tensor_type.HasField("shape"):
                tensor = info.type.tensor_type
                self._state(info.name, tensor.elem_type, tensor.shape.dim)
        for tensor in self.graph.initializer:
            self.type[tensor.name], self.shape[tensor.name] = tensor.data_type, tuple(tensor.dims)
        for sparse in self.graph.sparse_initializer:
            name = sparse.values.name
            self.type[name], self.shape[name] = sparse.values.data_type, tuple(sparse.values.dims)

    def _state(self, name: str, kind: int, dims: Any) -> None:
        self.type[name] = kind
        open_dims = [d for d in dims if not d.HasField("dim_value")]
        if open_dims:
            self.unknown[name] = next((d.dim_param for d in open_dims if d.dim_param), "")
            return
        shape = tuple(d.dim_value for d in dims)
        if any(size < 0 for size in shape) or prod(shape) > MAX_ELEMENTS:
            raise InputError(f"impossible shape {list(shape)}", place=f"tensor {name!r}")
        self.shape[name] = shape
        self.unknown.pop(name, None)

    def known(self, name: str, reader: str) -> tuple[int, ...]:
        """Shape of a tensor, or an error that says what is missing."""
        if name in self.shape:
            return self.shape[name]
        symbol = self.unknown.get(name, "")
        if symbol and not symbol.startswith("unk__"):
            rule = f"dimension {symbol!r} has no value; set it with --dim {symbol}=N"
        else:
            rule = f"its shape cannot be inferred, and {reader} needs it"
        raise InputError(rule, place=f"tensor {name!r}")

    def itemsize(self, name: str) -> float:
        """Bytes per element."""
        kind = self.type.get(name, 0)
        try:
            size = float(self.helper.tensor_dtype_to_np_dtype(kind).itemsize)
        except (KeyError, TypeError, ValueError):
            raise InputError("its element type is not known", place=f"tensor {name!r}") from None
        return float_bytes(self.precision, size) if kind in self.floats else size

    def size(self, name: str, reader: str) -> float:
        """Bytes of a tensor."""
        return prod(self.known(name, reader)) * self.itemsize(name)

    # -- constants ------------------------------------------------------------------------------

    def _collect_constants(self) -> None:
        """Fold what depends on constants alone; its bytes are those of the weights behind it."""
        stored = [t.name for t in self.graph.initializer]
        stored += [t.values.name for t in self.graph.sparse_initializer]
        for name in stored:
            self._add_weight(name)
        static = {"Shape", "Size"}
        for node in self.graph.node:
            read = [name for name in node.input if name]
            constant = all(name in self.roots for name in read)
            if not constant and not (node.op_type in static and all(n in self.shape for n in read)):
                continue
            produced = [name for name in node.output if name]
            if node.op_type == "ConstantOfShape" or not read:
                for name in produced:
                    self._add_weight(name)
                continue
            behind = tuple(dict.fromkeys(root for name in read for root in self.roots.get(name, ())))
            for name in produced:
                self.roots[name] = behind

    def _add_weight(self, name: str) -> None:
        shape = self.known(name, "the model")
        elements = prod(shape)
        trainable = self.type[name] in self.floats and elements > 1 and name not in self.statistics
        self.weights[name] = Weight(
            names=(name,),
            size_bytes=self.size(name, "the model"),
            elements=elements,
            trainable=trainable,
            tied=trainable and len(shape) > 1,  # exporters merge equal vectors, which is no tie
        )
        self.roots[name] = (name,)

    # -- operators ------------------------------------------------------------------------------

    def model(self, name: str, source: Source, dims: list[str]) -> Model:
        """Turn the nodes that compute into operators."""
        operators = [self._operator(node) for node in self.graph.node if not self._folded(node)]
        if not operators:
            raise InputError("nothing is left to place: every operator is constant")
        values = {
            key: Value(self.size(key, "the plan"), self.type.get(key, 0) in self.floats)
            for o in operators
            for key in (*o.inputs, *o.outputs)
        }
        used = {key for o in operators for key in o.weights}
        return Model(
            name=name,
            source=source,
            operators=tuple(operators),
            values=values,
            weights={key: w for key, w in self.weights.items() if key in used},
            outputs=tuple(o.name for o in self.graph.output if o.name in values),
            precision=self.precision or self._own_precision(used),
            notes=tuple(f"dimension {setting}" for setting in dims),
        )

    def _folded(self, node: Any) -> bool:
        return all(name in self.roots for name in node.output if name)

    def _own_precision(self, used: set[str]) -> str:
        """Name the format that most weights have."""
        names = {1: "fp32", 10: "fp16", 16: "bf16", 11: "fp32", 2: "int8", 3: "int8"}
        count: Counter[str] = Counter()
        for key in used:
            count[names.get(self.type[key], "fp32")] += self.weights[key].elements
        return count.most_common(1)[0][0] if count else "fp32"

    def _operator(self, node: Any) -> Operator:
        op = node.op_type
        reader = f"operator {op}"
        outputs = [name for name in node.output if name and (name in self.shape or name in self.read)]
        if not outputs:
            raise InputError("nothing reads its output", place=f"operator {next(iter(node.output), '')!r}")
        read = [name for name in node.input if name]
        call = Call(
            op=op,
            inputs=tuple(self.known(name, reader) if name else None for name in node.input),
            outputs=tuple(self.known(name, reader) if name in outputs else None for name in node.output),
            attributes={a.name: self.helper.get_attribute_value(a) for a in node.attribute},
        )
        if op == "Reshape" and prod(call.shape(0)) != call.out:
            raise InputError(
                f"cannot reshape {list(call.shape(0))} to {list(call.outputs[0] or ())}",
                place=f"operator {outputs[0]!r}",
            )
        weights = tuple(dict.fromkeys(root for name in read for root in self.roots.get(name, ())))
        return Operator(
            id=outputs[0],
            name=_readable(
                node, [w for w in weights if self.weights[w].elements > 1 and self.weights[w].trainable]
            ),
            op=op,
            members=(outputs[0],),
            inputs=tuple(dict.fromkeys(name for name in read if name not in self.roots)),
            outputs=tuple(name for name in outputs if name not in self.roots),
            weights=weights,
            flops=onnx_flops.flops(call),
            moved_bytes=self._moved(op, read, outputs),
            module=_module(node, weights),
            kind=_kind(op, read, self.roots),
            stash=_stash(op),
            alias=node.name or None,
        )

    def _moved(self, op: str, read: list[str], outputs: list[str]) -> float:
        """Bytes read and written; look-ups and slices read only what they return."""
        written = sum(self.size(name, op) for name in outputs)
        if op in onnx_flops.VIEWS:
            return 0.0
        if op in onnx_flops.LOOKUPS or op in ("Slice", "Split", "Expand", "Tile"):
            return 2 * written
        return written + sum(self.size(name, op) for name in read)


def _kind(op: str, read: list[str], constants: Mapping[str, tuple[str, ...]]) -> Kind:
    if op in onnx_flops.PRODUCTS:
        return Kind.PRODUCT
    if op in onnx_flops.VIEWS:
        return Kind.VIEW
    if op in onnx_flops.LOOKUPS and read and read[0] in constants:
        return Kind.LOOKUP
    return Kind.SUM if op in onnx_flops.SUMS else Kind.OTHER


def _stash(op: str) -> Stash:
    if op in NEEDS_OUTPUT:
        return Stash.OUTPUT
    quiet = op in onnx_flops.VIEWS or op in onnx_flops.MOVES or op in onnx_flops.SUMS or op in NEEDS_NOTHING
    return Stash.NOTHING if quiet else Stash.INPUTS


def _module(node: Any, weights: tuple[str, ...]) -> str | None:
    """Find the module in the node's name (``/layer.0/Add``) or its weights' (``layer.0.fc.weight``)."""
    parts = [part for part in node.name.split("/") if part]
    if node.name.startswith("/") and len(parts) > 1:
        return ".".join(parts[:-1])
    dotted = [w.rpartition(".")[0] for w in weights if w.count(".") > 1]
    return dotted[0] if dotted else None


def _readable(node: Any, weights: list[str]) -> str:
    """Name for people: that of the weights where the node's says nothing."""
    if "/" in node.name or not weights:
        return str(node.name or node.output[0])
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*weights, strict=False))
    common = "".join(letters[0] for letters in same)
    stem = WEIGHT_SUFFIX.sub("", common)
    return f"{stem} {node.op_type}" if len(stem) > 2 else str(node.name or node.output[0])
