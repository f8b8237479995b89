"""Attention in ONNX graphs as one kernel or as products and a softmax, however the file has it."""

import numpy as np
import pytest

from placer.errors import UsageError
from placer.imports.gradients import backward_pass
from placer.imports.model import Kind

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra 'onnx')")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from placer.imports.onnx_model import read_onnx  # noqa: E402

KERNEL = "FusedAttention"
HEADS, SHARED, SIZE, TOKENS = 8, 2, 16, 64
WIDTH = HEADS * SIZE
FLOAT = TensorProto.FLOAT


class Graph:
    """Nodes and constants of a file."""

    def __init__(self):
        self.nodes, self.tensors = [], []

    def constant(self, array, name=None):
        name = name or f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(self, op, *inputs, out=None, **attributes):
        out = out or f"{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [out], **attributes))
        return out

    def save(self, path, inputs, outputs, domain=""):
        ends = [
            [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in part]
            for part in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "g", *ends, self.tensors)
        opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=11), path)
        return path


def heads(g, x, count, name):
    """Project to heads: (1, count, tokens, SIZE)."""
    w = g.constant(np.zeros((WIDTH, count * SIZE), np.float32), f"{name}.weight")
    split = g.constant(np.array([0, 0, count, SIZE]))
    return g.add("Transpose", g.add("Reshape", g.add("MatMul", x, w), split), perm=[0, 2, 1, 3])


def repeated(g, x):
    """Copy the shared heads for those that share them."""
    wide = g.constant(np.array([1, SHARED, HEADS // SHARED, 1, SIZE]))
    flat = g.constant(np.array([0, HEADS, -1, SIZE]))
    return g.add("Reshape", g.add("Expand", g.add("Unsqueeze", x, g.constant(np.array([2]))), wide), flat)


def block(tmp_path, how, attention, tokens=TOKENS, cached=0):
    """Attention of grouped heads as exporters write it; over a cache, if there is one."""
    g = Graph()
    inputs, outputs = [("x", (1, tokens, WIDTH))], [("y", (1, tokens, WIDTH))]
    q, k, v = (heads(g, "x", count, name) for count, name in ((HEADS, "q"), (SHARED, "k"), (SHARED, "v")))
    if cached:
        past = [(name, (1, SHARED, cached, SIZE)) for name in ("pk", "pv")]
        k, v = (
            g.add("Concat", name, new, axis=2, out=f"{name}.all")
            for (name, _), new in zip(past, (k, v), strict=True)
        )
        inputs += past
        outputs += [(f"{name}.all", (1, SHARED, cached + tokens, SIZE)) for name, _ in past]
    if how == "operator":
        inputs.append(("mask", (tokens, cached + tokens)))
        joined = g.add("Attention", q, k, v, "mask")
    else:
        scale = g.constant(np.float32(SIZE**-0.25))
        q = g.add("Mul", q, scale)
        k = g.add("Mul", g.add("Transpose", repeated(g, k), perm=[0, 1, 3, 2]), scale)
        scores = g.add("MatMul", q, k)
        if how == "bias":
            scores = g.add("Add", scores, g.constant(np.ones((HEADS, 1, 1), np.float32), "bias"))
        if how == "products":  # what is added is computed from the tokens: no mask
            scores = g.add("Add", scores, g.add("MatMul", q, g.add("Relu", k)))
        if how == "feature":
            w = g.constant(np.zeros((WIDTH, cached + tokens), np.float32), "w")
            scores = g.add("Add", scores, g.add("MatMul", "x", w))
        inputs.append(("mask", (tokens, cached + tokens)))
        far = g.constant(np.float32(-1e9))
        masked = g.add("Add", scores, g.add("Mul", g.add("Sub", g.constant(np.float32(1)), "mask"), far))
        shares = g.add("Softmax", masked, axis=-1, out="shares")
        if how == "guarded":
            shares = g.add("Where", g.add("IsNaN", shares), g.constant(np.float32(0)), shares)
        if how == "shown":
            outputs.append(("shares", (1, HEADS, tokens, cached + tokens)))
        joined = g.add("MatMul", shares, repeated(g, v))
    merged = g.add(
        "Reshape", g.add("Transpose", joined, perm=[0, 2, 1, 3]), g.constant(np.array([0, 0, WIDTH]))
    )
    g.add("MatMul", merged, g.constant(np.zeros((WIDTH, WIDTH), np.float32), "o.weight"), out="y")
    return read_onnx(g.save(tmp_path / "m.onnx", inputs, outputs), attention=attention)


def kernels(model):
    return [o for o in model.operators if o.op == KERNEL]


@pytest.mark.parametrize("how", ["plain", "guarded"])
def test_one_kernel_by_hand(tmp_path, how):
    """Reads queries and the two heads of keys and values, writes the result; four bytes a number."""
    model = block(tmp_path, how, "fused")
    (kernel,) = kernels(model)
    assert kernel.flops == 2 * 2 * HEADS * TOKENS * TOKENS * SIZE
    assert kernel.moved_bytes == 4 * TOKENS * (WIDTH + 2 * SHARED * SIZE + WIDTH)
    kept = backward_pass(model).stash_bytes
    assert sum(kept) == 4 * TOKENS * (3 * WIDTH + 2 * SHARED * SIZE)  # tokens, queries, result; keys, values
    assert [o.op for o in model.operators if o.kind is not Kind.VIEW] == ["MatMul"] * 3 + [KERNEL, "MatMul"]
    assert model.parameters == WIDTH * (2 * WIDTH + 2 * SHARED * SIZE)
    plain = block(tmp_path, how, None)
    assert plain.flops(Kind.PRODUCT) == model.flops(Kind.PRODUCT)
    assert plain.parameters == model.parameters
    matrix = 4 * HEADS * TOKENS * TOKENS
    assert sum(o.moved_bytes for o in plain.operators) > 5 * matrix + sum(
        o.moved_bytes for o in model.operators
    )


def test_what_is_no_single_kernel_stays(tmp_path):
    for how in ("shown", "products", "feature"):
        assert not kernels(block(tmp_path, how, "fused"))
    (kernel,) = kernels(block(tmp_path, "bias", "fused"))
    assert kernel.weights == ("bias",)
    assert kernel.moved_bytes == 4 * (TOKENS * (2 * WIDTH + 2 * SHARED * SIZE) + HEADS)


def test_a_step_of_decoding_reads_its_cache_once(tmp_path):
    cached = 4095
    model = block(tmp_path, "plain", "fused", tokens=1, cached=cached)
    (kernel,) = kernels(model)
    assert kernel.moved_bytes == 4 * (2 * SHARED * SIZE * (cached + 1) + 2 * WIDTH)
    assert [o.moved_bytes for o in model.operators if o.op == "Concat"] == [2 * 4 * SHARED * SIZE] * 2


def test_the_operator_of_the_standard(tmp_path):
    """Fused: without its mask; eager: with all scores, which are as many as those written by hand."""
    whole, fused, eager = (block(tmp_path, "operator", way) for way in (None, "fused", "eager"))
    (one,), (other,) = ([o for o in m.operators if o.op == "Attention"] for m in (whole, fused))
    assert one.moved_bytes - other.moved_bytes == 4 * TOKENS * TOKENS
    assert "mask" in one.inputs
    assert "mask" not in other.inputs
    matrix = 4 * HEADS * TOKENS * TOKENS
    (softmax,) = (o for o in eager.operators if o.op == "softmax")
    assert softmax.moved_bytes == 2 * matrix
    assert {m.flops(Kind.PRODUCT) for m in (whole, fused, eager)} == {one.flops + eager_projections(whole)}
    kept = dict(zip((o.op for o in eager.operators), backward_pass(eager).stash_bytes, strict=True))
    assert kept["softmax"] == matrix


def eager_projections(model):
    return sum(o.flops for o in model.operators if o.op == "MatMul")


CONTRIB = {
    # operator, inputs, attributes, outputs, bytes that fused saves
    "MultiHeadAttention": (
        [("q", (2, 8, 64)), ("k", (2, 8, 64)), ("v", (2, 8, 64)), ("", ()), ("", ()), ("m", (2, 4, 8, 8))],
        {"num_heads": 4}, [("y", (2, 8, 64))], 4 * 2 * 4 * 8 * 8,
    ),
    "GroupQueryAttention": (
        [("q", (1, 1, 64)), ("k", (1, 1, 32)), ("v", (1, 1, 32)),
         ("pk", (1, 2, 7, 16)), ("pv", (1, 2, 7, 16))],
        {"num_heads": 4, "kv_num_heads": 2},
        [("y", (1, 1, 64)), ("nk", (1, 2, 8, 16)), ("nv", (1, 2, 8, 16))], 2 * 4 * 2 * 7 * 16,
    ),
    "Attention": (
        [("x", (2, 8, 64)), ("w", (64, 192)), ("b", (192,))], {"num_heads": 4}, [("y", (2, 8, 64))], 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("op", CONTRIB)
def test_operators_of_onnx_runtime(tmp_path, op):
    """Of their own; products do not change, and what eager writes and reads are the scores."""
    inputs, attributes, outputs, saved = CONTRIB[op]
    weights = [i for i in inputs if i[0] in ("w", "b")]
    tensors = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights]
    names = [name for name, _ in inputs]
    if op == "GroupQueryAttention":
        names += ["lengths", "total"]
        tensors += [
            numpy_helper.from_array(np.array(n, np.int32), name)
            for name, n in (("lengths", [7]), ("total", 8))
        ]
    node = helper.make_node(op, names, [n for n, _ in outputs], domain="com.microsoft", **attributes)
    ends = [
        [helper.make_tensor_value_info(n, FLOAT, s) for n, s in part if n and n not in ("w", "b")]
        for part in (inputs, outputs)
    ]
    graph = helper.make_graph([node], "g", *ends, tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    whole, fused, eager = (read_onnx(path, attention=way) for way in (None, "fused", "eager"))
    (one,), (other,) = whole.operators, fused.operators
    assert one.moved_bytes - other.moved_bytes == saved
    (softmax,) = (o for o in eager.operators if o.op == "softmax")
    keys = 8
    queries = inputs[0][1][0] * inputs[0][1][1]
    assert softmax.moved_bytes == 2 * 4 * 4 * queries * keys
    assert {m.flops(Kind.PRODUCT) for m in (whole, fused, eager)} == {one.flops}
    assert {m.parameters for m in (whole, fused, eager)} == {whole.parameters}


def test_ways_that_are_not_known(tmp_path):
    with pytest.raises(UsageError, match="attention"):
        block(tmp_path, "plain", "flash")
