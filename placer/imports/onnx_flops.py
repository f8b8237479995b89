"""Floating-point operations of ONNX operators, from shapes alone; a multiply-add counts as two.

Elementary functions count as one operation per element, whatever they cost in hardware: such operators are
bound by memory traffic on every device, so that their count hardly matters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from placer.errors import InputError

__all__ = ["LOOKUPS", "MOVES", "PRODUCTS", "SUMS", "VIEWS", "Call", "contraction", "flops", "words"]

Shape = tuple[int, ...]


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
    """

    op: str
    inputs: tuple[Shape | None, ...]
    outputs: tuple[Shape | None, ...]
    attributes: dict[str, Any]

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


def _conv(call: Call) -> float:
    """Each output element sums over the kernel and the input channels of its group."""
    weight = call.shape(3 if call.op == "QLinearConv" else 1)
    bias = call.given(8) if call.op == "QLinearConv" else call.op == "Conv" and call.given(2)
    return 2.0 * call.out * prod(weight[1:]) + call.out * bias


def _conv_transpose(call: Call) -> float:
    """Each input element is spread over the kernel and the output channels of its group."""
    return 2.0 * prod(call.shape(0)) * prod(call.shape(1)[1:]) + call.out * call.given(2)


def _gemm(call: Call) -> float:
    a = call.shape(0)
    inner = a[0] if call.attributes.get("transA") else a[-1]
    return 2.0 * call.out * inner + call.out * call.given(2)


def _matmul(call: Call) -> float:
    return 2.0 * call.out * call.shape(0)[-1]


def _einsum(call: Call) -> float:
    text = call.attributes.get("equation", b"")
    equation = text.decode() if isinstance(text, bytes) else str(text)
    operands = equation.partition("->")[0].count(",") + 1
    return contraction(equation, [call.shape(i) for i in range(operands)])


def contraction(equation: str, shapes: Sequence[Shape]) -> float:
    """Operations of an einsum whose operands are joined one after the other: two per point of what meets.

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
        return 2.0 * prod(extent.values())
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


def _attention(call: Call) -> float:
    """Scores and their product with the values (the operator of opset 23, heads split or not)."""
    q, k = call.shape(0), call.shape(1)
    if len(q) == 4:
        return 4.0 * prod(q[:3]) * k[2] * q[3]
    return 4.0 * q[0] * q[1] * k[1] * q[2]


def _per_output(count: float) -> Callable[[Call], float]:
    return lambda call: count * call.out


def _per_input(count: float) -> Callable[[Call], float]:
    return lambda call: count * prod(call.shape(0))


def _pool(call: Call) -> float:
    return float(call.out * prod(call.attributes.get("kernel_shape", (1,))))


def _lrn(call: Call) -> float:
    """Count a window of squares per element, then scale, power and division."""
    return float(call.out * (2 * call.attributes.get("size", 1) + 3))


def _top_k(call: Call) -> float:
    return float(prod(call.shape(0)) * max(call.out, 2).bit_length())


def _variadic(call: Call) -> float:
    return float(call.out * max(sum(s is not None for s in call.inputs) - 1, 1))


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
    "Attention": _attention,
    "RNN": _recurrent(1),
    "GRU": _recurrent(3),
    "LSTM": _recurrent(4),
}
"""Matrix products, convolutions and recurrences."""


def words(*lines: str) -> frozenset[str]:
    """Return the words of some lines."""
    return frozenset(" ".join(lines).split())


VIEWS = words("Reshape Flatten Squeeze Unsqueeze Identity Dropout Shape Size Optional")
"""Operators that move no data at inference."""

LOOKUPS = words("Gather GatherElements GatherND")
"""Operators that read only what they return of their first input."""

MOVES = LOOKUPS | words(
    "Concat Split Slice Transpose Pad Tile Expand DepthToSpace SpaceToDepth ScatterElements ScatterND",
    "ConstantOfShape Constant Range EyeLike Trilu ReverseSequence Compress OneHot CastLike",
)
"""Operators that compute nothing: bytes over bandwidth is their time."""

SUMS = words("Add Sum")

ELEMENTWISE = words(
    "Abs Acos Acosh And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil",
    "Clip Cos Cosh Div Equal Erf Exp Floor Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Log Mod Mul",
    "Neg Not Or Pow PRelu Reciprocal Relu Round Sign Sin Sinh Sqrt Sub Tan Tanh Where Xor Add LeakyRelu",
    "ThresholdedRelu Sigmoid DequantizeLinear QuantizeLinear Bernoulli RandomNormalLike RandomUniformLike",
)
PER_OUTPUT = {
    0: VIEWS | MOVES,
    1: ELEMENTWISE,
    2: words("BatchNormalization HardSigmoid Softplus Softsign"),
    3: words("Elu Selu Celu HardSwish Mish Swish Shrink RotaryEmbedding"),
    5: words("Softmax LogSoftmax Hardmax"),
    8: words(
        "Gelu FastGelu LayerNormalization InstanceNormalization GroupNormalization RMSNormalization",
        "SimplifiedLayerNormalization LpNormalization MeanVarianceNormalization",
        "Resize Upsample GridSample",  # bilinear: four points, weighted
    ),
}
"""Operations per output element."""
PER_INPUT = {
    1: words(
        "GlobalAveragePool GlobalMaxPool ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum",
        "ArgMax ArgMin CumSum NonZero",
    ),
    2: words("ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum GlobalLpPool ReduceLogSumExp"),
}
"""Operations per element of the first input."""
RULES: dict[str, Callable[[Call], float]] = {
    **PRODUCTS,
    **{op: _per_output(count) for count, ops in PER_OUTPUT.items() for op in ops},
    **{op: _per_input(count) for count, ops in PER_INPUT.items() for op in ops},
    **dict.fromkeys(words("Sum Max Min Mean"), _variadic),
    **dict.fromkeys(words("MaxPool AveragePool LpPool"), _pool),
    "LRN": _lrn,
    "TopK": _top_k,
}


def flops(call: Call) -> float | None:
    """Floating-point operations of an operator; None when there is no rule for its type.

    Parameters
    ----------
    call
        The operator and the shapes it sees.

    Raises
    ------
    InputError
        When an input that the rule needs is missing or has too few dimensions.
    """
    rule = RULES.get(call.op)
    if rule is None:
        return None
    try:
        return float(rule(call))
    except (IndexError, ValueError, OverflowError):
        raise InputError(f"operator {call.op} does not fit the shapes {list(call.inputs)}") from None
