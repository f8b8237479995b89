"""FLOP rules by hand; a multiply-add counts as two."""

import pytest

from placer.errors import InputError
from placer.imports.onnx_flops import PRODUCTS, RULES, Call, flops


def call(op, inputs, outputs, domain="", **attributes):
    return flops(Call(op, tuple(inputs), tuple(outputs), attributes, domain))


@pytest.mark.parametrize(
    ("op", "inputs", "outputs", "attributes", "expected"),
    [
        # 2 images, 8 -> 16 channels in 4 groups, 3x3, 5x5 out: 2*2*16*25 outputs of 2*(8/4)*9, and a bias
        ("Conv", [(2, 8, 7, 7), (16, 2, 3, 3), (16,)], [(2, 16, 5, 5)], {}, 800 * (2 * 18 + 1)),
        ("Conv", [(2, 8, 7, 7), (16, 2, 3, 3)], [(2, 16, 5, 5)], {}, 800 * 36),
        ("ConvTranspose", [(1, 4, 5, 5), (4, 6, 2, 2)], [(1, 6, 10, 10)], {}, 2 * 100 * 24),
        ("Gemm", [(3, 5), (7, 5), (7,)], [(3, 7)], {"transB": 1}, 2 * 21 * 5 + 21),
        ("Gemm", [(5, 3), (5, 7)], [(3, 7)], {"transA": 1}, 2 * 21 * 5),
        ("MatMul", [(2, 3, 4, 5), (2, 3, 5, 6)], [(2, 3, 4, 6)], {}, 2 * 144 * 5),
        ("Einsum", [(2, 3, 4), (2, 4, 5)], [(2, 3, 5)], {"equation": b"bij, bjk -> bik"}, 2 * 2 * 3 * 4 * 5),
        ("Einsum", [(7, 3, 4), (7, 4, 5)], [(7, 3, 5)], {"equation": b"...ij,...jk"}, 2 * 7 * 60),
        ("Einsum", [(2, 3, 4)], [(4, 2, 3)], {"equation": b"ijk->kij"}, 0),  # only laid out in another way
        ("Einsum", [(2, 3, 4)], [(2,)], {"equation": b"ijk->i"}, 24),
        # 11 steps of batch 2, hidden 5, input 3: four gates of 5*(3+5) products
        ("LSTM", [(11, 2, 3), (1, 20, 3), (1, 20, 5)], [(11, 1, 2, 5)], {}, 2 * 22 * 4 * 5 * 8),
        ("GRU", [(11, 2, 3), (2, 15, 3), (2, 15, 5)], [(11, 2, 2, 5)], {}, 2 * 22 * 2 * 3 * 5 * 8),
        # 2 heads, 6 queries, 9 keys, width 4: scores and values, 2*6*9*4 multiply-adds each
        ("Attention", [(1, 2, 6, 4), (1, 2, 9, 4), (1, 2, 9, 4)], [(1, 2, 6, 4)], {}, 2 * 2 * 432),
        ("MaxPool", [(1, 1, 8, 8)], [(1, 1, 4, 4)], {"kernel_shape": [3, 3]}, 16 * 9),
        ("GlobalAveragePool", [(2, 3, 4, 4)], [(2, 3, 1, 1)], {}, 96),
        ("Relu", [(4, 5)], [(4, 5)], {}, 20),
        ("Sum", [(4, 5)] * 3, [(4, 5)], {}, 40),
        ("Reshape", [(4, 5), (1,)], [(20,)], {}, 0),
    ],
)
def test_by_hand(op, inputs, outputs, attributes, expected):
    assert call(op, inputs, outputs, **attributes) == expected


@pytest.mark.parametrize(
    ("op", "inputs", "outputs", "attributes", "expected"),
    [
        # 2 x 7 rows of 8 to 3 x 8 with a bias; scores and values: 7 x 7 of 8 each, 2 of them
        (
            "Attention",
            [(2, 7, 8), (8, 24), (24,)],
            [(2, 7, 8)],
            {"num_heads": 2},
            14 * 24 * 17 + 4 * 14 * 7 * 8,
        ),
        # five keys before: (2, batch, heads, past, size)
        (
            "Attention",
            [(2, 7, 8), (8, 24), (24,), None, (2, 2, 2, 5, 4)],
            [(2, 7, 8)],
            {"num_heads": 2},
            14 * 24 * 17 + 4 * 14 * 12 * 8,
        ),
        ("MultiHeadAttention", [(2, 7, 8), (2, 9, 8), (2, 9, 6)], [(2, 7, 6)], {}, 2 * 14 * 9 * (8 + 6)),
        ("MultiHeadAttention", [(2, 7, 2, 3, 4)], [(2, 7, 8)], {}, 4 * 14 * 7 * 8),
        # 8 query heads share 2: cache of 16 tokens, one new
        (
            "GroupQueryAttention",
            [(1, 1, 32), (1, 1, 8), (1, 1, 8), (1, 2, 15, 4), (1, 2, 15, 4)],
            [(1, 1, 32), (1, 2, 16, 4), (1, 2, 16, 4)],
            {"num_heads": 8, "kv_num_heads": 2},
            4 * 16 * 32,
        ),
        # 128 columns of four bits in 4 blocks of 32: their bytes say nothing of K
        ("MatMulNBits", [(3, 128), (10, 4, 16), (40,)], [(3, 10)], {"K": 128, "N": 10}, 2 * 30 * 128),
        ("FusedMatMul", [(5, 3), (5, 7)], [(3, 7)], {"transA": 1}, 2 * 21 * 5),
        ("QGemm", [(3, 5), (), (), (5, 7), (), (), (7,)], [(3, 7)], {}, 2 * 21 * 5 + 21),
        (
            "DynamicQuantizeLSTM",
            [(11, 2, 3), (1, 3, 20), (1, 5, 20)],
            [(11, 1, 2, 5)],
            {},
            2 * 22 * 4 * 5 * 8,
        ),
        # 6 tokens, 2 of 4 experts each, two products of 8 x 16
        ("MoE", [(6, 8), (6, 4), (4, 8, 16), None, (4, 16, 8)], [(6, 8)], {"k": 2}, 6 * 2 * 2 * 2 * 8 * 16),
        ("SkipLayerNormalization", [(2, 3, 4), (2, 3, 4), (4,)], [(2, 3, 4)], {}, 24 * 9),
    ],
)
def test_operators_of_onnx_runtime(op, inputs, outputs, attributes, expected):
    assert call(op, inputs, outputs, "com.microsoft", **attributes) == expected


def test_attention_of_the_standard_is_another_operator():
    """Heads (batch, heads, length, size); three keys before, four heads for two."""
    heads = [(2, 4, 5, 8), (2, 2, 6, 8), (2, 2, 6, 7), None, (2, 2, 3, 8)]
    assert call("Attention", heads, [(2, 4, 5, 7)]) == 2 * 2 * 4 * 5 * 9 * (8 + 7)
    flat = [(2, 5, 32), (2, 6, 16), (2, 6, 14)]
    counts = {"q_num_heads": 4, "kv_num_heads": 2}
    assert call("Attention", flat, [(2, 5, 28)], **counts) == 2 * 2 * 4 * 5 * 6 * (8 + 7)


def test_unknown_types_have_no_rule():
    assert call("ImageNetClassifier", [(1, 4, 4)], [(3, 3)]) is None


@pytest.mark.parametrize("op", sorted(PRODUCTS))
def test_wrong_shapes_are_input_errors(op):
    for inputs in ([], [(3,)], [(), ()], [None, (2, 2)]):
        try:
            found = call(op, inputs, [(2, 2)], equation=b"ab,bc->ac")
        except InputError:
            continue
        assert found is not None
        assert found >= 0


def test_every_rule_copes_with_a_plain_tensor():
    elementwise = [op for op in RULES if op not in (*PRODUCTS, "STFT", "NonMaxSuppression")]
    assert all(call(op, [(2, 3), (2, 3)], [(2, 3)]) >= 0 for op in elementwise)
