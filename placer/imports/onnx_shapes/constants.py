"""Computing what depends on known numbers alone: the arithmetic of shapes, by ONNX's reference operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from placer.imports.onnx_shapes.tensors import MAX_VALUE, Tensor

__all__ = ["evaluate", "tensor_value"]

NAMES = """
    Abs Add And ArgMax ArgMin Cast CastLike Ceil Clip Compress Concat Constant ConstantOfShape CumSum
    Div Equal Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Greater GreaterOrEqual
    Identity IsInf IsNaN Less LessOrEqual Log Max Mean Min Mod Mul Neg NonZero Not OneHot Or Pad Pow
    Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape
    Round ScatterElements ScatterND Sign Slice Split Sqrt Squeeze Sub Sum Tile TopK Transpose Trilu
    Unique Unsqueeze Where Xor
"""
EVALUATED = frozenset(NAMES.split())
"""Cheap operators that shapes are computed with: their work grows with what they read and write."""


def tensor_value(tensor: Any) -> Any:
    """Numbers of a small tensor of a file, as an array; None for a large one, one elsewhere, or text."""
    from onnx import TensorProto, numpy_helper

    elements = 1
    for size in tensor.dims:
        elements *= size
    if elements > MAX_VALUE or tensor.data_location == TensorProto.EXTERNAL:
        return None
    if tensor.data_type in (TensorProto.STRING, TensorProto.UNDEFINED):
        return None
    try:
        return numpy_helper.to_array(tensor)
    except Exception:  # damaged numbers: what needs them will say that it cannot be known
        return None


def evaluate(
    node: Any, read: Sequence[Tensor | None], outputs: Sequence[Tensor], opsets: Any
) -> Sequence[Any]:
    """Compute the outputs of an operator whose inputs are known.

    Parameters
    ----------
    node
        The operator.
    read
        Its inputs; None for one that is left out.
    outputs
        What is known of its outputs.
    opsets
        Versions of the operators, as a model imports them.

    Returns
    -------
    Sequence
        An array or None per output; nothing at all if it is not for this module, or fails.
    """
    if node.op_type in ("Shape", "Size"):
        return _measured(node, read[0] if read else None)
    if node.op_type not in EVALUATED or node.domain not in ("", "ai.onnx"):
        return ()
    if any(t is not None and t.value is None for t in read) or not _small(node, read, outputs):
        return ()
    names = [f"i{k}" if t is not None else "" for k, t in enumerate(read)]
    return _run(node, {n: t.value for n, t in zip(names, read, strict=True) if t is not None}, names, opsets)


def _small(node: Any, read: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> bool:
    """Whether the result is; only of some operators, how large it is depends on their inputs' numbers."""
    if node.op_type in ("NonZero", "Unique", "Compress"):
        return True
    shapes = [t.shape for t in outputs]
    return all(s is not None and _elements(s) <= MAX_VALUE for s in shapes)


def _elements(shape: Sequence[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _measured(node: Any, tensor: Tensor | None) -> Sequence[Any]:
    import numpy as np

    if tensor is None or tensor.dims is None or tensor.elements is not None:
        return ()
    attributes = {a.name: a.i for a in node.attribute}
    if node.op_type == "Size":
        return () if tensor.shape is None else (np.array(_elements(tensor.shape), np.int64),)
    sizes = tensor.dims[attributes.get("start", 0) : attributes.get("end")]
    return () if any(size is None for size in sizes) else (np.array(sizes, np.int64),)


def _run(node: Any, values: dict[str, Any], names: Sequence[str], opsets: Any) -> Sequence[Any]:
    import warnings

    import numpy as np
    from onnx import NodeProto, TypeProto, helper
    from onnx.reference import ReferenceEvaluator

    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.input[:]
    copy.input.extend(names)
    kept = [name for name in copy.output if name]
    graph = helper.make_graph(
        [copy],
        "one",
        [helper.make_value_info(n, TypeProto()) for n in values],
        [helper.make_value_info(n, TypeProto()) for n in kept],
    )
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = helper.make_model(graph, opset_imports=opsets)
            found = dict(zip(kept, ReferenceEvaluator(model).run(None, values), strict=True))
    except Exception:  # what it cannot do is not known, whatever it raises
        return ()
    return [
        found.get(name) if isinstance(found.get(name), np.ndarray | np.generic) else None
        for name in node.output
    ]
