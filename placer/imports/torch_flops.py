"""Floating-point operations and kinds of PyTorch operators, from shapes alone; a multiply-add counts as two.

Works on what an exported graph says of an operator, without importing torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from placer.imports.model import Kind, Stash
from placer.imports.onnx_flops import PRODUCTS as ONNX_PRODUCTS
from placer.imports.onnx_flops import Call, words

__all__ = ["flops", "kind", "stash"]

Shape = tuple[int, ...]

MATMULS = {"linear": 0, "mm": 0, "bmm": 0, "matmul": 0, "addmm": 1, "baddbmm": 1}
"""Index of the left operand."""
CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "convolution")
TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
ATTENTION = "scaled_dot_product_attention"
PRODUCTS = frozenset((*MATMULS, *CONVOLUTIONS, *TRANSPOSED, *RECURRENT, ATTENTION, "einsum"))

PER_OUTPUT = {
    "layer_norm": 8,
    "native_layer_norm": 8,
    "group_norm": 8,
    "native_group_norm": 8,
    "rms_norm": 8,
    "batch_norm": 2,
    "_native_batch_norm_legit_no_training": 2,
    "softmax": 5,
    "_softmax": 5,
    "log_softmax": 5,
    "_log_softmax": 5,
    "gelu": 8,
    "upsample_nearest2d": 1,
    "upsample_bilinear2d": 8,
    "_to_copy": 1,
}
PER_INPUT = words(
    "mean sum amax amin max min prod any all argmax argmin cumsum logsumexp var std ",
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d",
    "adaptive_max_pool2d",
)
POOLS = words("max_pool2d max_pool2d_with_indices avg_pool2d max_pool1d avg_pool1d max_pool3d avg_pool3d")
MOVES = words(
    "cat stack clone copy index index_select gather embedding constant_pad_nd pad repeat roll flip",
    "arange full zeros ",
    "ones new_zeros new_ones new_full zeros_like ones_like full_like empty scalar_tensor where",
    "lift_fresh_copy tril ",
    "triu select_scatter slice_scatter scatter index_put",
)
NEEDS_OUTPUT = words("relu sigmoid tanh softmax _softmax log_softmax exp sqrt rsqrt")
NEEDS_NOTHING = words("add sub neg mean sum _to_copy avg_pool2d adaptive_avg_pool2d diff")


def flops(
    name: str,
    inputs: Sequence[Shape],
    outputs: Sequence[Shape],
    *,
    pointwise: bool,
    kernel: Shape,
    equation: str,
) -> float | None:
    """Floating-point operations; None when there is no rule.

    Parameters
    ----------
    name
        Name of the operator without namespace and overload.
    inputs, outputs
        Shapes of the tensors read and produced.
    pointwise
        Whether torch marks it as elementwise.
    kernel
        Kernel size of a pooling.
    equation
        Equation of an einsum.
    """
    out = prod(outputs[0]) if outputs else 0
    if name in MATMULS:
        bias = name in ("addmm", "baddbmm") or (name == "linear" and len(inputs) > 2)
        return 2.0 * out * inputs[MATMULS[name]][-1] + out * bias
    if name in CONVOLUTIONS:
        return 2.0 * out * prod(inputs[1][1:]) + out * (len(inputs) > 2)
    if name in TRANSPOSED:
        return 2.0 * prod(inputs[0]) * prod(inputs[1][1:]) + out * (len(inputs) > 2)
    if name in RECURRENT:
        steps = prod(inputs[0][:-1])
        return 2.0 * steps * sum(prod(shape) for shape in inputs[1:] if len(shape) == 2)
    if name == ATTENTION:
        q, k, v = inputs[:3]
        return 2.0 * prod(q[:-1]) * k[-2] * (q[-1] + v[-1])
    if name == "einsum":
        return ONNX_PRODUCTS["Einsum"](Call("Einsum", tuple(inputs), tuple(outputs), {"equation": equation}))
    if name in PER_OUTPUT:
        return float(PER_OUTPUT[name] * out)
    if name in PER_INPUT:
        return float(prod(inputs[0])) if inputs else 0.0
    if name in POOLS:
        return float(out * prod(kernel))
    if name in MOVES:
        return 0.0
    return float(out) if pointwise else None


def kind(name: str, *, view: bool) -> Kind:
    """Say what an operator does."""
    if name in PRODUCTS:
        return Kind.PRODUCT
    if view:
        return Kind.VIEW
    if name == "embedding":
        return Kind.LOOKUP
    return Kind.SUM if name == "add" else Kind.OTHER


def stash(name: str, *, view: bool) -> Stash:
    """Say what an operator keeps for its backward pass."""
    if name in NEEDS_OUTPUT:
        return Stash.OUTPUT
    return Stash.NOTHING if view or name in MOVES or name in NEEDS_NOTHING else Stash.INPUTS
