"""ONNX models as operators with costs: constants folded into the operators that read them."""

from __future__ import annotations

import os
from collections import ChainMap, Counter
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from placer.errors import InputError
from placer.imports import onnx_attention, onnx_flops
from placer.imports.attention import Attention, check_attention
from placer.imports.model import Kind, Model, Operator, Stash, Value, Weight
from placer.imports.onnx_attention_calls import as_products, slots
from placer.imports.onnx_axes import onnx_axes
from placer.imports.onnx_file import light_model, load_onnx
from placer.imports.onnx_flops import Call, words
from placer.imports.onnx_names import module_of, readable_name
from placer.imports.onnx_shapes.control import CONTROL
from placer.imports.onnx_shapes.element_kinds import format_name, is_float, item_bytes
from placer.imports.onnx_shapes.follow import follow
from placer.imports.onnx_shapes.traced import Step, Trace, first_output, reads, undecided
from placer.imports.precision import check_precision, float_bytes
from placer.instance.origin import Source

__all__ = ["read_onnx"]

STATISTICS = {"BatchNormalization": (3, 4)}
"""Inputs that are running statistics: kept, but not trained."""
NEEDS_OUTPUT = words("Relu LeakyRelu Sigmoid Tanh Softmax LogSoftmax Exp Sqrt Reciprocal Clip")
"""Operators whose gradient follows from their output."""
NEEDS_NOTHING = words("AveragePool GlobalAveragePool ReduceMean ReduceSum Sub Neg Cast Mean Resize Upsample")
"""Operators whose gradient follows from the gradient of their output and shapes."""
QUANTISED = words(
    "QLinearConv QLinearMatMul ConvInteger MatMulInteger DynamicQuantizeLinear QuantizeLinear QGemm",
    "QAttention MatMulIntegerToFloat DynamicQuantizeMatMul DynamicQuantizeLSTM",
)
"""Operators of models that compute in few bits, rather than only store weights in them."""
RANDOM = words("RandomNormal RandomUniform")
"""Operators that read nothing and are no constants."""


def read_onnx(
    path: str | Path,
    *,
    dims: Mapping[str, int] | None = None,
    values: Mapping[str, Sequence[float]] | None = None,
    passes: Mapping[str, int] | None = None,
    external_data: bool = False,
    run: bool = True,
    precision: str | None = None,
    axes: bool = False,
    attention: str | None = None,
) -> Model:
    """Read an ONNX model.

    Parameters
    ----------
    path
        The file, or ``light:NAME`` for a model that comes with the onnx package.
    dims
        Sizes of the inputs' dimensions, by symbol or ``input:axis``.
    values
        Numbers of inputs that sizes or conditions depend on.
    passes
        How often loops run that no number in the model ends, by their first output; ``""`` for all others.
    external_data
        Whether shapes may be read from files beside the model.
    run
        Whether ONNX Runtime, if it is there, may run the model on random inputs, in a process with limits, to
        see shapes that do not follow otherwise.
    precision
        Number format of floating-point tensors; that of the model by default.
    axes
        Whether to find out which dimensions can be divided.
    attention
        ``fused``: one kernel, which keeps no scores and reads no mask and no repeated keys and values;
        ``eager``: products and a softmax; by default as the model has it.

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
    check_attention(attention)
    file = light_model(str(path))
    model, digest = load_onnx(file, external=external_data)
    try:
        trace, notes = follow(model, dims or {}, values or {}, passes or {}, run=run, cost=_trace_flops)
        source = Source("onnx", os.path.basename(file), digest)
        found = _Reader(trace, precision, attention).model(file.stem, source, notes)
        return replace(found, axes=onnx_axes(trace)) if axes else found
    except InputError as error:
        raise error.within(str(path)) from None


def _trace_flops(trace: Trace) -> float:
    """Operations of a branch, to find the costlier one."""
    return sum(o.flops or 0.0 for o in _Reader(trace, None).operators())


class _Reader:
    """Finds what is constant in a graph, then turns the other nodes into operators."""

    def __init__(
        self,
        trace: Trace,
        precision: str | None,
        attention: str | None = None,
        outer: _Reader | None = None,
        prefix: str = "",
    ) -> None:
        self.trace = trace
        self.precision, self.attention = precision, attention
        self.passed: dict[str, Value] = {}  # within attentions that are written out
        self.prefix = prefix
        self.kinds: dict[str, int] = {} if outer is None else outer.kinds  # element types of weights
        self.roots: MutableMapping[str, tuple[str, ...]] = {}  # constant -> weights behind it
        self.weights: MutableMapping[str, Weight] = {}
        self.filled: set[str] = set()  # made of a shape and one number
        if trace.outer is not None:
            around = outer or _Reader(trace.outer, precision)
            self.roots, self.weights = ChainMap({}, around.roots), ChainMap({}, around.weights)
            self.filled |= around.filled
        self.statistics = {
            step.node.input[i]
            for step in trace.steps
            for i in STATISTICS.get(step.node.op_type, ())
            if i < len(step.node.input)
        }
        self.read = {name for step in trace.steps for name in reads(step.node)} | set(trace.outputs)
        self._collect_constants()

    # -- tensors --------------------------------------------------------------------------------

    def known(self, name: str, reader: str) -> tuple[int, ...]:
        """Shape of a tensor, or an error that says what is missing."""
        found = self.trace.find(name).shape
        if found is not None:
            return found
        deciding = undecided(self.trace, name)
        hint = f"; --value {deciding[0]}=N may decide it" if deciding else ""
        around = self.trace
        while around.outer is not None:
            around = around.outer
        hint += around.remark
        raise InputError(
            f"its shape cannot be inferred, and {reader} needs it{hint}", place=f"tensor {name!r}"
        )

    def size(self, name: str, reader: str) -> float:
        """Bytes of a tensor."""
        held = self.trace.find(name)
        if held.elements is not None:
            return sum(prod(t.shape or ()) * self._itemsize(t.kind, name) for t in held.elements)
        return prod(self.known(name, reader)) * self._itemsize(held.kind, name)

    def _itemsize(self, kind: int, name: str) -> float:
        size = item_bytes(kind)
        if size is None:
            raise InputError("its element type is not known", place=f"tensor {name!r}")
        return float_bytes(self.precision, size) if is_float(kind) else size

    def float_type(self, name: str) -> bool:
        """Whether a tensor holds floating-point numbers."""
        held = self.trace.find(name)
        return is_float(held.elements[0].kind if held.elements else held.kind)

    # -- constants ------------------------------------------------------------------------------

    def _collect_constants(self) -> None:
        """Fold what depends on constants alone; its bytes are those of the weights behind it."""
        for name in self.trace.weights:
            self._add_weight(name)
        for step in self.trace.steps:
            node = step.node
            read = list(reads(node))
            produced = [name for name in node.output if name]
            constant = all(name in self.roots for name in read) and node.op_type not in RANDOM
            if not constant and any(self.trace.find(name).value is None for name in produced):
                continue
            if node.op_type == "ConstantOfShape" or not read:
                for name in produced:
                    self._add_weight(name)
                if read:
                    self.filled |= {self.prefix + name for name in produced}
                continue
            behind = tuple(dict.fromkeys(root for name in read for root in self.roots.get(name, ())))
            for name in produced:
                self.roots[name] = behind

    def _add_weight(self, name: str) -> None:
        if self.trace.find(name).elements is not None:  # a sequence that is empty
            self.roots[name] = ()
            return
        elements = prod(self.known(name, "the model"))
        trainable = self.float_type(name) and elements > 1 and name not in self.statistics
        key = self.prefix + name
        self.kinds[key] = self.trace.find(name).kind
        self.weights[key] = Weight(
            names=(key,),
            size_bytes=self.size(name, "the model"),
            elements=elements,
            trainable=trainable,
            tied=trainable
            and len(self.known(name, "")) > 1,  # exporters merge equal vectors, which is no tie
        )
        self.roots[name] = (key,)

    # -- operators ------------------------------------------------------------------------------

    def operators(self) -> list[Operator]:
        """Turn the nodes that compute into operators."""
        steps = [step for step in self.trace.steps if not self._folded(step.node)]
        calls = [onnx_attention.Call(self._operator(step), step.node) for step in steps]
        if self.attention == Attention.FUSED:
            return onnx_attention.as_kernels(calls, self._tensors())
        return [operator for call in calls for operator in self._written(call)]

    def _tensors(self) -> onnx_attention.Tensors:
        return onnx_attention.Tensors(
            rank=lambda name: len(self.known(name, "Softmax")),
            size=self._read_bytes,
            roots=self.roots,
            weights=self.weights,
            filled=frozenset(self.filled),
            outputs=frozenset(self.trace.outputs),
        )

    def _written(self, call: onnx_attention.Call) -> list[Operator]:
        """Write an attention as products and a softmax, if that is asked for."""
        found = slots(call.node) if self.attention == Attention.EAGER else None
        if found is None:
            return [call.operator]
        rule = self._call(call.node)
        steps, values = as_products(call.operator, call.node, found, self._read_bytes, rule)
        self.passed |= values
        return steps

    def model(self, name: str, source: Source, notes: Sequence[str]) -> Model:
        """Make the whole model."""
        operators = self.operators()
        if not operators:
            raise InputError("nothing is left to place: every operator is constant")
        values = {
            key: Value(self.size(key, "the plan"), self.float_type(key))
            for o in operators
            for key in (*o.inputs, *o.outputs)
            if key not in self.passed
        } | self.passed
        used = {key for o in operators for key in o.weights}
        return Model(
            name=name,
            source=source,
            operators=tuple(operators),
            values=values,
            weights={key: w for key, w in self.weights.items() if key in used},
            outputs=tuple(name for name in self.trace.outputs if name in values),
            precision=self.precision or self._own_precision(operators),
            notes=tuple(notes),
        )

    def _folded(self, node: Any) -> bool:
        return all(name in self.roots for name in node.output if name)

    def _own_precision(self, operators: Sequence[Operator]) -> str:
        """Name the format that is computed in: that of most numbers read by products, quantised or not."""
        count: Counter[str] = Counter()
        quantised = any(o.op in QUANTISED for o in operators)
        for o in operators:
            for key in o.weights:
                kind = self.kinds[key]
                if quantised or is_float(kind):
                    count[format_name(kind)] += self.weights[key].elements
        if not count:  # weights of few bits that are made floats before they are used
            made = [o.outputs[0] for o in operators if o.outputs and o.outputs[0] not in self.passed]
            count.update(format_name(self.trace.find(name).kind) for name in made)
        return count.most_common(1)[0][0] if count else "fp32"

    def _operator(self, step: Step) -> Operator:
        node, op = step.node, step.node.op_type
        outputs = [name for name in node.output if name and (self._has_shape(name) or name in self.read)]
        if not outputs:
            raise InputError("nothing reads its output", place=f"operator {first_output(node)!r}")
        read = list(dict.fromkeys(reads(node)))
        weights = tuple(dict.fromkeys(root for name in read for root in self.roots.get(name, ())))
        operator = Operator(
            id=self.trace.name(node),
            name=readable_name(
                node, [w for w in weights if self.weights[w].elements > 1 and self.weights[w].trainable]
            ),
            op=op,
            members=(self.trace.name(node),),
            inputs=tuple(name for name in read if name not in self.roots),
            outputs=tuple(name for name in outputs if name not in self.roots),
            weights=weights,
            flops=None,
            moved_bytes=0.0,
            module=module_of(node, weights),
            kind=_kind(op, read, self.roots),
            stash=_stash(op),
            alias=node.name or None,
        )
        if op in CONTROL:
            return self._with_bodies(operator, step)
        call = self._call(node)
        if op == "Reshape" and prod(call.shape(0)) != call.out:
            raise InputError(
                f"cannot reshape {list(call.shape(0))} to {list(call.outputs[0] or ())}",
                place=f"operator {outputs[0]!r}",
            )
        direct = list(dict.fromkeys(name for name in node.input if name))
        return replace(operator, flops=onnx_flops.flops(call), moved_bytes=self._moved(op, direct, outputs))

    def _call(self, node: Any) -> Call:
        """Find what a rule for operations asks about."""
        from onnx import helper

        reader = f"operator {node.op_type}"
        read = {name for name in node.output if name and (self._has_shape(name) or name in self.read)}
        return Call(
            op=node.op_type,
            inputs=tuple(self.known(name, reader) if name else None for name in node.input),
            outputs=tuple(self.known(name, reader) if name in read else None for name in node.output),
            attributes={a.name: helper.get_attribute_value(a) for a in node.attribute},
            domain=node.domain,
        )

    def _with_bodies(self, operator: Operator, step: Step) -> Operator:
        """Sum what runs inside, as often as it does."""
        flops, moved, kernels, weights = 0.0, 0.0, 0, dict.fromkeys(operator.weights)
        product = False
        for trace, times in step.bodies:
            inner = _Reader(trace, self.precision, self.attention, self, f"{self.prefix}{operator.id}/")
            for o in inner.operators():
                if o.kind is Kind.VIEW:
                    continue
                flops += times * (o.flops or 0.0)
                moved += times * o.moved_bytes
                kernels += times * o.kernels
                product = product or o.kind is Kind.PRODUCT
                weights |= dict.fromkeys(o.weights)
            for key in weights:
                self.weights.setdefault(key, inner.weights[key])
        return replace(
            operator,
            flops=flops,
            moved_bytes=moved,
            kernels=max(kernels, 1),
            weights=tuple(weights),
            kind=Kind.PRODUCT if product else Kind.OTHER,
        )

    def _has_shape(self, name: str) -> bool:
        return self.trace.find(name).shape is not None

    def _moved(self, op: str, read: list[str], outputs: list[str]) -> float:
        """Bytes read and written: look-ups read only what they return, constants what is stored."""
        written = sum(self.size(name, op) for name in outputs)
        if op in onnx_flops.VIEWS:
            return 0.0
        if op in onnx_flops.LOOKUPS or op in ("Slice", "Split", "Expand", "Tile"):
            return 2 * written
        return written + sum(self._read_bytes(name) for name in read)

    def _read_bytes(self, name: str) -> float:
        """Bytes of an input; of weights that are stored in fewer bits, these."""
        size = self.size(name, "an operator")
        behind = self.roots.get(name)
        return min(size, sum(self.weights[key].size_bytes for key in behind)) if behind else size


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
