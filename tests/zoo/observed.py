"""An ONNX model as it runs: what ONNX Runtime's profile says of every operator that ran.

Shapes, branches and passes of loops are those of the run, and nothing of the importer counts them: products
by the rules of this file, from the shapes of the profile, parameters from the constants that what ran reads.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from math import isqrt, prod
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Observed", "feeds", "observe", "session"]

STATISTICS = {"BatchNormalization": (3, 4)}
FLOATS = {"FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"}
MATMULS = {"MatMul", "MatMulInteger", "FusedMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"}
WIDTHS = {"float": 4, "double": 8, "float16": 2, "bfloat16": 2, "bool": 1} | {
    f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)
}
"""Bytes of a number, by the profile's names."""
WEIGHT = {"QLinearConv": 3}
"""Which input of a convolution is its kernel, where it is not the second."""


@dataclasses.dataclass
class Observed:
    """What ran.

    Parameters
    ----------
    products
        Operations of matrix products, convolutions and recurrences; a multiply-add is two, biases left out.
    biases
        One per output element of a convolution that has a bias.
    unknown
        Types of product-like operators without a rule here.
    parameters
        Numbers in floating-point constants that were read, statistics left out.
    sizes
        Bytes of each tensor of the graph itself that was computed; strings left out.
    outputs
        What the model returned.
    """

    products: float
    biases: float
    unknown: set[str]
    parameters: int
    sizes: dict[str, int]
    outputs: list[Any]


def session(model: Path | bytes, *, plain: bool = False, profile: str = "") -> Any:
    """Open a model in ONNX Runtime, with one thread; ``plain`` leaves the graph as it is."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if profile:
        options.enable_profiling = True
        options.add_session_config_entry("session.disable_prepacking", "1")  # or weights have no shapes there
        options.profile_file_prefix = profile
    source = str(model) if isinstance(model, Path) else model
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def feeds(run: Any, dims: dict[str, int], values: dict[str, Any]) -> dict[str, Any]:
    """Make an input of the given sizes for each that the model asks for."""
    rng = np.random.default_rng(0)
    out = {}
    for info in run.get_inputs():
        shape = [_size(info.name, axis, size, dims) for axis, size in enumerate(info.shape)]
        element = info.type.removeprefix("tensor(").removesuffix(")")
        kind = {"float": "float32", "double": "float64", "string": "str"}.get(element, element)
        if info.name in values:
            out[info.name] = np.array(values[info.name]).astype(kind).reshape(shape)
        elif kind.startswith("float"):
            out[info.name] = rng.standard_normal(shape).astype(kind)
        else:
            out[info.name] = np.ones(shape).astype(kind)
    return out


def _size(name: str, axis: int, size: Any, dims: dict[str, int]) -> int:
    for key in (size if isinstance(size, str) else None, f"{name}.{axis}"):
        if key in dims:
            return dims[key]
    if isinstance(size, str):  # a sum of other symbols
        known = {re.sub(r"\W", "_", key): number for key, number in dims.items()}
        return int(eval(size, {"__builtins__": {}}, known))
    return int(size)


def observe(path: Path, dims: dict[str, int], values: dict[str, Any]) -> Observed:
    """Run a model once, operator by operator as it is written, and count."""
    import onnx
    from onnx import inliner

    model = onnx.load(path)
    if model.functions:
        model = inliner.inline_local_functions(model)
    nodes = dict(_numbered(model.graph))
    with tempfile.TemporaryDirectory() as scratch:
        run = session(model.SerializeToString(), plain=True, profile=str(Path(scratch, "p")))
        given = feeds(run, dims, values)
        outputs = run.run(None, given)
        events = json.loads(Path(run.end_profiling()).read_text())
    return _counted(model.graph, nodes, list(_ran(events)), outputs)


def _numbered(graph: Any, level: int = 0, counter: list[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Give each node, inner graphs included, a name of its own."""
    counter = counter if counter is not None else [0]
    for node in graph.node:
        node.name = f"zoo{counter[0]}_{level}"
        counter[0] += 1
        yield node.name, node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _numbered(inner, level + 1, counter)


def _ran(events: list[Any]) -> Iterator[tuple[str, str, list[Any], list[Any], list[int]]]:
    """Name, type, shapes read and written, and bytes written, of every kernel that ran."""
    for event in events:
        name = event.get("name", "")
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            seen = event["args"]
            shapes = [
                [tuple(shape) for described in seen.get(key, []) for shape in described.values()]
                for key in ("input_type_shape", "output_type_shape")
            ]
            written = [
                prod(shape) * WIDTHS.get(kind, 0)
                for described in seen.get("output_type_shape", [])
                for kind, shape in described.items()
            ]
            yield name.removesuffix("_kernel_time"), seen["op_name"], *shapes, written


def _counted(graph: Any, nodes: dict[str, Any], ran: list[Any], outputs: list[Any]) -> Observed:
    products, biases, sizes = 0.0, 0.0, {}
    unknown: Counter[str] = Counter()
    constant = _constant(graph)
    for name, op, read, written, held in ran:
        node = nodes.get(name)
        if name in constant:
            continue
        product, bias = _product(op, node, read, written)
        if product is None:
            unknown[op] += 1
        products, biases = products + (product or 0.0), biases + bias
        names = [output for output in node.output if output] if node is not None else []
        if name.endswith("_0") and len(names) == len(held):
            sizes |= dict(zip(names, held, strict=True))
    parameters = _parameters(graph, {name: _elements(written, held) for name, _, _, written, held in ran})
    return Observed(products, biases, set(unknown), parameters, sizes, outputs)


def _product(op: str, node: Any, read: list[Any], written: list[Any]) -> tuple[float | None, float]:
    """Operations of a product and of its bias; None where there is no rule."""
    if op in MATMULS:
        return 2.0 * prod(written[0]) * _inner(op, node, read), 0.0
    if op == "Gemm":  # |A| |B| / |C| is the square of the inner size, however they are transposed
        inner = isqrt(prod(read[0]) * prod(read[1]) // max(prod(written[0]), 1))
        return 2.0 * prod(written[0]) * inner, float(prod(written[0]) * (len(read) > 2))
    if op in ("Conv", "ConvInteger", "QLinearConv", "FusedConv", "NhwcConv"):
        kernel, least = read[WEIGHT.get(op, 1)], 9 if op == "QLinearConv" else 3
        bias = op != "ConvInteger" and len(read) >= least
        return 2.0 * prod(written[0]) * prod(kernel[1:]), float(prod(written[0]) * bias)
    if op == "ConvTranspose":
        return 2.0 * prod(read[0]) * prod(read[1][1:]), float(prod(written[0]) * (len(read) > 2))
    if op in ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"):
        steps = prod(read[0][:2])
        return 2.0 * steps * (prod(read[1]) + prod(read[2])), 0.0
    if op == "Einsum":
        return _einsum(node, read)
    return (None if "Attention" in op or "MatMul" in op or "Gemm" in op else 0.0), 0.0


def _inner(op: str, node: Any, read: list[Any]) -> int:
    """Size that a matrix product sums over."""
    transposed = op == "FusedMatMul" and any(a.name == "transA" and a.i for a in node.attribute)
    return int(read[0][-2 if transposed and len(read[0]) > 1 else -1])


def _einsum(node: Any, read: list[Any]) -> tuple[float | None, float]:
    """Two operands without an ellipsis: a multiply-add for each combination of indices."""
    equation = next(a.s.decode() for a in node.attribute if a.name == "equation").replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    if "." in equation or len(terms) != 2:
        return None, 0.0
    sizes = {
        letter: size
        for term, shape in zip(terms, read, strict=True)
        for letter, size in zip(term, shape, strict=True)
    }
    return 2.0 * prod(sizes.values()), 0.0


def _constant(graph: Any) -> set[str]:
    """Nodes of the graph itself that depend on constants and on sizes alone."""
    known = {tensor.name for tensor in graph.initializer} | {""}
    found = set()
    for node in graph.node:
        inside = any(a.HasField("g") or a.graphs for a in node.attribute)
        if node.op_type == "Shape" or not (inside or set(node.input) - known or "Random" in node.op_type):
            known |= set(node.output)
            found.add(node.name)
    return found


def _elements(written: list[Any], held: list[int]) -> int:
    """Numbers in an operator's first output; only floats of four bytes are made on the way."""
    return prod(written[0]) if written and held and held[0] == 4 * prod(written[0]) else 0


@dataclasses.dataclass
class _Constant:
    elements: int
    read: bool = False


def _parameters(graph: Any, ran: dict[str, int]) -> int:
    """Numbers in the floating-point constants that some operator that ran reads."""
    total = 0
    statistics: set[str] = set()

    def walk(inner: Any, around: dict[str, _Constant]) -> None:
        nonlocal total
        own = {tensor.name: _Constant(_floats(tensor)) for tensor in inner.initializer}
        for node in inner.node:
            if node.op_type == "Constant":
                own[node.output[0]] = _Constant(
                    sum(_floats(a.t) for a in node.attribute if a.name == "value")
                )
            elif node.op_type == "ConstantOfShape":
                own[node.output[0]] = _Constant(ran.get(node.name, 0))
        known = around | own
        for node in inner.node:
            if node.name in ran:
                statistics.update(np.take(node.input, STATISTICS.get(node.op_type, [])))
                for name in node.input:
                    if name in known:
                        known[name].read = True
            for attribute in node.attribute:
                for body in (attribute.g, *attribute.graphs):
                    walk(body, known)
        total += sum(c.elements for name, c in own.items() if c.read and name not in statistics)

    walk(graph, {})
    return total


def _floats(tensor: Any) -> int:
    """Numbers of a floating-point tensor that has several."""
    from onnx import TensorProto

    size = prod(tensor.dims)
    return size if size > 1 and TensorProto.DataType.Name(tensor.data_type) in FLOATS else 0
