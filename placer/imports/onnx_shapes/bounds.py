"""Limits of sizes: the most that an operator can give, and the least that it must be given."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from placer.errors import InputError
from placer.imports.onnx_shapes.tensors import Dims, Tensor
from placer.imports.onnx_shapes.traced import first_output

__all__ = ["bounded", "check_window"]


def bounded(op: str, read: Sequence[Tensor | None], dims: Dims | None) -> Dims | None:
    """Fill unknown sizes of an output with the largest possible ones.

    Parameters
    ----------
    op
        Type of the operator.
    read
        Its inputs.
    dims
        What is known of the output.

    Returns
    -------
    Dims or None
        All sizes, or None where there is no limit.
    """
    shapes = [None if t is None else t.shape for t in read]
    first = shapes[0] if shapes else None
    if first is None:
        return None
    elements = prod(first)
    if op == "NonZero":
        return (len(first), elements)
    if op == "NonMaxSuppression" and len(shapes) > 1 and shapes[1] is not None:
        batch, classes, boxes = shapes[1]
        most = read[2].integer() if len(read) > 2 and read[2] is not None else None
        return (batch * classes * (boxes if most is None else min(most, boxes)), 3)
    if op == "Unique":
        return (elements,) if dims is None or len(dims) != len(first) else _cut(dims, first)
    if op == "Compress" and dims is not None:
        chosen = None if read[1] is None or read[1].value is None else int(read[1].value.sum())
        kept = tuple(chosen if size is None else size for size in dims)
        return (elements if chosen is None else chosen,) if len(dims) != len(first) else _cut(kept, first)
    if op in ("Slice", "TopK", "CenterCropPad", "SequenceAt") and (dims is None or len(dims) == len(first)):
        return first if dims is None else _cut(dims, first)
    return None


def _cut(dims: Dims, full: tuple[int, ...]) -> Dims:
    return tuple(most if size is None else size for size, most in zip(dims, full, strict=True))


POOLS = ("MaxPool", "AveragePool", "LpPool")
WINDOWS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, **dict.fromkeys(POOLS)}
"""Operators that slide a window over their first input, and which input is the kernel."""


def check_window(node: Any, read: Sequence[Tensor | None]) -> None:
    """Refuse inputs that a window does not fit in, which ONNX's own inference lets pass.

    Raises
    ------
    InputError
        Naming both.
    """
    if node.op_type not in WINDOWS or not read or read[0] is None or read[0].shape is None:
        return
    attributes = {a.name: a for a in node.attribute}
    if "auto_pad" in attributes and attributes["auto_pad"].s not in (b"NOTSET", b"VALID", b""):
        return
    at = WINDOWS[node.op_type]
    weight = None if at is None or at >= len(read) or (held := read[at]) is None else held.shape
    stated = attributes.get("kernel_shape")
    kernel = list((weight or ())[2:] if stated is None else stated.ints)
    image = read[0].shape[2:]
    n = len(kernel)
    pads = list(attributes["pads"].ints) if "pads" in attributes else [0] * 2 * n
    spread = list(attributes["dilations"].ints) if "dilations" in attributes else [1] * n
    if not n or len(image) != n or len(pads) != 2 * n or len(spread) != n:
        return
    for k, size in enumerate(image):
        if size + pads[k] + pads[n + k] < spread[k] * (kernel[k] - 1) + 1:
            raise InputError(
                f"shapes do not fit: a kernel of {kernel} in an input of {list(image)}",
                place=f"operator {first_output(node)!r}",
            )
