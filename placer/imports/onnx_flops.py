"""Floating-point operations of ONNX operators, from shapes alone; a multiply-add counts as two.

Elementary functions count as one operation per element, whatever they cost in hardware: such operators are
bound by memory traffic on every device, so that their count hardly matters.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log2, prod

from placer.errors import InputError
from placer.imports.onnx_products import PRODUCTS, Call, contraction, words

__all__ = [
    "ELEMENTWISE",
    "LOOKUPS",
    "MOVES",
    "PRODUCTS",
    "SUMS",
    "VIEWS",
    "Call",
    "contraction",
    "flops",
    "words",
]


def _fourier(call: Call) -> float:
    """Count 5 n log n per signal: a fast transform."""
    if call.op == "DFT":
        axis = int(call.attributes.get("axis", 1 if len(call.shape(0)) <= 3 else -2))
        out = call.outputs[0] or (1,)
        n = max(call.shape(0)[axis], out[axis], 2)
        return 5.0 * prod(out) / max(out[axis], 1) * n * log2(n) / 2
    frames = prod((call.outputs[0] or (1, 1))[:2])
    n = max(call.shape(2)[0] if call.given(2) else 2 * (call.outputs[0] or (1, 1, 2))[2], 2)
    return frames * (5.0 * n * log2(n) + n)


def _distances(call: Call) -> float:
    return 3.0 * call.out * call.shape(0)[-1]


def _determinant(call: Call) -> float:
    return 2.0 / 3.0 * prod(call.shape(0)) * call.shape(0)[-1]


def _suppression(call: Call) -> float:
    """Compare each box that is kept with all: four sides each."""
    boxes = call.shape(1)[2]
    return 8.0 * (call.outputs[0] or (0,))[0] * boxes


def _sort(call: Call) -> float:
    n = max(prod(call.shape(0)), 2)
    return n * log2(n)


def _trees(call: Call) -> float:
    """Walk every tree to a leaf: as deep as a balanced one is."""
    ids = call.attributes.get("nodes_treeids") or call.attributes.get("tree_roots") or (0,)
    nodes = call.attributes.get("nodes_treeids") or call.attributes.get("nodes_featureids") or (0,)
    count = len(set(ids))
    return float(call.shape(0)[0] * count * max(1.0, log2(max(len(nodes) / count, 2.0))))


def _per_output(count: float) -> Callable[[Call], float]:
    return lambda call: count * call.out


def _per_input(count: float) -> Callable[[Call], float]:
    return lambda call: count * prod(call.shape(0))


def _pool(call: Call) -> float:
    return float(call.out * prod(call.attributes.get("kernel_shape", (1,))))


def _embedded(call: Call) -> float:
    """Sum two or three rows and normalise them."""
    return 11.0 * call.out


def _lrn(call: Call) -> float:
    """Count a window of squares per element, then scale, power and division."""
    return float(call.out * (2 * call.attributes.get("size", 1) + 3))


def _top_k(call: Call) -> float:
    return float(prod(call.shape(0)) * max(call.out, 2).bit_length())


def _variadic(call: Call) -> float:
    return float(call.out * max(sum(s is not None for s in call.inputs) - 1, 1))


VIEWS = words(
    "Reshape Flatten Squeeze Unsqueeze Identity Dropout Shape Size Optional OptionalGetElement",
    "OptionalHasElement BitCast ExpandDims",
    "SequenceConstruct SequenceEmpty SequenceInsert SequenceErase SequenceLength",
)
"""Operators that move no data at inference."""

LOOKUPS = words("Gather GatherElements GatherND GatherBlockQuantized ArrayFeatureExtractor SequenceAt")
"""Operators that read only what they return of their first input."""

MOVES = LOOKUPS | words(
    "Concat Split Slice Transpose Pad Tile Expand DepthToSpace SpaceToDepth ScatterElements ScatterND",
    "ConstantOfShape Constant Range EyeLike Trilu ReverseSequence Compress OneHot CastLike Scatter",
    "TensorScatter",
    "SplitToSequence ConcatFromSequence MaxUnpool CenterCropPad QLinearConcat RelativePositionBias",
    "ImageDecoder",
    "StringConcat StringNormalizer StringSplit RegexFullMatch LabelEncoder CategoryMapper CastMap ZipMap",
    "FeatureVectorizer OneHotEncoder DictVectorizer",
)
"""Operators that compute nothing: bytes over bandwidth is their time."""

SUMS = words("Add Sum")

ELEMENTWISE = words(
    "Abs Acos Acosh And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil",
    "Clip Cos Cosh Div Equal Erf Exp Floor Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Log Mod Mul",
    "Neg Not Or Pow PRelu Reciprocal Relu Round Sign Sin Sinh Sqrt Sub Tan Tanh Where Xor Add LeakyRelu",
    "ThresholdedRelu HannWindow HammingWindow BlackmanWindow MelWeightMatrix Binarizer Imputer Multinomial",
    "RandomNormal RandomUniform AffineGrid Sigmoid DequantizeLinear QuantizeLinear Bernoulli",
    "RandomNormalLike RandomUniformLike",
)
PER_OUTPUT = {
    0: VIEWS | MOVES,
    1: ELEMENTWISE,
    2: words("BatchNormalization HardSigmoid Softplus Softsign BiasAdd BiasDropout Scaler"),
    3: words("Elu Selu Celu HardSwish Mish Swish Shrink RotaryEmbedding QuickGelu DynamicQuantizeLinear"),
    4: words("SwiGLU QLinearAdd QLinearMul QLinearSigmoid QLinearLeakyRelu QLinearTanh QLinearWhere"),
    5: words("Softmax LogSoftmax Hardmax Normalizer QLinearSoftmax BiasSoftmax"),
    8: words(
        "Gelu FastGelu LayerNormalization InstanceNormalization GroupNormalization RMSNormalization",
        "SimplifiedLayerNormalization LpNormalization MeanVarianceNormalization QLinearGelu GroupNorm",
        "RoiAlign Resize Upsample GridSample",  # bilinear: four points, weighted
    ),
    9: words("BiasGelu BiasSplitGelu SkipLayerNormalization SkipSimplifiedLayerNormalization SkipGroupNorm"),
}
"""Operations per output element."""
PER_INPUT = {
    1: words(
        "GlobalAveragePool GlobalMaxPool ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum",
        "ArgMax ArgMin CumSum CumProd NonZero Col2Im TfIdfVectorizer MaxRoiPool QLinearGlobalAveragePool",
        "QLinearReduceMean",
    ),
    5: words("NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss"),
    2: words("ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum GlobalLpPool ReduceLogSumExp"),
}
"""Operations per element of the first input."""
RULES: dict[str, Callable[[Call], float]] = {
    **PRODUCTS,
    **{op: _per_output(count) for count, ops in PER_OUTPUT.items() for op in ops},
    **{op: _per_input(count) for count, ops in PER_INPUT.items() for op in ops},
    **dict.fromkeys(words("Sum Max Min Mean"), _variadic),
    **dict.fromkeys(words("MaxPool AveragePool LpPool QLinearAveragePool"), _pool),
    "LRN": _lrn,
    "TopK": _top_k,
    **dict.fromkeys(("DFT", "STFT"), _fourier),
    "CDist": _distances,
    "Det": _determinant,
    "Inverse": _determinant,
    "NonMaxSuppression": _suppression,
    "Unique": _sort,
    "EmbedLayerNormalization": _embedded,
    **dict.fromkeys(("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"), _trees),
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
    rule = RULES.get(f"{call.domain}.{call.op}") or RULES.get(call.op)
    if rule is None:
        return None
    try:
        return float(rule(call))
    except (IndexError, KeyError, TypeError, ValueError, OverflowError):
        raise InputError(f"operator {call.op} does not fit the shapes {list(call.inputs)}") from None
