"""Following a graph operator by operator with what is known of its inputs.

Sizes of inputs are numbers here, so that the arithmetic of shapes becomes numbers too: ONNX's own inference
says the shapes of an operator's outputs (its inputs' numbers at hand where they are known), ONNX's reference
operators compute what depends on known numbers alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from placer.errors import InputError, UsageError
from placer.imports.onnx_shapes.bounds import bounded, check_window
from placer.imports.onnx_shapes.branches import BRANCHES, inlined
from placer.imports.onnx_shapes.constants import evaluate, tensor_value
from placer.imports.onnx_shapes.contrib import STAND_INS, Seen, contributed
from placer.imports.onnx_shapes.control import CONTROL
from placer.imports.onnx_shapes.dims import evaluated, real_inputs
from placer.imports.onnx_shapes.sequences import SEQUENCES
from placer.imports.onnx_shapes.tensors import MAX_VALUE, Dims, Tensor, known_tensor
from placer.imports.onnx_shapes.traced import Step, Trace, first_output

__all__ = ["Tracer"]

STANDARD = ("", "ai.onnx")
MAX_STEPS = 1_000_000
Found = list[tuple[int, Dims | None]]
"""Element type and sizes per output."""


class Tracer:
    """Follows the graph of a model.

    Parameters
    ----------
    model
        The model, its inputs' sizes set.
    dims
        Sizes by symbol, for what the file states about tensors inside.
    values
        Numbers of inputs.
    passes
        How often loops run, by their first output; ``""`` for all others.
    observed
        Shapes of tensors that were seen when the model ran.
    stated
        Whether sizes that the file states of tensors inside hold for these inputs.
    lenient
        Whether what cannot be followed is no error: its outputs are then not known.
    cost
        Cost of what was followed, to compare branches.
    """

    def __init__(
        self,
        model: Any,
        *,
        dims: Mapping[str, int] | None = None,
        values: Mapping[str, Sequence[float]] | None = None,
        passes: Mapping[str, int] | None = None,
        observed: Mapping[str, Dims] | None = None,
        stated: bool = True,
        lenient: bool = False,
        cost: Callable[[Trace], float] = lambda trace: float(len(trace.steps)),
    ) -> None:
        self.model = model
        self.dims = dims or {}
        self.passes = passes or {}
        self.observed = observed or {}
        self.values = values or {}
        self.trust = stated
        self.lenient = lenient
        self.cost = cost
        self.notes: list[str] = []
        self.unfit: list[InputError] = []  # branches that the sizes are not for
        self.steps = 0
        self.versions = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import}
        self.opsets = list({o.domain: o for o in model.opset_import}.values())
        self._schemas: dict[tuple[str, str], Any] = {}
        self._stated: dict[str, Tensor] = {}

    def run(self) -> Trace:
        """Follow the whole model.

        Raises
        ------
        InputError
            When shapes do not fit, or a loop has no end that is known.
        UsageError
            When numbers do not fit an input.
        """
        graph = self.model.graph
        inputs = {info.name: self._from_type(info) for info in real_inputs(graph)}
        for name, numbers in self.values.items():
            inputs[name] = self._given(name, inputs[name], numbers)
        return self.trace(graph, inputs, None)

    def _given(self, name: str, tensor: Tensor, numbers: Sequence[float]) -> Tensor:
        import numpy as np
        from onnx import helper

        shape = tensor.shape or ()
        try:
            array = np.array(numbers).astype(helper.tensor_dtype_to_np_dtype(tensor.kind))
            value = np.full(shape, array[0]) if len(numbers) == 1 else array.reshape(shape)
        except (TypeError, ValueError, KeyError):
            raise UsageError(
                f"--value: {len(numbers)} numbers do not fit the input {name!r} of shape {list(shape)}"
            ) from None
        return Tensor(tensor.kind, shape, value)

    def _from_type(self, info: Any) -> Tensor:
        if info.type.WhichOneof("value") not in ("tensor_type", "sparse_tensor_type"):
            return Tensor()
        tensor = getattr(info.type, info.type.WhichOneof("value"))
        if not tensor.HasField("shape"):
            return Tensor(tensor.elem_type)
        sizes = [
            d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else evaluated(d.dim_param, self.dims)
            for d in tensor.shape.dim
        ]
        return known_tensor(tensor.elem_type, sizes, info.name)

    # -- graphs ---------------------------------------------------------------------------------

    def trace(
        self,
        graph: Any,
        inputs: dict[str, Tensor],
        outer: Trace | None,
        memo: dict[Any, Any] | None = None,
    ) -> Trace:
        """Follow a graph, given its inputs and what is around it.

        Of a graph that is followed again and again, ``memo`` keeps what was inferred.
        """
        trace = Trace(dict(inputs), outputs=tuple(info.name for info in graph.output), outer=outer)
        for info in (*graph.value_info, *graph.output) if self.trust else ():
            if info.name not in self._stated:
                self._stated[info.name] = self._from_type(info)
        self._add_weights(trace, graph)
        queue = deque(graph.node)
        while queue:
            node = queue.popleft()
            self.steps += 1
            if self.steps > MAX_STEPS:
                raise InputError(f"more than {MAX_STEPS} operators run, those of loops counted each time")
            which = self._decided(trace, node)
            if which is not None:
                taken = inlined(node, which, trace.name(node))
                trace.branch_weights += taken.weights
                trace.names |= taken.names
                for tensor in taken.weights:
                    self._add_weight(trace, tensor.name, tensor)
                queue.extendleft(reversed(taken.nodes))
                continue
            read = [trace.find(name) if name else None for name in node.input]
            try:
                step, found = self._remembered(trace, node, read, memo)
            except InputError:
                if not self.lenient:
                    raise
                step, found = Step(node), [Tensor()] * len(node.output)
            trace.steps.append(step)
            trace.tensors.update((name, t) for name, t in zip(node.output, found, strict=False) if name)
        return trace

    def _add_weights(self, trace: Trace, graph: Any) -> None:
        for tensor in graph.initializer:
            self._add_weight(trace, tensor.name, tensor)
        for sparse in graph.sparse_initializer:
            name, held = (
                sparse.values.name,
                known_tensor(sparse.values.data_type, sparse.values.dims, sparse.values.name),
            )
            trace.tensors[name] = held
            trace.weights.append(name)

    def _add_weight(self, trace: Trace, name: str, tensor: Any) -> None:
        trace.tensors[name] = known_tensor(tensor.data_type, tensor.dims, name, tensor_value(tensor))
        trace.weights.append(name)

    def _decided(self, trace: Trace, node: Any) -> str | None:
        """Which branch an ``If`` takes for certain."""
        if node.op_type != "If" or node.domain not in STANDARD:
            return None
        condition = trace.find(node.input[0]).value
        return None if condition is None or condition.size != 1 else BRANCHES[0 if condition.all() else 1]

    # -- operators ------------------------------------------------------------------------------

    def _remembered(
        self, trace: Trace, node: Any, read: list[Tensor | None], memo: dict[Any, Any] | None
    ) -> tuple[Step, list[Tensor]]:
        """Follow an operator, unless the same one was followed on the same shapes and no numbers."""
        if memo is None or any(
            t is not None and (t.value is not None or t.elements is not None) for t in read
        ):
            return self._follow(trace, node, read)
        key = (trace.name(node), *(None if t is None else (t.kind, t.dims) for t in read))
        if node.op_type in CONTROL or not read:
            return self._follow(trace, node, read)
        if key not in memo:
            memo[key] = self._follow(trace, node, read)
        return memo[key][0], memo[key][1]

    def _follow(self, trace: Trace, node: Any, read: list[Tensor | None]) -> tuple[Step, list[Tensor]]:
        if node.domain in STANDARD and node.op_type in CONTROL:
            return CONTROL[node.op_type](self, trace, node, read)
        if node.domain in STANDARD and node.op_type in SEQUENCES:
            try:
                found = SEQUENCES[node.op_type](read, _attributes(node))
            except (LookupError, ValueError):
                found = None
            return Step(node), [Tensor()] if found is None else found if isinstance(found, list) else [found]
        check_window(node, read)
        inferred = self._inferred(node, read)
        inferred += [(0, None)] * (len(node.output) - len(inferred))
        outputs = [
            self._completed(node, read, name, kind, dims)
            for name, (kind, dims) in zip(node.output, inferred, strict=False)
        ]
        for k, value in enumerate(evaluate(node, read, outputs, self.opsets)):
            if value is None or value.size > MAX_VALUE:
                continue
            shape = outputs[k].shape
            if shape is not None and value.size == prod(shape):  # the reference takes a scalar for a vector
                value = value.reshape(shape)
            outputs[k] = Tensor(outputs[k].kind, value.shape, value)
        return Step(node), outputs

    def _completed(
        self, node: Any, read: Sequence[Tensor | None], name: str, kind: int, dims: Dims | None
    ) -> Tensor:
        """Add what was seen, what the file states, and limits, to what was inferred."""
        stated = self._stated.get(name, Tensor())
        kind = kind or stated.kind
        seen = self.observed.get(name)
        if dims is None or None in dims:
            if seen is not None:
                dims = seen
            elif stated.dims is not None and (dims is None or len(dims) == len(stated.dims)):
                dims = tuple(
                    s if d is None else d
                    for d, s in zip(dims or [None] * len(stated.dims), stated.dims, strict=True)
                )
        if dims is None or None in dims:
            most = bounded(node.op_type, read, dims)
            if most is not None and None not in most:
                dims = most
                self.notes.append(
                    f"{node.op_type} {name or first_output(node)!r} counts at its largest size, {list(most)}"
                )
        return known_tensor(kind, dims, name)

    def _inferred(self, node: Any, read: Sequence[Tensor | None]) -> Found:
        if node.op_type in ALIKE:
            node = _renamed(node, ALIKE[node.op_type])
        contributed_here = node.domain not in STANDARD or self._schema("", node.op_type) is None
        if contributed_here and (stand_in := STAND_INS.get(node.op_type)) is not None:
            return self._of_stand_in(node, read, stand_in)
        domain = "" if node.domain == "ai.onnx" else node.domain
        found = [] if self._schema(domain, node.op_type) is None else self._of_schema(node, read)
        if not domain and self._schema("", node.op_type) is not None:
            return found
        kinds = [t.kind if t is not None else 0 for t in read]
        found += [(0, None)] * (len(node.output) - len(found))
        for k, (source, dims) in enumerate(
            contributed(node.op_type, Seen(read, _attributes(node)))[: len(found)]
        ):
            if found[k][1] is None or None in (found[k][1] or ()):
                found[k] = (found[k][0] or (-source if source < 0 else kinds[source]), dims)
        return found

    def _of_stand_in(self, node: Any, read: Sequence[Tensor | None], stand_in: Any) -> Found:
        """Infer a standard operator whose output has the same shape, on floats."""
        from onnx import helper

        schema = self._schema("", stand_in.op)
        used = [i for i in stand_in.inputs if i < len(read) and read[i] is not None]
        attributes = {
            k: v for k, v in _attributes(node).items() if schema is not None and k in schema.attributes
        }
        names = [f"i{i}" for i in used]
        plain = helper.make_node(stand_in.op, names, [first_output(node)], **attributes)
        floats = [Tensor(1 if stand_in.op != "Where" or i else 9, t.dims) for i in used if (t := read[i])]
        found = self._of_schema(plain, floats)
        dims = found[0][1] if found else None
        source = read[stand_in.kind] if 0 <= stand_in.kind < len(read) else None
        return [(1 if source is None else source.kind, dims)]

    def _schema(self, domain: str, op: str) -> Any:
        from onnx import defs

        key = (domain, op)
        if key not in self._schemas:
            version = self.versions.get(domain, 1 if domain else defs.onnx_opset_version())
            try:
                found = defs.get_schema(op, version, domain)
                if found.deprecated and found.since_version > 1:
                    found = defs.get_schema(op, found.since_version - 1, domain)
            except defs.SchemaError:
                found = None
            self._schemas[key] = found
        return self._schemas[key]

    def _of_schema(self, node: Any, read: Sequence[Tensor | None]) -> Found:
        from onnx import TypeProto, numpy_helper, shape_inference

        domain = "" if node.domain == "ai.onnx" else node.domain
        types, data = {}, {}
        for name, tensor in zip(node.input, read, strict=True):
            if tensor is None:
                continue
            if tensor.elements is not None or not tensor.kind:
                return []
            if node.op_type == "Range" and tensor.dims == (1,):  # runtimes take it for a scalar
                tensor = Tensor(tensor.kind, (), None if tensor.value is None else tensor.value.reshape(()))
            types[name] = _type(TypeProto(), tensor)
            if tensor.value is not None and tensor.value.size <= MAX_VALUE:
                data[name] = numpy_helper.from_array(tensor.value, name)
        try:
            found = shape_inference.infer_node_outputs(
                self._schema(domain, node.op_type),
                _explicit(node),
                types,
                data,
                opset_imports=self.opsets,
                ir_version=self.model.ir_version,
            )
        except Exception as error:  # whatever the library raises
            if any(t is not None and t.shape is None for t in read) or node.domain not in STANDARD:
                return []
            first = str(error).strip().splitlines()
            raise InputError(
                f"shapes do not fit: {first[-1] if first else error}",
                place=f"operator {first_output(node)!r}",
            ) from None
        return [_dims(found.get(name)) for name in node.output]


ALIKE = {"GreaterOrEqual": "Greater", "LessOrEqual": "Less"}
"""Operators of whose shapes ONNX's inference knows nothing before opset 16, and such as have the same."""


def _renamed(node: Any, op: str) -> Any:
    out = type(node)()
    out.CopyFrom(node)
    out.op_type = op
    return out


def _explicit(node: Any) -> Any:
    """Write a default into a node that ONNX's inference forgets: real signals have half a spectrum."""
    if node.op_type != "STFT" or any(a.name == "onesided" for a in node.attribute):
        return node
    copy = type(node)()
    copy.CopyFrom(node)
    copy.attribute.add(name="onesided", i=1, type=2)
    return copy


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _type(proto: Any, tensor: Tensor) -> Any:
    proto.tensor_type.elem_type = tensor.kind
    if tensor.dims is not None:
        shape = proto.tensor_type.shape
        shape.SetInParent()
        for size in tensor.dims:
            dim = shape.dim.add()
            if size is not None:
                dim.dim_value = size
    return proto


def _dims(proto: Any) -> tuple[int, Dims | None]:
    if proto is None or not proto.HasField("tensor_type"):
        return 0, None
    tensor = proto.tensor_type
    if not tensor.HasField("shape"):
        return tensor.elem_type, None
    return tensor.elem_type, tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
