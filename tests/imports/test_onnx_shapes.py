"""Shapes of ONNX models, against ONNX Runtime and the data of ONNX's own tests."""

import numpy as np
import pytest

from placer.errors import InputError, UsageError

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra 'onnx')")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from placer.imports.model import Kind  # noqa: E402
from placer.imports.onnx_model import read_onnx  # noqa: E402
from placer.imports.onnx_shapes.dims import evaluated, parse_dims, parse_passes, parse_values  # noqa: E402
from placer.imports.onnx_shapes.tracer import Tracer  # noqa: E402
from tests.support.onnx_graphs import (  # noqa: E402
    FLOAT,
    INT,
    floats,
    ints,
    node,
    save,
    session,
    sizes,
    value,
)

# -- sizes of inputs -------------------------------------------------------------------------------


def test_all_missing_dimensions_are_named_at_once(tmp_path):
    """Only those of inputs; unnamed, negative and zero ones get names, equal symbols are one."""
    nodes = [node("Add", "x,y", "a"), node("MatMul", "a,w", "b"), node("ReduceSum", "s", "t")]
    inputs = [value("x", ["n", -1]), value("y", ["n", "?"]), value("s", [2, 0, 3])]
    path = save(
        tmp_path, nodes, inputs, [value("b", ["n", "inner"]), value("t", None)], [floats("w", 128, 4)]
    )
    with pytest.raises(InputError) as error:
        read_onnx(path)
    text = str(error.value)
    assert "dimensions 'n' (axis 0 of 'x' and 1 more), 'x.1' (axis 1 of 'x')" in text
    assert "inner" not in text
    setting = text.rpartition("--dim ")[2]
    assert setting == "n=1,x.1=128,y.1=128,s.1=1"
    model = read_onnx(path, dims=parse_dims([setting]))
    assert model.flops(Kind.PRODUCT) == 2 * 128 * 4


def test_suggested_sizes_are_tried_out(tmp_path):
    """A kernel that only fits heights of 48: the first suggestion that the model takes."""
    nodes = [
        node("Conv", "x,w", "c", strides=[48, 1]),
        node("Squeeze", "c,two", "s"),
    ]
    path = save(
        tmp_path,
        nodes,
        [value("x", [1, 3, -1, 320])],
        [value("s", None)],
        [floats("w", 4, 3, 48, 1), ints("two", [2])],
    )
    with pytest.raises(InputError, match=r"--dim x\.2=48$"):
        read_onnx(path)
    read_onnx(path, dims={"x.2": 48})
    with pytest.raises(InputError, match="shapes do not fit: a kernel"):
        read_onnx(path, dims={"x.2": 40})


def test_sizes_that_follow_from_others_are_not_asked_for(tmp_path):
    inputs = [value("x", ["past", 4]), value("y", ["new", 4]), value("m", ["past + new", 4])]
    nodes = [helper.make_node("Concat", ["x", "y"], ["c"], axis=0), node("Add", "c,m", "out")]
    path = save(tmp_path, nodes, inputs, [value("out", ["past + new", 4])])
    with pytest.raises(InputError, match=r"--dim past=1,new=1"):
        read_onnx(path)
    assert sizes(read_onnx(path, dims={"past": 5, "new": 2}))["out"] == 7 * 4 * 4


def test_expressions_of_sizes():
    dims = {"a": 7, "b": 3}
    assert [evaluated(text, dims) for text in ("a + b", "2*a-b", "a//b", "a", "c")] == [10, 11, 2, 7, None]
    assert [evaluated(text, dims) for text in ("a.__class__", "a**b", "f(a)", "a//0", "(" * 300)] == [
        None
    ] * 5


def test_settings():
    assert parse_dims(["a=1,b=2", "c,d=3"]) == {"a": 1, "b": 2, "c,d": 3}
    assert parse_values(["sr=16000", "size=3,4"]) == {"sr": (16000.0,), "size": (3.0, 4.0)}
    assert parse_passes(["5", "loop:0=7"]) == {"": 5, "loop:0": 7}
    for wrong in ("sr", "=1", "sr=x", "sr="):
        with pytest.raises(UsageError, match="--value expects"):
            parse_values([wrong])
    with pytest.raises(UsageError, match="--passes expects"):
        parse_passes(["loop=-1"])


def test_values_of_inputs_decide_shapes(tmp_path):
    nodes = [node("Expand", "x,size", "e")]
    path = save(tmp_path, nodes, [value("x", [1, 3]), value("size", [2], INT)], [value("e", None)])
    with pytest.raises(InputError, match="--value size=N may decide it"):
        read_onnx(path, run=False)
    assert sizes(read_onnx(path, values={"size": (5, 3)}))["e"] == 5 * 3 * 4
    with pytest.raises(UsageError, match="3 numbers do not fit the input 'size'"):
        read_onnx(path, values={"size": (1, 2, 3)})
    with pytest.raises(UsageError, match="the model has no input 'sise'"):
        read_onnx(path, values={"sise": (1,)})


# -- shapes ----------------------------------------------------------------------------------------


def test_stated_shapes_that_are_wrong_do_not_matter(tmp_path):
    """Some exporters write -1, or the sizes of another input, for tensors inside."""
    nodes = [node("Relu", "x", "a"), node("GlobalAveragePool", "a", "b")]
    path = save(tmp_path, nodes, [value("x", ["n", 8, 5, 5])], [value("b", None)])
    model = onnx.load(path)
    model.graph.value_info.append(value("a", [-1, 8, 7, 7]))
    path.write_bytes(model.SerializeToString())
    assert sizes(read_onnx(path, dims={"n": 3})) == {"x": 2400, "a": 2400, "b": 3 * 8 * 4}


def test_pads_and_slices_computed_from_shapes(tmp_path):
    """As exporters write them: shape, slice, arithmetic, cast, concat."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s,one", "n"),
        node("Div", "n,two", "half"),
        node("Sub", "n,half", "rest"),
        node("Unsqueeze", "half,zeros", "h1"),
        node("Unsqueeze", "rest,zeros", "r1"),
        helper.make_node("Concat", ["zeros", "h1", "zeros", "r1"], ["pads"], axis=0),
        node("Pad", "x,pads", "p"),
        node("Slice", "p,zeros,h1,axes", "out"),
    ]
    tensors = [ints("one", 1), ints("two", 2), ints("zeros", [0]), ints("axes", [1])]
    path = save(tmp_path, nodes, [value("x", [2, "n"])], [value("out", None)], tensors)
    model = read_onnx(path, dims={"n": 7})
    assert [o.op for o in model.operators] == ["Pad", "Slice"]
    assert (sizes(model)["p"], sizes(model)["out"]) == (2 * 14 * 4, 2 * 3 * 4)


def test_sizes_that_numbers_decide_count_at_their_largest(tmp_path):
    nodes = [
        node("NonZero", "x", "z"),
        node("NonMaxSuppression", "boxes,scores,most", "kept"),
    ]
    inputs = [value("x", [4, 5]), value("boxes", [2, 30, 4]), value("scores", [2, 3, 30])]
    path = save(
        tmp_path, nodes, inputs, [value("z", None, INT), value("kept", None, INT)], [ints("most", [10])]
    )
    model = read_onnx(path)
    assert (sizes(model)["z"], sizes(model)["kept"]) == (8 * 2 * 20, 8 * 2 * 3 * 10 * 3)
    assert sum("largest size" in note for note in model.notes) == 2


def test_a_run_shows_what_does_not_follow(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    nodes = [
        node("ArgMax", "x", "i", axis=1, keepdims=0),
        node("Squeeze", "i", "k"),
        node("Range", "zero,k,one", "r"),
        node("Cast", "r", "f", to=FLOAT),
        node("Unsqueeze", "f,axis", "u"),
        node("MatMul", "u,w", "y"),
    ]
    tensors = [ints("zero", 0), ints("one", 1), ints("axis", [1]), floats("w", 1, 6)]
    path = save(tmp_path, nodes, [value("x", [1, 9])], [value("y", None)], tensors)
    with pytest.raises(InputError, match="its shape cannot be inferred"):
        read_onnx(path, run=False)
    model = read_onnx(path)
    picked = int(np.argmax(np.random.default_rng(0).standard_normal((1, 9)).astype(np.float32)))
    assert sizes(model)["y"] == picked * 6 * 4
    assert any("seen in a run" in note for note in model.notes)


def test_comparisons_of_older_opsets(tmp_path):
    """Of which ONNX's own inference says nothing."""
    path = tmp_path / "m.onnx"
    nodes = [
        helper.make_node("GreaterOrEqual", ["x", "y"], ["more"]),
        helper.make_node("LessOrEqual", ["x", "y"], ["less"]),
        helper.make_node("And", ["more", "less"], ["z"]),
    ]
    ends = [("x", (3, 1), 1), ("y", (4,), 1), ("z", None, 9)]
    x, y, z = (helper.make_tensor_value_info(name, kind, shape) for name, shape, kind in ends)
    graph = helper.make_graph(nodes, "g", [x, y], [z])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    assert read_onnx(path, run=False).values["z"].size_bytes == 12


def test_operators_of_others_are_never_loaded(tmp_path):
    """The runtime refuses them, and the message is one line."""
    nodes = [node("Secret", "x", "y", domain="own"), node("Relu", "y", "z")]
    path = save(tmp_path, nodes, [value("x", [3])], [value("z", None)], domains=["own"])
    with pytest.raises(
        InputError, match="tensor 'y': its shape cannot be inferred, and operator Secret"
    ) as error:
        read_onnx(path)
    assert "\n" not in str(error.value)


def test_shapes_beside_the_model_are_read_when_asked(tmp_path):
    """Never by default; and no more of the file than the tensor has."""
    target = TensorProto(name="target", data_type=INT, dims=[2])
    target.data_location = TensorProto.EXTERNAL
    for key, text in (("location", "sizes.bin"), ("offset", "8"), ("length", "1000000")):
        target.external_data.add(key=key, value=text)
    (tmp_path / "sizes.bin").write_bytes(np.array([9, 6, 2, 7], np.int64).tobytes())
    path = save(
        tmp_path, [node("Reshape", "x,target", "y")], [value("x", [12])], [value("y", None)], [target]
    )
    with pytest.raises(InputError, match=r"such as 'sizes\.bin': --external-data reads them"):
        read_onnx(path)
    assert sizes(read_onnx(path, external_data=True))["y"] == 48
    (tmp_path / "sizes.bin").unlink()
    with pytest.raises(InputError, match="external data cannot be read"):
        read_onnx(path, external_data=True)


def test_weights_of_few_bits_take_what_they_are_stored_in(tmp_path):
    """Int4 weights of 2 x 64: 64 bytes, read as such by the product behind the scaling."""
    packed = helper.make_tensor("q", TensorProto.INT4, [64, 2], bytes(64), raw=True)
    nodes = [node("DequantizeLinear", "q,scale", "w"), node("MatMul", "x,w", "y")]
    path = save(
        tmp_path, nodes, [value("x", [3, 64])], [value("y", None)], [packed, floats("scale")], opset=21
    )
    model = read_onnx(path)
    assert [o.op for o in model.operators] == ["MatMul"]
    assert model.weights["q"].size_bytes == 64
    assert model.operators[0].moved_bytes == 4 * (3 * 64 + 3 * 2) + 64 + 4
    assert model.precision == "fp32"


@pytest.mark.parametrize("kind", ["FLOAT16", "BFLOAT16", "FLOAT8E4M3FN", "INT8", "UINT4", "FLOAT4E2M1"])
def test_bytes_of_element_types(tmp_path, kind):
    expected = {"FLOAT16": 2, "BFLOAT16": 2, "FLOAT8E4M3FN": 1, "INT8": 1, "UINT4": 0.5, "FLOAT4E2M1": 0.5}
    number = getattr(TensorProto, kind)
    path = save(
        tmp_path,
        [node("Identity", "x", "y")],
        [value("x", [6], number)],
        [value("y", None, number)],
        opset=23,
    )
    assert sizes(read_onnx(path))["x"] == 6 * expected[kind]


# -- operators of ONNX Runtime ---------------------------------------------------------------------


def contrib(tmp_path, op, inputs, outputs, tensors=(), **attributes):
    made = helper.make_node(
        op, [*inputs, *(t.name for t in tensors)], outputs, domain="com.microsoft", **attributes
    )
    given = [value(name, shape) for name, shape in inputs.items()]
    return save(
        tmp_path, [made], given, [value(o, None) for o in outputs], tensors, domains=["com.microsoft"]
    )


CONTRIBUTED = {
    "Attention": ({"x": [2, 7, 8]}, [floats("w", 8, 24), floats("b", 24)], 2, {"num_heads": 2}),
    "MultiHeadAttention": ({"q": [2, 7, 8], "k": [2, 9, 8], "v": [2, 9, 8]}, [], 1, {"num_heads": 2}),
    "SkipLayerNormalization": ({"x": [2, 3, 8], "s": [2, 3, 8]}, [floats("g", 8)], 1, {}),
    "FusedMatMul": ({"a": [4, 5, 3], "b": [4, 5, 6]}, [], 1, {"transA": 1}),
    "BiasGelu": ({"x": [2, 8]}, [floats("b", 8)], 1, {}),
    "FastGelu": ({"x": [2, 8]}, [], 1, {}),
    "QuickGelu": ({"x": [2, 8]}, [], 1, {}),
    "FusedConv": (
        {"x": [1, 3, 9, 9]},
        [floats("w", 4, 3, 3, 3)],
        1,
        {"strides": [2, 2], "activation": "Relu"},
    ),
    "MatMulNBits": (
        {"x": [2, 5, 64]},
        [numpy_helper.from_array(np.zeros((10, 2, 16), np.uint8), "q"), floats("scale", 20)],
        1,
        {"K": 64, "N": 10, "bits": 4, "block_size": 32},
    ),
    "Inverse": ({"x": [2, 3, 3]}, [], 1, {}),
    "CDist": ({"a": [4, 5], "b": [6, 5]}, [], 1, {"metric": "euclidean"}),
}


@pytest.mark.parametrize("op", sorted(CONTRIBUTED))
def test_shapes_of_operators_of_onnx_runtime(tmp_path, op):
    """As the runtime itself computes them."""
    inputs, tensors, count, attributes = CONTRIBUTED[op]
    outputs = [f"out{k}" for k in range(count)]
    path = contrib(tmp_path, op, inputs, outputs, tensors, **attributes)
    trace = Tracer(onnx.load(path)).run()
    feeds = {
        name: np.eye(shape[-2], shape[-1], dtype=np.float32) + np.zeros(shape, np.float32)
        for name, shape in inputs.items()
    }
    found = session(path).run(None, feeds)
    assert [trace.tensors[name].shape for name in outputs] == [array.shape for array in found]
    assert read_onnx(path).operators[0].flops >= 0


# -- all operators ---------------------------------------------------------------------------------

DECIDED_BY_DATA = [
    "Compress",
    "NonZero",
    "NonMaxSuppression",
    "Unique",
    "SequenceMap",
    "StringNormalizer",
    "StringSplit",
    "ImageDecoder",
    "Loop",
    "AffineGrid",
    "MaxUnpool",
    "Optional",
    "OptionalGetElement",
    "OptionalHasElement",
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the cases, which divide by zero on purpose
def test_every_standard_operator():
    """ONNX's own test cases, shapes inside removed: what comes out has the shape of the expected result."""
    cases = pytest.importorskip("onnx.backend.test.case.node").collect_testcases(None)
    wrong, known, total = [], 0, 0
    for case in cases:
        model, (given, expected) = case.model, case.data_sets[0]
        if {n.op_type for n in model.graph.node} & set(DECIDED_BY_DATA) or "expanded" in case.name:
            continue
        values = {}
        for info, array in zip(model.graph.input, given, strict=True):
            if not info.type.HasField("tensor_type") or not isinstance(array, np.ndarray | np.generic):
                continue
            info.CopyFrom(value(info.name, np.shape(array), info.type.tensor_type.elem_type))
            if array.dtype.kind in "iub" and 0 < array.size <= 16:
                values[info.name] = np.ravel(array).tolist()
        trace = Tracer(model, values=values, stated=False).run()
        for info, array in zip(model.graph.output, expected, strict=True):
            total += 1
            found = trace.find(info.name).shape
            known += found is not None
            if found is not None and isinstance(array, np.ndarray) and found != array.shape:
                wrong.append((case.name, found, array.shape))
    assert wrong == []
    assert total > 900
    assert known > 0.95 * total  # of some, numbers decide that were not given
