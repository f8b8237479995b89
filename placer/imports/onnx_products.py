"""Floating-point operations of products, convolutions, recurrences and attention; a multiply-add is two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from placer.errors import InputError

__all__ = ["PRODUCTS", "PROJECTED", "SCORES", "Call", "contraction", "projection", "words"]

Shape = tuple[int, ...]
Matrices = tuple[float, float, float]
"""Scores of an attention, and numbers in a key and in a value of a head."""


@dataclass(frozen=True)
class Call:
    """An operator with the shapes that it sees.

    Parameters
    ----------
    op
        Operator type.
    inputs
        Shapes of the inputs; None for one that is left out.
    outputs
        Shapes of the outputs; None for one that is left out.
    attributes
        Attributes by name.
    domain
        Where the type is defined; empty for a standard one.
    """

    op: str
    inputs: tuple[Shape | None, ...]
    outputs: tuple[Shape | None, ...]
    attributes: dict[str, Any]
    domain: str = ""

    def shape(self, i: int) -> Shape:
        """Shape of input ``i``.

        Raises
        ------
        InputError
            When it is left out.
        """
        found = self.inputs[i] if i < len(self.inputs) else None
        if found is None:
            raise InputError(f"operator {self.op} lacks its input {i}")
        return found

    def given(self, i: int) -> bool:
        """Whether input ``i`` is there."""
        return i < len(self.inputs) and self.inputs[i] is not None

    @property
    def out(self) -> int:
        """Number of elements of the first output."""
        return next((prod(s) for s in self.outputs if s is not None), 0)


def words(*lines: str) -> frozenset[str]:
    """Return the words of some lines."""
    return frozenset(" ".join(lines).split())


def _conv(call: Call) -> float:
    """Each output element sums over the kernel and the input channels of its group, wherever these stand."""
    weight = call.shape(3 if call.op == "QLinearConv" else 1)
    bias = call.given(8) if call.op == "QLinearConv" else call.op != "ConvInteger" and call.given(2)
    return 2.0 * call.out * prod(weight[1:]) + call.out * bias


def _conv_transpose(call: Call) -> float:
    """Each input element is spread over the kernel and the output channels of its group."""
    return 2.0 * prod(call.shape(0)) * prod(call.shape(1)[1:]) + call.out * call.given(2)


def _gemm(call: Call) -> float:
    a = call.shape(0)
    inner = a[0] if call.attributes.get("transA") else a[-1]
    return 2.0 * call.out * inner + call.out * call.given(6 if call.op == "QGemm" else 2)


def _matmul(call: Call) -> float:
    a = call.shape(0)
    return 2.0 * call.out * (a[-2] if call.attributes.get("transA") else a[-1])


def _packed_weight(call: Call) -> float:
    """Weights of few bits, several per byte: their shape tells nothing."""
    return 2.0 * call.out * int(call.attributes.get("K", call.shape(0)[-1]))


def _deformable(call: Call) -> float:
    """Convolve points that lie between four pixels each."""
    x, w = call.shape(0), call.shape(1)
    points = call.out // w[0] * prod(w[2:]) * x[1]
    return 2.0 * call.out * prod(w[1:]) + 8.0 * points


def _einsum(call: Call) -> float:
    text = call.attributes.get("equation", b"")
    equation = text.decode() if isinstance(text, bytes) else str(text)
    operands = equation.partition("->")[0].count(",") + 1
    return contraction(equation, [call.shape(i) for i in range(operands)])


def contraction(equation: str, shapes: Sequence[Shape]) -> float:
    """Operations of an einsum whose operands are joined one after the other: two per point of what meets.

    A single operand is summed over what the result does not keep, or only laid out in another way.

    Parameters
    ----------
    equation
        As of NumPy, with or without ``->``.
    shapes
        Shapes of the operands.

    Raises
    ------
    InputError
        When shapes do not fit.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    extent: dict[str, int] = {}
    held: list[set[str]] = []
    for term, shape in zip(terms, shapes, strict=True):
        letters = term.replace("...", "")
        if term == letters and len(letters) != len(shape):
            raise InputError(f"Einsum {equation!r} does not fit a shape of {len(shape)} dimensions")
        ahead = term.index("...") if "..." in term else len(letters)
        free = len(shape) - len(letters)
        own = dict(zip(letters, [*shape[:ahead], *shape[ahead + free :]], strict=True))
        own |= {f"...{k}": size for k, size in enumerate(reversed(shape[ahead : ahead + free]))}
        held.append(set(own))
        extent |= {letter: max(size, extent.get(letter, 1)) for letter, size in own.items()}
    once = {c for c in left if left.count(c) == 1}
    kept = set(right.replace("...", "")) if arrow else once
    kept |= {letter for letter in extent if letter.startswith("...")}
    if len(held) == 1:
        return float(prod(extent.values())) if held[0] - kept else 0.0
    total, first = 0.0, held[0]
    for i, other in enumerate(held[1:], 1):
        total += 2.0 * prod(extent[letter] for letter in first | other)
        first = (first | other) & kept.union(*held[i + 1 :])
    return total


def _recurrent(gates: int) -> Callable[[Call], float]:
    def rule(call: Call) -> float:
        x, w, r = call.shape(0), call.shape(1), call.shape(2)
        steps = x[0] * x[1]  # sequence length times batch, whatever the layout
        return 2.0 * steps * w[0] * gates * r[-1] * (w[-1] + r[-1])

    return rule


def _quantized_lstm(call: Call) -> float:
    """Weights as (directions, input, 4 hidden) and (directions, hidden, 4 hidden)."""
    steps = prod(call.shape(0)[:2])
    return 2.0 * steps * (prod(call.shape(1)) + prod(call.shape(2)))


def _separate(call: Call) -> Matrices:
    """Find the scores whether heads are split or not (opset 23 and later)."""
    q, k = call.shape(0), call.shape(1)
    v = call.shape(2) if call.given(2) else k
    past = call.shape(4)[2] if call.given(4) and call.op != "FlexAttention" else 0
    if len(q) == 4:
        return float(prod(q[:3]) * (past + k[2])), q[3], v[3]
    heads, shared = call.attributes.get("q_num_heads", 1), call.attributes.get("kv_num_heads", 1)
    return float(q[0] * q[1] * heads * (past + k[1])), q[2] / heads, v[2] / shared


def _projected(call: Call) -> Matrices:
    """Find the scores of queries, keys and values that one product makes (``com.microsoft``)."""
    x, weight = call.shape(0), call.shape(1)
    sizes = call.attributes.get("qkv_hidden_sizes") or [weight[-1] // 3] * 3
    past = 8 if call.op == "QAttention" else 4
    before = call.shape(past)[3] if call.given(past) and call.op != "PackedAttention" else 0
    heads = call.attributes.get("num_heads", 1)
    return float(prod(x[:-1]) * heads * (before + x[-2])), int(sizes[0]) / heads, int(sizes[2]) / heads


def projection(call: Call) -> float:
    """Operations of the product that makes queries, keys and values, and of its bias."""
    rows, weight = prod(call.shape(0)[:-1]), call.shape(1)
    return 2.0 * rows * prod(weight) + rows * weight[-1]


def _multi_head(call: Call) -> Matrices:
    """Find the scores of queries (B, S, D) or of all three packed (``com.microsoft``)."""
    q, out = call.shape(0), call.outputs[0] or ()
    batch, length, width = out
    keys = length
    if call.given(1):
        k = call.shape(1)
        keys = k[2] if len(k) == 4 else k[1]
    past = call.shape(6)[2] if call.given(6) else 0
    wide, heads = q[-1] if len(q) == 3 else width, call.attributes.get("num_heads", 1)
    return float(batch * length * heads * (past + keys)), wide / heads, width / heads


def _group_query(call: Call) -> Matrices:
    """Find the scores of heads that share keys and values (``com.microsoft``)."""
    batch, length, width = call.outputs[0] or ()
    present = call.outputs[1] if len(call.outputs) > 1 else None
    past = call.shape(3)[2] if call.given(3) else 0
    keys = present[2] if present is not None else past + length
    heads = call.attributes.get("num_heads", 1)
    return float(batch * length * heads * keys), width / heads, width / heads


SCORES: dict[str, Callable[[Call], Matrices]] = {
    **dict.fromkeys(("Attention", "FlexAttention"), _separate),
    **dict.fromkeys(
        ("com.microsoft.Attention", "QAttention", "PackedAttention", "LongformerAttention"), _projected
    ),
    **dict.fromkeys(("MultiHeadAttention", "DecoderMaskedMultiHeadAttention"), _multi_head),
    **dict.fromkeys(("GroupQueryAttention", "SparseAttention"), _group_query),
}
"""Number of scores, and of numbers in a key and in a value of a head, of operators that are attention."""
PROJECTED = {op for op, rule in SCORES.items() if rule is _projected}
"""Those that make queries, keys and values themselves."""


def _attention(op: str) -> Callable[[Call], float]:
    """Count scores and their product with the values.

    Keys that are masked count: kernels that skip them do less.
    """

    def rule(call: Call) -> float:
        pairs, key, value = SCORES[op](call)
        return 2.0 * pairs * (key + value) + (projection(call) if op in PROJECTED else 0.0)

    return rule


def _linear_attention(call: Call) -> float:
    """Update a state of (keys, values) per head and token, and read it."""
    q, k, v = call.shape(0), call.shape(1), call.shape(2)
    heads, shared = int(call.attributes["q_num_heads"]), int(call.attributes["kv_num_heads"])
    size_k, size_v = k[2] // shared, v[2] // shared
    corrections = 2 if b"delta" in call.attributes.get("update_rule", b"gated_delta") else 0
    return float(q[0] * q[1] * size_k * size_v * (2 * heads + (3 + corrections) * shared))


def _experts(call: Call) -> float:
    """Products of those experts that a token is sent to."""
    tokens, experts = prod(call.shape(0)[:-1]), call.shape(1)[-1]
    width = call.shape(0)[-1]
    weights = [call.shape(i) for i in ((2, 4, 6) if call.op == "MoE" else (2, 5, 8)) if call.given(i)]
    packed = 8 // int(call.attributes.get("expert_weight_bits", 4)) if call.op == "QMoE" else 1
    per_expert = packed * sum(
        prod(w) for w in weights if width in (w[-1], w[-2], packed * w[-1], packed * w[-2])
    )
    return 2.0 * tokens * int(call.attributes.get("k", 1)) * per_expert / experts


def _linear_model(call: Call) -> float:
    """Products with coefficients that are attributes."""
    rows, width = prod(call.shape(0)[:-1]), call.shape(0)[-1]
    held = call.attributes.get("coefficients", ()) or ()
    vectors = call.attributes.get("support_vectors", ()) or ()
    return 2.0 * rows * float(len(vectors) or len(held) or width)


PRODUCTS: dict[str, Callable[[Call], float]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "FusedMatMul": _matmul,
    "Einsum": _einsum,
    **dict.fromkeys(("FusedConv", "NhwcConv", "NhwcFusedConv"), _conv),
    **dict.fromkeys(("FusedGemm", "QGemm"), _gemm),
    **dict.fromkeys(
        words(
            "TransposeMatMul FusedMatMulActivation GemmFloat8 DynamicQuantizeMatMul MatMulIntegerToFloat",
            "MatMulInteger16 SparseToDenseMatMul",
        ),
        _matmul,
    ),
    **dict.fromkeys(("MatMulNBits", "MatMulBnb4", "MatMulFpQ4"), _packed_weight),
    "DeformConv": _deformable,
    "CausalConvWithState": _conv,
    **{op: _attention(op) for op in SCORES},
    "LinearAttention": _linear_attention,
    **dict.fromkeys(("MoE", "QMoE"), _experts),
    "DynamicQuantizeLSTM": _quantized_lstm,
    **dict.fromkeys(("LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor"), _linear_model),
    "RNN": _recurrent(1),
    "GRU": _recurrent(3),
    "LSTM": _recurrent(4),
}
"""Matrix products, convolutions and recurrences."""
