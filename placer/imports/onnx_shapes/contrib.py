"""Shapes of operators that are none of the standard ones: ONNX Runtime's own, and classical models.

Sources: ONNX Runtime, docs/ContribOperators.md (domain ``com.microsoft``); ONNX, docs/Operators-ml.md
(``ai.onnx.ml``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from placer.imports.onnx_shapes.tensors import Dims, Tensor

__all__ = ["STAND_INS", "Seen", "StandIn", "contributed"]


@dataclass(frozen=True)
class StandIn:
    """A standard operator whose output has the same shape.

    Parameters
    ----------
    op
        Its type.
    inputs
        Which inputs it gets.
    kind
        Element type of the output: that of this input; float where there is none.
    """

    op: str
    inputs: tuple[int, ...]
    kind: int = 0


FLOAT, WHOLE, TEXT = 1, 7, 8
"""Element types (``TensorProto.DataType``)."""
SAME = (
    "BiasGelu FastGelu Gelu QuickGelu BiasDropout BiasSoftmax SimplifiedLayerNormalization "
    "LayerNormalization RotaryEmbedding GroupNorm Inverse MoE QMoE NGramRepeatBlock QLinearGelu "
    "BitmaskDropout "
    "QLinearSigmoid QLinearLeakyRelu QLinearSoftmax QLinearTanh BiasAdd DynamicTimeWarping"
)
STAND_INS = {
    **{op: StandIn("Identity", (0,)) for op in SAME.split()},
    "FusedConv": StandIn("Conv", (0, 1, 2)),
    "FusedGemm": StandIn("Gemm", (0, 1, 2)),
    "QGemm": StandIn("Gemm", (0, 3), kind=8),
    "QLinearAdd": StandIn("Add", (0, 3)),
    "QLinearMul": StandIn("Mul", (0, 3)),
    "QLinearAveragePool": StandIn("AveragePool", (0,)),
    "QLinearGlobalAveragePool": StandIn("GlobalAveragePool", (0,)),
    "QLinearReduceMean": StandIn("ReduceMean", (0,)),
    "QLinearWhere": StandIn("Where", (0, 1, 4), kind=1),
    "DynamicQuantizeMatMul": StandIn("MatMul", (0, 1)),
    "MatMulIntegerToFloat": StandIn("MatMul", (0, 1), kind=-1),
    "MatMulInteger16": StandIn("MatMul", (0, 1)),
    "SparseToDenseMatMul": StandIn("MatMul", (0, 1), kind=1),
    "QuantizeLinear": StandIn("QuantizeLinear", (0, 1, 2), kind=2),
    "DequantizeLinear": StandIn("Identity", (0,), kind=1),
}


@dataclass(frozen=True)
class Seen:
    """An operator with what is known of its inputs."""

    inputs: Sequence[Tensor | None]
    attributes: dict[str, Any]

    def given(self, i: int) -> bool:
        """Whether input ``i`` is there."""
        return i < len(self.inputs) and self.inputs[i] is not None

    def shape(self, i: int) -> tuple[int, ...]:
        """Sizes of an input.

        Raises
        ------
        LookupError
            When they are not all known.
        """
        found = self.inputs[i]
        if found is None or found.shape is None:
            raise LookupError(i)
        return found.shape

    def number(self, i: int) -> int | None:
        """Return an input's only number, if known."""
        found = self.inputs[i] if i < len(self.inputs) else None
        return None if found is None else found.integer()

    def get(self, name: str, default: int = 0) -> int:
        """Return a whole number among the attributes."""
        return int(self.attributes.get(name, default))


def contributed(op: str, seen: Seen) -> list[tuple[int, Dims | None]]:
    """Find element type (that of the input with this number; ``-k`` for type ``k``) and sizes of the outputs.

    Returns
    -------
    list
        One entry per output that is known about; empty where there is no rule.
    """
    rule = RULES.get(op)
    if rule is None:
        return []
    try:
        return rule(seen)
    except (LookupError, ValueError, ZeroDivisionError):
        return [(kind, None) for kind in KINDS.get(op, (0,) * OUTPUTS)]


def _matmul(seen: Seen) -> list[tuple[int, Dims | None]]:
    a, b = list(seen.shape(0)), list(seen.shape(1))
    for shape, side in ((a, "A"), (b, "B")):
        if seen.get(f"transBatch{side}") and len(shape) > 2:
            shape[:-1] = [*shape[1:-1], shape[0]]
        if seen.get(f"trans{side}") and len(shape) > 1:
            shape[-2:] = shape[:-3:-1]
    batch = a[:-2] if len(a) >= len(b) else b[:-2]
    return [(0, (*batch, *(a[-2:-1]), *(b[-1:] if len(b) > 1 else ())))]


def _packed_weight(seen: Seen) -> list[tuple[int, Dims | None]]:
    return [(0, (*seen.shape(0)[:-1], seen.get("N")))]


def _attention(seen: Seen) -> list[tuple[int, Dims | None]]:
    """Make queries, keys and values of one input and one weight."""
    batch, length = seen.shape(0)[:2]
    sizes = seen.attributes.get("qkv_hidden_sizes")
    width = int(sizes[2]) if sizes else seen.shape(1)[-1] // 3
    heads = seen.get("num_heads", 1)
    past = 4 if "QAttention" not in seen.attributes else 8
    before = seen.shape(past)[3] if seen.given(past) else 0
    return [(0, (batch, length, width)), (0, (2, batch, heads, before + length, width // heads))]


def _quantized_attention(seen: Seen) -> list[tuple[int, Dims | None]]:
    out = _attention(Seen(seen.inputs, seen.attributes | {"QAttention": 1}))
    return [(3, dims) for _, dims in out]  # the type of its scales


def _multi_head(seen: Seen) -> list[tuple[int, Dims | None]]:
    """Take queries (B, S, D), or all three packed (B, S, H, 3, D / H)."""
    q = seen.shape(0)
    heads = seen.get("num_heads", 1)
    if len(q) == 5:
        batch, length, heads, _, size = q
        return [(0, (batch, length, heads * size)), *[(0, (batch, heads, length, size))] * 2]
    batch, length, width = q
    if seen.given(2):
        v = seen.shape(2)
        width = v[2] if len(v) == 3 else v[1] * v[3]
        keys = v[1] if len(v) == 3 else v[2]
    elif seen.given(1):  # keys and values packed: (B, T, H, 2, D / H)
        keys = seen.shape(1)[1]
    else:
        keys = length
    past = seen.shape(6)[2] if seen.given(6) else 0
    return [(0, (batch, length, width)), *[(0, (batch, heads, past + keys, width // heads))] * 2]


def _group_query(seen: Seen) -> list[tuple[int, Dims | None]]:
    batch, length, width = seen.shape(0)
    heads, shared = seen.get("num_heads", 1), seen.get("kv_num_heads", 1)
    size = width // heads if seen.given(1) else width // (heads + 2 * shared)
    total = seen.number(6)
    past = seen.shape(3)[2] if seen.given(3) else 0
    keys = past + length if total is None else max(past, total)
    return [(0, (batch, length, heads * size)), *[(0, (batch, shared, keys, size))] * 2]


def _skip_norm(seen: Seen) -> list[tuple[int, Dims | None]]:
    shape = seen.shape(0)
    return [(0, shape), *[(0, (*shape[:-1], 1))] * 2, (0, shape)]


def _embedding(table: int) -> Callable[[Seen], list[tuple[int, Dims | None]]]:
    def rule(seen: Seen) -> list[tuple[int, Dims | None]]:
        batch, length = seen.shape(0)
        out = (batch, length, seen.shape(table)[1])
        return [(table, out), (0, (batch,)), (table, out)]

    return rule


def _recurrent(seen: Seen) -> list[tuple[int, Dims | None]]:
    steps, batch = seen.shape(0)[:2]
    ways, hidden = seen.shape(2)[0], seen.get("hidden_size")
    return [(0, (steps, ways, batch, hidden)), *[(0, (ways, batch, hidden))] * 2]


def _concatenated(seen: Seen) -> list[tuple[int, Dims | None]]:
    """Scale and zero point of the result, then three per tensor."""
    shapes = [seen.shape(i) for i in range(2, len(seen.inputs), 3)]
    axis = seen.get("axis") % len(shapes[0])
    first = list(shapes[0])
    first[axis] = sum(shape[axis] for shape in shapes)
    return [(2, tuple(first))]


def _position_bias(seen: Seen) -> list[tuple[int, Dims | None]]:
    q, k = seen.number(1), seen.number(2)
    return [(0, (1, seen.shape(0)[-1], q, k))]


def _gathered(seen: Seen) -> list[tuple[int, Dims | None]]:
    table, rows = list(seen.shape(0)), seen.shape(1)
    axis = seen.get("gather_axis") % len(table)
    inner = seen.get("quantize_axis", 1) % len(table)
    if seen.inputs[0] is not None and seen.inputs[0].kind in (2, 3) and seen.get("bits", 4) == 4:
        table[inner] *= 2  # two numbers per byte
    return [(2, (*table[:axis], *rows, *table[axis + 1 :]))]


def _packed_attention(seen: Seen) -> list[tuple[int, Dims | None]]:
    sizes = seen.attributes.get("qkv_hidden_sizes")
    return [(0, (seen.shape(0)[0], int(sizes[2]) if sizes else seen.shape(1)[-1] // 3))]


def _bias_split(seen: Seen) -> list[tuple[int, Dims | None]]:
    shape = seen.shape(0)
    return [(0, (*shape[:-1], shape[-1] // 2))]


def _expanded(seen: Seen) -> list[tuple[int, Dims | None]]:
    shape, axis = list(seen.shape(0)), seen.number(1)
    if axis is None:
        raise LookupError(1)
    shape.insert(axis % (len(shape) + 1), 1)
    return [(0, tuple(shape))]


def _flat_product(seen: Seen) -> list[tuple[int, Dims | None]]:
    return [(0, (seen.shape(0)[0], seen.shape(1)[0]))]


def _skip_group(seen: Seen) -> list[tuple[int, Dims | None]]:
    return [(0, seen.shape(0)), (0, seen.shape(0))]


def _conv_nhwc(seen: Seen) -> list[tuple[int, Dims | None]]:
    """Channels last: the images of a convolution (N, H, W, C)."""
    x, w = seen.shape(0), seen.shape(1)
    kernel = w[1:-1]
    n = len(kernel)
    pads = [int(p) for p in seen.attributes.get("pads", [0] * 2 * n)]
    strides = seen.attributes.get("strides", [1] * n)
    spread = seen.attributes.get("dilations", [1] * n)
    sizes = [
        (x[1 + k] + pads[k] + pads[n + k] - spread[k] * (kernel[k] - 1) - 1) // strides[k] + 1
        for k in range(n)
    ]
    return [(0, (x[0], *sizes, w[0]))]


def _row_results(seen: Seen) -> list[tuple[int, Dims | None]]:
    """Give a number per target and row."""
    held = seen.attributes
    targets = held.get("n_targets") or held.get("targets") or 1
    return [(-FLOAT, (seen.shape(0)[0], int(targets)))]


def _row_classes(seen: Seen) -> list[tuple[int, Dims | None]]:
    """Give a label per row, and a score per class."""
    held = seen.attributes
    names = held.get("classlabels_strings") or held.get("classlabels_strings_string") or ()
    labels = names or held.get("classlabels_int64s") or held.get("classlabels_ints") or (0, 1)
    rows = seen.shape(0)[0] if len(seen.shape(0)) > 1 else 1
    return [(-TEXT if names else -WHOLE, (rows,)), (-FLOAT, (rows, len(labels)))]


def _floats(seen: Seen) -> list[tuple[int, Dims | None]]:
    return [(-FLOAT, seen.shape(0))]


def _joined(seen: Seen) -> list[tuple[int, Dims | None]]:
    rows = seen.shape(0)[0]
    return [(-FLOAT, (rows, sum(prod(seen.shape(i)) // rows for i in range(len(seen.inputs)))))]


def _one_hot(seen: Seen) -> list[tuple[int, Dims | None]]:
    held = seen.attributes
    return [(-FLOAT, (*seen.shape(0), len(held.get("cats_int64s") or held.get("cats_strings") or ())))]


def _features(seen: Seen) -> list[tuple[int, Dims | None]]:
    return [(0, (*(seen.shape(0)[:-1] or (1,)), prod(seen.shape(1))))]


def _labels(seen: Seen) -> list[tuple[int, Dims | None]]:
    held = seen.attributes
    kinds = {"values_floats": FLOAT, "values_int64s": WHOLE, "values_strings": TEXT}
    kind = next((kind for name, kind in kinds.items() if held.get(name)), None)
    if kind is None:
        source = seen.inputs[0]
        kind = WHOLE if source is not None and source.kind == TEXT else TEXT
    return [(-kind, seen.shape(0))]


OUTPUTS = 8
KINDS = {
    "EmbedLayerNormalization": (2, 0, 2),
    "QAttention": (3, 3),
    "QLinearConcat": (2,),
    "GatherBlockQuantized": (2,),
    **dict.fromkeys(("TreeEnsembleRegressor", "LinearRegressor", "SVMRegressor"), (-FLOAT,)),
    **dict.fromkeys(("Scaler", "Normalizer", "FeatureVectorizer", "OneHotEncoder"), (-FLOAT,)),
    **dict.fromkeys(("TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier"), (-WHOLE, -FLOAT)),
}
"""Element types alone, where sizes are missing; of all others that of the first input."""
RULES: dict[str, Callable[[Seen], list[tuple[int, Dims | None]]]] = {
    "FusedMatMul": _matmul,
    "FusedMatMulActivation": _matmul,
    "TransposeMatMul": _matmul,
    "GemmFloat8": _matmul,
    **dict.fromkeys(("MatMulNBits", "MatMulBnb4", "MatMulFpQ4"), _packed_weight),
    "Attention": _attention,
    "QAttention": _quantized_attention,
    "PackedAttention": _packed_attention,
    "MultiHeadAttention": _multi_head,
    "DecoderMaskedMultiHeadAttention": _multi_head,
    **dict.fromkeys(("GroupQueryAttention", "SparseAttention"), _group_query),
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), _skip_norm),
    "SkipGroupNorm": _skip_group,
    "EmbedLayerNormalization": _embedding(2),
    "DynamicQuantizeLSTM": _recurrent,
    "QLinearConcat": _concatenated,
    "RelativePositionBias": _position_bias,
    "GatherBlockQuantized": _gathered,
    "BiasSplitGelu": _bias_split,
    "ExpandDims": _expanded,
    "CDist": _flat_product,
    **dict.fromkeys(("NhwcConv", "NhwcFusedConv"), _conv_nhwc),
    **dict.fromkeys(
        ("TreeEnsembleRegressor", "LinearRegressor", "SVMRegressor", "TreeEnsemble"), _row_results
    ),
    **dict.fromkeys(("TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier"), _row_classes),
    **dict.fromkeys(("Scaler", "Normalizer", "Imputer", "ZipMap"), _floats),
    "Binarizer": lambda seen: [(0, seen.shape(0))],
    "FeatureVectorizer": _joined,
    "OneHotEncoder": _one_hot,
    "ArrayFeatureExtractor": _features,
    **dict.fromkeys(("LabelEncoder", "CategoryMapper"), _labels),
}
