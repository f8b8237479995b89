"""FLOP rules by hand; a multiply-add counts as two."""

import pytest

from placer.errors import InputError
from placer.imports.onnx_flops import PRODUCTS, RULES, Call, flops


def call(op, inputs, outputs, **attributes):
    return flops(Call(op, tuple(inputs), tuple(outputs), attributes))


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


def test_unknown_types_have_no_rule():
    assert call("NonMaxSuppression", [(1, 4, 4)], [(3, 3)]) is None


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
    elementwise = [op for op in RULES if op not in PRODUCTS]
    assert all(call(op, [(2, 3), (2, 3)], [(2, 3)]) >= 0 for op in elementwise)
