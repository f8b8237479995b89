"""Matrix products, convolutions, attention and recurrences of PyTorch, in every form that an export has.

The rules are by name and shape; a multiply-add counts as two.  Attention counts every pair of query and key,
whatever the mask, as torch's own counter does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod

from placer.imports.onnx_flops import contraction, words
from placer.imports.torch_call import Call, Shape

__all__ = ["flops", "rows_share"]

LEFT = {
    **dict.fromkeys(
        words(
            "linear mm bmm matmul _int_mm _scaled_mm _scaled_mm_v2 _weight_int8pack_mm",
            "_weight_int4pack_mm mv",
            "_weight_int4pack_mm_for_cpu _weight_int4pack_mm_with_scales_and_zeros",
            "_dyn_quant_matmul_4bit inner",
            "_mixed_dtypes_linear _sparse_semi_structured_linear _sparse_semi_structured_mm mkldnn_linear",
            "dot vdot",
            "linalg_matmul _linear_pointwise",
        ),
        0,
    ),
    **dict.fromkeys(words("addmm baddbmm _addmm_activation addmv _sparse_semi_structured_addmm"), 1),
}
"""Products whose output sums over the last dimension of this operand."""
ADDS = words("addmm baddbmm _addmm_activation addmv addbmm addr")
"""Products that add another operand to each output."""
CONVOLUTIONS = words(
    "conv1d conv2d conv3d convolution _convolution convolution_overrideable",
    "cudnn_convolution miopen_convolution",
    "mkldnn_convolution _slow_conv2d_forward slow_conv3d slow_conv3d_forward thnn_conv2d _conv_depthwise2d",
    "conv_depthwise3d slow_conv_dilated2d slow_conv_dilated3d deform_conv2d cudnn_convolution_relu",
    "cudnn_convolution_add_relu _convolution_pointwise miopen_depthwise_convolution",
)
TRANSPOSED = words(
    "conv_transpose1d conv_transpose2d conv_transpose3d slow_conv_transpose2d slow_conv_transpose3d"
)
RECURRENT = words(
    "lstm gru rnn_tanh rnn_relu _cudnn_rnn miopen_rnn mkldnn_rnn_layer quantized_lstm quantized_gru"
)
CELLS = words("lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell")
GROUPED = words(
    "_grouped_mm grouped_mm grouped_mm_fallback _scaled_grouped_mm _scaled_grouped_mm_v2 grouped_gemm"
)
FOREIGN = re.compile(r"(?:^|_)(?:gemm|gemv|[bq]?mm|matmul|linear|gmm)(?:_|\d|$)")
"""Operators of other libraries that are called products."""


def flops(call: Call) -> float | None:
    """Floating-point operations of a product; None when the operator is none that is known.

    Parameters
    ----------
    call
        The operator and its arguments.
    """
    rule = _rule(call)
    if rule is None:
        return None
    try:
        return rule(call)
    except (IndexError, KeyError, ValueError):
        return None  # not the shapes that such an operator has: as one without a rule


def rows_share(call: Call) -> float:
    """Share of the experts that are read: each row goes to one of them, and few rows reach few experts."""
    if call.name not in GROUPED or len(call.tensors) < 2 or len(call.tensors[1]) != 3:
        return 1.0
    rows, experts = call.tensors[0], call.tensors[1][0]
    return min(1.0, rows[0] / experts) if len(rows) == 2 and experts else 1.0


def _rule(call: Call) -> Callable[[Call], float] | None:
    name = call.name
    if name in LEFT:
        return _last_dimension
    if name in GROUPED:
        return _grouped
    if name in CONVOLUTIONS:
        return _convolution
    if name in TRANSPOSED:
        return _transposed
    if name in RECURRENT:
        return _recurrent
    if name in CELLS:
        return _cell
    if "attention" in name and {"query", "key", "value"} <= call.named.keys():
        return _fused_attention if name == "_native_multi_head_attention" else _attention
    if call.foreign and FOREIGN.search(name):
        return _foreign
    return RULES.get(name)


def _last_dimension(call: Call) -> float:
    left = call.tensors[LEFT[call.name]]
    bias = call.name in ADDS or (call.name == "linear" and "bias" in call.named)
    return 2.0 * call.out * left[-1] + call.out * bias


def _grouped(call: Call) -> float:
    """Each row of the left operand meets the matrix of its own group; or groups share the summed dimension.

    Rows by matrices ``(m, k) (g, k, n) -> (m, n)``, matrices by columns ``(g, m, k) (k, n) -> (m, n)``,
    batches ``(g, m, k) (g, k, n) -> (g, m, n)``; slices of what is summed ``(m, k) (k, n) -> (g, m, n)``.
    """
    a, b = call.tensors[:2]
    if len(a) == 2 and len(b) == 2:
        return 2.0 * prod(a) * b[-1]
    return 2.0 * call.out * a[-1]


def _convolution(call: Call) -> float:
    """Each output element sums over the kernel and the input channels of its group."""
    if call.values.get("transposed"):
        return _transposed(call)
    return 2.0 * call.out * prod(call.tensors[1][1:]) + call.out * ("bias" in call.named)


def _transposed(call: Call) -> float:
    """Each input element is spread over the kernel and the output channels of its group."""
    return 2.0 * prod(call.tensors[0]) * prod(call.tensors[1][1:]) + call.out * ("bias" in call.named)


def _recurrent(call: Call) -> float:
    """Every matrix meets every step."""
    states = [s for key in ("hx", "hidden", "cx") for s in _shapes(call, key)]
    rest = list(call.tensors[1:])
    for state in states:
        rest.remove(state)
    steps = prod(call.tensors[0][:-1])
    return 2.0 * steps * sum(prod(shape) for shape in rest if len(shape) == 2)


def _cell(call: Call) -> float:
    rows = prod(call.tensors[0][:-1])
    return 2.0 * rows * (prod(call.shape("w_ih")) + prod(call.shape("w_hh")))


def _attention(call: Call) -> float:
    """Scores, and their product with the values."""
    q, k, v = call.shape("query"), call.shape("key"), call.shape("value")
    if call.name in ("_flash_attention_forward", "_efficient_attention_forward"):  # heads come last but one
        if len(q) == 3:  # sequences of several lengths in one: the longest, as often as there are some
            starts = call.shape("cum_seq_q" if "cum_seq_q" in call.named else "cu_seqlens_q")
            longest = [call.values.get(key) for key in ("max_q", "max_k", "max_seqlen_q", "max_seqlen_k")]
            queries, keys = [int(n) for n in longest if isinstance(n, int)][:2]
            return 2.0 * (starts[0] - 1) * queries * keys * q[-2] * (q[-1] + v[-1])
        return 2.0 * prod(q[:-1]) * k[-3] * (q[-1] + v[-1])
    return 2.0 * prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def _fused_attention(call: Call) -> float:
    """Projections, attention, projection."""
    q, k = call.shape("query"), call.shape("key")
    rows, weights = prod(q[:-1]), prod(call.shape("qkv_weight")) + prod(call.shape("proj_weight"))
    return 2.0 * rows * weights + 4.0 * prod(q) * k[-2]


def _encoder_layer(call: Call) -> float:
    src = call.shape("src")
    weights = sum(prod(shape) for shape in call.tensors[1:] if len(shape) == 2)
    return 2.0 * prod(src[:-1]) * weights + 4.0 * prod(src) * src[-2]


def _einsum(call: Call) -> float:
    return contraction(str(call.values["equation"]), call.tensors)


def _tensordot(call: Call) -> float:
    a = call.tensors[0]
    return 2.0 * call.out * prod(int(a[d]) for d in call.values["dims_self"])


def _bilinear(call: Call) -> float:
    """First operand with the weights, the result with the second."""
    weight = call.shape("weight")
    rows = prod(call.tensors[0][:-1])
    return float(2 * rows * prod(weight) + 2 * call.out * weight[-1] + call.out * ("bias" in call.named))


def _chain(call: Call) -> float:
    """Best order of a chain of matrices (Cormen et al., Introduction to Algorithms, 15.2)."""
    shapes = [*call.tensors]
    if len(shapes[0]) == 1:
        shapes[0] = (1, *shapes[0])
    sizes = [shapes[0][0], *(shape[1] if len(shape) > 1 else 1 for shape in shapes)]
    n = len(shapes)
    best = [[0.0] * (n + 1) for _ in range(n + 1)]
    for length in range(2, n + 1):
        for i in range(n - length + 1):
            j = i + length
            best[i][j] = min(
                best[i][k] + best[k][j] + 2.0 * sizes[i] * sizes[k] * sizes[j] for k in range(i + 1, j)
            )
    return best[0][n]


def _power(call: Call) -> float:
    """Squares, and a product for each further bit of the exponent."""
    exponent = abs(int(call.values["n"]))
    products = max(exponent.bit_length() - 1, 0) + max(exponent.bit_count() - 1, 0)
    return 2.0 * products * prod(call.tensors[0]) * call.tensors[0][-1]


def _packed(call: Call) -> float:
    """Convolve with time first and channels last: ``conv_tbc``."""
    return 2.0 * call.out * prod(call.tensors[1][:-1])


def _foreign(call: Call) -> float:
    """Multiply rows with some form of weights: the last dimension is summed over, the others stay."""
    left, out = call.tensors[0], call.outputs[0]
    if left[:-1] != out[:-1] or len(left) < 2:
        raise ValueError("no product of rows")
    return 2.0 * prod(out) * left[-1]


def _shapes(call: Call, key: str) -> list[Shape]:
    found = call.named.get(key, ())
    return list(found) if isinstance(found, list) else [found] if found else []


RULES: dict[str, Callable[[Call], float]] = {
    "einsum": _einsum,
    "tensordot": _tensordot,
    "bilinear": _bilinear,
    "chain_matmul": _chain,
    "linalg_multi_dot": _chain,
    "matrix_power": _power,
    "linalg_matrix_power": _power,
    "conv_tbc": _packed,
    "_transformer_encoder_layer_fwd": _encoder_layer,
    "addbmm": lambda call: 2.0 * prod(call.tensors[1]) * call.tensors[2][-1] + call.out,
    "addr": lambda call: 2.0 * call.out,
    "linalg_vecdot": lambda call: 2.0 * max(prod(shape) for shape in call.tensors),
    "_cslt_sparse_mm": lambda call: 2.0 * call.out * call.tensors[1][-2],
    "cdist": lambda call: 3.0 * call.out * call.tensors[0][-1],
    "_cdist_forward": lambda call: 3.0 * call.out * call.tensors[0][-1],
    "_euclidean_dist": lambda call: 3.0 * call.out * call.tensors[0][-1],
    "pairwise_distance": lambda call: 3.0 * prod(call.tensors[0]),
}
