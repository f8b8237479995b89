"""ONNX models: published sizes, constants, dimensions, and what is refused."""

import itertools

import numpy as np
import pytest

from placer.errors import InputError, UsageError
from placer.imports.model import Kind
from tests.support.models import LIGHT

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra 'onnx')")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from placer.imports.onnx_model import read_onnx  # noqa: E402
from placer.imports.onnx_shapes.dims import parse_dims  # noqa: E402

SZE = "Sze et al., Efficient Processing of Deep Neural Networks, Proc. IEEE 105 (2017), table II"
PUBLISHED = {
    # millions of parameters, millions of multiply-adds (half of our FLOPs), where
    "bvlc_alexnet": (61.0, 724, SZE + " (at 227x227)"),
    "inception_v1": (7.0, 1430, SZE),
    "resnet50": (25.557, 4089, "torchvision.models, resnet50 weights: 25557032 parameters, 4.09 G"),
    "vgg19": (143.667, 19632, "torchvision.models, vgg19 weights: 143667240 parameters, 19.63 G"),
    "densenet121": (7.979, 2834, "torchvision.models, densenet121 weights: 7978856 parameters, 2.83 G"),
    "squeezenet": (1.2355, 349, "torchvision.models, squeezenet1_1 weights: 1235496 parameters, 0.35 G"),
    "inception_v2": (11.2, 2020, "BN-Inception: 11.2 M parameters, 2.0 G (Ioffe and Szegedy 2015 give 2.0)"),
}
"""Sources count multiply-adds of convolutions and matrix products."""
ZOO_MEGABYTES = {"shufflenet": 5.3, "zfnet512": 333.0, "resnet50": 97.8, "vgg19": 548.1}
"""Model sizes that the ONNX model zoo gives, in MiB; numbers have 32 bits."""


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_sizes(name):
    """Within 2 % of what was published."""
    millions, multiply_adds, _ = PUBLISHED[name]
    dims = parse_dims(["data_0:2=227", "data_0:3=227"]) if name == "bvlc_alexnet" else None
    model = read_onnx(f"light:{name}", dims=dims)
    assert model.parameters / 1e6 == pytest.approx(millions, rel=0.02)
    assert model.flops(Kind.PRODUCT) / 2e6 == pytest.approx(multiply_adds, rel=0.02)
    assert model.flops(Kind.PRODUCT) <= model.flops() <= 1.03 * model.flops(Kind.PRODUCT)


@pytest.mark.parametrize("name", sorted(ZOO_MEGABYTES))
def test_published_file_sizes(name):
    parameters = read_onnx(f"light:{name}").parameters
    assert 4 * parameters / 2**20 == pytest.approx(ZOO_MEGABYTES[name], rel=0.02)


@pytest.mark.parametrize("name", LIGHT)
def test_light_models_are_read_whole(name):
    """Every operator of the files is there or folded; the runs of the graph are in topological order."""
    model = read_onnx(f"light:{name}")
    assert [o.op for o in model.operators if o.flops is None] == []
    assert not any(o.op in ("ConstantOfShape", "Unsqueeze") for o in model.operators)
    position = {key: i for i, o in enumerate(model.operators) for key in o.outputs}
    assert all(position.get(key, -1) < i for i, o in enumerate(model.operators) for key in o.inputs)
    assert len(model.outputs) == 1


def test_resnet50_first_convolution():
    """64 filters of 7x7x3 on 112x112 outputs: 9408 weights, 118 M multiply-adds, 3.2 MB out."""
    model = read_onnx("light:resnet50")
    first = model.operators[0]
    assert (first.op, first.flops) == ("Conv", 2 * 112 * 112 * 64 * 147)
    assert [model.weights[w].elements for w in first.weights] == [9408]
    assert model.values[first.outputs[0]].size_bytes == 4 * 64 * 112 * 112
    read = 4 * (3 * 224 * 224 + 9408 + 64 * 112 * 112)
    assert first.moved_bytes == read


@pytest.mark.parametrize(("name", "batch"), [("resnet50", "gpu_0/data_0"), ("vgg19", "data_0")])
def test_batch_of_a_fixed_model(name, batch):
    """FLOPs grow with the batch, weights do not; the reshape to a fixed batch follows."""
    one, eight = read_onnx(f"light:{name}"), read_onnx(f"light:{name}", dims={f"{batch}:0": 8})
    assert eight.flops() == 8 * one.flops()
    assert eight.parameters == one.parameters


def test_precision_scales_floating_point():
    full, half = read_onnx("light:squeezenet"), read_onnx("light:squeezenet", precision="fp16")
    assert sum(w.size_bytes for w in half.weights.values()) == pytest.approx(
        sum(w.size_bytes for w in full.weights.values()) / 2
    )
    assert (full.precision, half.precision) == ("fp32", "fp16")
    assert half.flops() == full.flops()


# -- models made here ------------------------------------------------------------------------------


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def save(tmp_path, nodes, inputs, outputs, tensors=(), **more):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(tensors))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    path = tmp_path / "model.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=imports, ir_version=8, **more).SerializeToString()
    )
    return path


def floats(name, *shape):
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def test_symbolic_dimensions_flow_through_shapes(tmp_path):
    """A reshape whose target is computed from the shape of its input: the classifier of many exports."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axis"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    tensors = [
        numpy_helper.from_array(np.array(0, np.int64), "zero"),
        numpy_helper.from_array(np.array([0], np.int64), "axis"),
        numpy_helper.from_array(np.array([-1], np.int64), "rest"),
        floats("w", 12, 5),
    ]
    path = save(tmp_path, nodes, [value("x", ["batch", 3, 4])], [value("y", ["batch", 5])], tensors)
    missing = r"dimension 'batch' \(axis 0 of 'x'\) has no value; set it, for example --dim batch=1"
    with pytest.raises(InputError, match=missing):
        read_onnx(path)
    model = read_onnx(path, dims={"batch": 8})
    assert [o.op for o in model.operators] == ["Reshape", "MatMul"]
    assert model.operators[1].flops == 2 * 8 * 12 * 5
    with pytest.raises(UsageError, match="choose from batch"):
        read_onnx(path, dims={"sequence": 4})


def test_statistics_are_kept_but_not_parameters(tmp_path):
    nodes = [helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])]
    path = save(
        tmp_path,
        nodes,
        [value("x", [1, 6, 2, 2]), value("s", [6])],  # an initialiser that is listed as input as well
        [value("y", None)],
        [floats(name, 6) for name in "sbmv"],
    )
    model = read_onnx(path)
    assert model.parameters == 12
    assert sum(w.size_bytes for w in model.weights.values()) == 4 * 24


def test_operators_without_a_rule_are_named(tmp_path):
    """Bytes over bandwidth is their time, and the instance says so."""
    from placer.imports.api import import_onnx

    nodes = [helper.make_node("Secret", ["x"], ["y"], domain="own"), helper.make_node("Relu", ["y"], ["z"])]
    path = save(tmp_path, nodes, [value("x", [1000, 1000])], [value("z", [1000, 1000])])
    with pytest.raises(InputError, match="tensor 'y': its shape cannot be inferred, and operator Secret"):
        read_onnx(path)
    model = onnx.load(path)
    model.graph.value_info.append(value("y", [1000, 1000]))
    path.write_bytes(model.SerializeToString())
    instance = import_onnx(path, cluster="t4:1")
    assert "no FLOP rule, bytes over bandwidth instead: Secret (1)" in instance.source.notes
    assert instance.origin[0].flops is None
    moved, reached = 8e6, 320e9 * 0.8
    assert instance.time_ms[0, 0] == pytest.approx(1e3 * moved / reached + 0.005)


def test_tied_matrices_are_colocated_and_equal_vectors_are_not(tmp_path):
    from placer.imports.api import import_onnx

    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["y"]),
        helper.make_node("Gemm", ["y", "v", "b"], ["z"]),
        helper.make_node("Gemm", ["z", "w", "b"], ["out"]),
    ]
    tensors = [floats("w", 6, 6), floats("v", 6, 6), floats("b", 6)]
    path = save(tmp_path, nodes, [value("x", [1, 6])], [value("out", None)], tensors)
    instance = import_onnx(path, cluster="t4:2", tied="colocate")
    assert [sorted(instance.ids[v] for v in group) for group in instance.groups.values()] == [["out", "y"]]
    assert instance.weight_bytes.tolist() == [4 * 42, 4 * 42, 4 * 6]
    copied = import_onnx(path, cluster="t4:2")
    assert not copied.groups
    assert copied.weight_bytes.tolist() == [4 * 42] * 3


def test_local_functions_are_inlined(tmp_path):
    function = helper.make_function(
        "own",
        "Twice",
        ["a"],
        ["c"],
        [helper.make_node("Add", ["a", "a"], ["c"])],
        [helper.make_opsetid("", 17)],
    )
    path = save(
        tmp_path,
        [helper.make_node("Twice", ["x"], ["y"], domain="own")],
        [value("x", [4])],
        [value("y", [4])],
        functions=[function],
    )
    assert [(o.op, o.flops) for o in read_onnx(path).operators] == [("Add", 4)]


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../b", "C:\\x", "..\\x"])
def test_external_data_outside_the_folder_is_refused(tmp_path, location):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[6, 6])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = save(tmp_path, nodes, [value("x", [1, 6])], [value("y", None)], [tensor])
    with pytest.raises(InputError, match="lies outside the model's folder"):
        read_onnx(path)


def test_external_data_need_not_be_there(tmp_path):
    """Only shapes matter, so weights can stay where they are."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[6, 6])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = save(tmp_path, nodes, [value("x", [1, 6])], [value("y", None)], [tensor])
    assert read_onnx(path).parameters == 36


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "no graph with operators"),
        (b"{}", "not an ONNX model"),
        (bytes(range(256)) * 8, "not an ONNX model"),
        (b"\x0a" * 1000, "not an ONNX model"),
    ],
)
def test_other_files_are_refused(tmp_path, content, rule):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rule) as error:
        read_onnx(path)
    assert str(error.value).startswith(str(path))


def test_truncated_and_damaged_models_never_crash():
    """Every defect is an input error: random bytes overwritten, the end cut off."""
    from placer.imports.onnx_file import light_model

    data = light_model("light:bvlc_alexnet").read_bytes()
    rng = np.random.default_rng(0)
    for seed in range(60):
        damaged = bytearray(data[: len(data) - seed * 20])
        for place in rng.integers(0, len(damaged), 3):
            damaged[place] = rng.integers(0, 256)
        outcome = _outcome(bytes(damaged))
        assert outcome is None or isinstance(outcome, InputError), outcome


def _outcome(data):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.onnx"
        path.write_bytes(data)
        try:
            read_onnx(path)
        except Exception as error:
            return error
    return None


@pytest.mark.parametrize("setting", ["batch", "=3", "batch=0", "batch=x", "batch=-1", "batch=1e3"])
def test_bad_dimensions(setting):
    with pytest.raises(UsageError, match="--dim expects"):
        parse_dims([setting])


def test_unknown_light_model():
    with pytest.raises(UsageError, match="choose from bvlc_alexnet, densenet121"):
        read_onnx("light:resnet18")


def test_module_paths_from_names(tmp_path):
    """``/block.0/fc/MatMul`` lies in ``block.0.fc``; blocks become nodes with --by module."""
    from placer.imports.api import import_onnx

    names = ["x", *(f"/block.{i}/{part}" for i in range(3) for part in ("fc/MatMul", "act/Relu"))]
    nodes = []
    for read, name in itertools.pairwise(names):
        product = name.endswith("MatMul")
        reads = [read, f"w{name}"] if product else [read]
        nodes.append(helper.make_node("MatMul" if product else "Relu", reads, [name], name=name))
    tensors = [floats(f"w{name}", 6, 6) for name in names if name.endswith("MatMul")]
    path = save(tmp_path, nodes, [value("x", [1, 6])], [value(names[-1], None)], tensors)
    assert read_onnx(path).operators[0].module == "block.0.fc"
    instance = import_onnx(path, cluster="t4:2", by="module")
    assert instance.ids == ("block.0", "block.1", "block.2")
    assert instance.origin[1].operators == ("/block.1/fc/MatMul", "/block.1/act/Relu")
    assert instance.origin[1].parameters == ("w/block.1/fc/MatMul",)
