"""ONNX exports: the parts compute what the model computes, the annotated model passes the checker."""

import itertools
import json

import numpy as np
import pytest

from placer.errors import InputError, UsageError
from placer.exports.api import export

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from tests.support.onnx_models import SIZE, branched, conditional, instance_of  # noqa: E402
from tests.support.plans import planned  # noqa: E402

FOLDED = ("shape",)  # an importer knows the shape


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(branched(), path)
    return path


def session(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_parts(folder, feeds):
    """Run the parts one after another, as the manifest says."""
    manifest = json.loads((folder / "manifest.json").read_text())
    tensors = dict(feeds)
    for part in manifest["parts"]:
        feed = {name: tensors[name] for name in part["inputs"]}
        outputs = session(folder / part["file"]).run(part["outputs"], feed)
        tensors |= dict(zip(part["outputs"], outputs, strict=True))
    return manifest, [tensors[name] for name in manifest["outputs"]]


def assert_same(folder, whole, feeds):
    manifest, got = run_parts(folder, feeds)
    expected = session(whole).run(None, feeds)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    return manifest


def feeds_of(path, seed=0):
    rng = np.random.default_rng(seed)
    graph = onnx.load(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    return {
        value.name: rng.normal(size=[d.dim_value or 1 for d in value.type.tensor_type.shape.dim]).astype("f4")
        for value in graph.input
        if value.name not in weights
    }


PLANS = {
    # Operators in order: a b c0 c d e f g h.
    "chain": ["gpu0"] * 3 + ["gpu1"] * 3 + ["gpu2"] * 3,
    "branches": ["gpu0", "gpu0", "gpu1", "gpu1", "gpu1", "gpu2", "gpu2", "gpu2", "gpu0"],
    "host": ["gpu0"] * 2 + ["cpu0"] * 4 + ["gpu1"] * 3,
    "one": ["gpu1"] * 9,
}


@pytest.mark.parametrize("name", PLANS)
def test_parts_compute_the_whole(tmp_path, model, name):
    instance = instance_of(model, folded=FOLDED)
    result = planned(instance, PLANS[name], contiguous=name != "chain")
    export(result, "onnx-parts", tmp_path / "parts", instance=instance, model=model)
    manifest = assert_same(tmp_path / "parts", model, feeds_of(model))
    used = [part["device"] for part in manifest["parts"]]
    assert set(used) == set(PLANS[name])
    assert manifest["inputs"] == ["x"]
    assert manifest["outputs"] == ["g", "h"]
    assert sorted(p.name for p in (tmp_path / "parts").iterdir()) == sorted(
        ["manifest.json", *(f"part{i}.onnx" for i in range(len(used)))]
    )


def test_every_plan_of_two_devices(tmp_path, model):
    """All 2^9 assignments, contiguous or not, every sixteenth by default."""
    instance = instance_of(model, 2, folded=FOLDED)
    feeds = feeds_of(model)
    expected = session(model).run(None, feeds)
    for number, devices in enumerate(
        itertools.islice(itertools.product(["gpu0", "gpu1"], repeat=9), 3, None, 16)
    ):
        folder = tmp_path / str(number)
        export(
            planned(instance, devices, contiguous=False), "onnx-parts", folder, instance=instance, model=model
        )
        manifest, got = run_parts(folder, feeds)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        neighbours = itertools.pairwise(part["device"] for part in manifest["parts"])
        assert all(a != b for a, b in neighbours)


def test_a_device_returned_to_gets_more_parts(tmp_path, model):
    instance = instance_of(model, 2, folded=FOLDED)
    devices = ["gpu0"] * 2 + ["gpu1"] * 3 + ["gpu0"] * 4
    remarks = export(
        planned(instance, devices, contiguous=False),
        "onnx-parts",
        tmp_path / "p",
        instance=instance,
        model=model,
    )
    manifest = assert_same(tmp_path / "p", model, feeds_of(model))
    assert [part["device"] for part in manifest["parts"]] == ["gpu0", "gpu1", "gpu0"]
    assert manifest["parts"][1]["inputs"] == ["a"]
    assert manifest["parts"][1]["outputs"] == ["d"]
    assert any("3 parts for 2 devices" in remark for remark in remarks)


def test_latency_plans_run_piece_by_piece(tmp_path, model):
    """A piece of gpu0, the host, then another piece of gpu0."""
    instance = instance_of(model, 1, folded=FOLDED)
    devices = ["gpu0"] * 2 + ["cpu0"] * 3 + ["gpu0"] * 3 + ["cpu0"]
    pieces = [0, 0, -1, -1, -1, 1, 1, 1, -1]
    result = planned(instance, devices, pieces, pieces=2)
    export(result, "onnx-parts", tmp_path / "p", instance=instance, model=model)
    manifest = assert_same(tmp_path / "p", model, feeds_of(model))
    assert [part["device"] for part in manifest["parts"]] == ["gpu0", "cpu0", "gpu0"]


def test_weights_of_a_part_are_those_it_reads(tmp_path, model):
    instance = instance_of(model, folded=FOLDED)
    export(planned(instance, PLANS["branches"]), "onnx-parts", tmp_path / "p", instance=instance, model=model)
    weights = [
        sorted(t.name for t in onnx.load(tmp_path / "p" / f"part{i}.onnx").graph.initializer)
        for i in range(3)
    ]
    assert weights == [["w0"], ["w0", "w1"], []]


def test_weights_in_files_of_their_own(tmp_path, model):
    whole = onnx.load(model)
    outside = tmp_path / "outside" / "model.onnx"
    outside.parent.mkdir()
    onnx.save_model(whole, outside, save_as_external_data=True, location="weights.bin", size_threshold=0)
    instance = instance_of(outside, folded=FOLDED)
    export(planned(instance, PLANS["host"]), "onnx-parts", tmp_path / "p", instance=instance, model=outside)
    (tmp_path / "outside" / "weights.bin").rename(tmp_path / "gone")
    with pytest.raises(InputError, match=r"initializer 'w\d': its external data cannot be read"):
        export(
            planned(instance, PLANS["host"]), "onnx-parts", tmp_path / "q", instance=instance, model=outside
        )
    _, got = run_parts(tmp_path / "p", feeds_of(model))
    np.testing.assert_allclose(got[0], session(model).run(None, feeds_of(model))[0], rtol=1e-5)


def test_subgraphs_read_from_outside(tmp_path):
    path = tmp_path / "if.onnx"
    onnx.save(conditional(), path)
    instance = instance_of(path, 2)
    # The edge from a to If is not among its inputs: the instance of this test does not know it.
    result = planned(instance, ["gpu0", "gpu0", "gpu1", "gpu1"], contiguous=False)
    export(result, "onnx-parts", tmp_path / "p", instance=instance, model=path)
    for sign in (1, -1):
        assert_same(tmp_path / "p", path, {"x": np.full((1, SIZE), sign, np.float32)})


LIGHT = ["bvlc_alexnet", "squeezenet", "shufflenet", "inception_v1"]


@pytest.mark.parametrize("name", LIGHT)
def test_published_graphs(tmp_path, name):
    """Weights made by ConstantOfShape, initializers listed as inputs, version 3 of the format."""
    from importlib.resources import files

    path = files("onnx") / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    instance = instance_of(path, 3)
    cut = [min(2, 3 * v // instance.n) for v in range(instance.n)]
    result = planned(instance, [f"gpu{d}" for d in cut], contiguous=False)
    export(result, "onnx-parts", tmp_path / "p", instance=instance, model=path)
    assert_same(tmp_path / "p", path, feeds_of(path))
    export(result, "onnx", tmp_path / "annotated.onnx", instance=instance, model=path)
    onnx.checker.check_model(onnx.load(tmp_path / "annotated.onnx"), full_check=True)


def test_the_annotated_model(tmp_path, model):
    instance = instance_of(model, folded=FOLDED)
    export(planned(instance, PLANS["branches"]), "onnx", tmp_path / "a.onnx", instance=instance, model=model)
    annotated = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(annotated, full_check=True)
    assert annotated.ir_version == 11
    (configuration,) = annotated.configuration
    assert list(configuration.device) == ["gpu0", "gpu1", "gpu2", "cpu0"]
    assert configuration.num_devices == 4
    where = {}
    for node in annotated.graph.node:
        for annotation in node.device_configurations:
            assert annotation.configuration_id == configuration.name
            (spec,) = annotation.sharding_spec
            where[node.output[0]] = (annotation.pipeline_stage, list(spec.device))
    assert where["a"] == where["b"] == where["h"] == (0, [0])
    assert where["c"] == where["d"] == (1, [1])
    assert where["g"] == (2, [2])
    assert not {"dims", "zeros"} & where.keys()  # constants go wherever they are read
    feeds = feeds_of(model)
    np.testing.assert_array_equal(
        session(tmp_path / "a.onnx").run(None, feeds)[0], session(model).run(None, feeds)[0]
    )


# -- refusals --------------------------------------------------------------------------------------


def refused(instance, result, out, error, match, **more):
    with pytest.raises(error, match=match):
        export(result, more.pop("to", "onnx-parts"), out, instance=instance, **more)
    assert not out.exists()


def test_another_model_is_refused(tmp_path, model):
    instance = instance_of(model, folded=FOLDED)
    result = planned(instance, PLANS["one"])
    other = tmp_path / "other.onnx"
    other.write_bytes(model.read_bytes() + b"\x5a\x00")
    refused(instance, result, tmp_path / "p", InputError, "not the model", model=other)
    unhashed = instance.replace(source=None)
    other.write_bytes(b"not protobuf")
    refused(unhashed, result, tmp_path / "p", InputError, "not an ONNX model", model=other)
    refused(unhashed, result, tmp_path / "p", InputError, "No such file", model=tmp_path / "absent")
    onnx.save(conditional(), other)
    refused(unhashed, result, tmp_path / "p", InputError, "no operator with the output 'b'", model=other)
    refused(instance, result, tmp_path / "p", UsageError, "needs the model: --model model.onnx")


def test_a_tensor_of_unknown_type_is_refused(tmp_path):
    custom = onnx.helper.make_node("Mystery", ["x"], ["a"], domain="custom")
    last = onnx.helper.make_node("Relu", ["a"], ["y"])
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([custom, last], "g", [value("x", 1, [1])], [value("y", 1, [1])])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("custom", 1)]
    path = tmp_path / "m.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets), path)
    instance = instance_of(path, 2)
    result = planned(instance, ["gpu0", "gpu1"])
    refused(instance, result, tmp_path / "p", UsageError, "the type of 'a'", model=path)


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path, model):
    instance = instance_of(model, folded=FOLDED)
    folder = tmp_path / "p"
    folder.mkdir()
    export(planned(instance, PLANS["one"]), "onnx-parts", folder, instance=instance, model=model)
    before = sorted(folder.iterdir())
    with pytest.raises(InputError, match="not empty"):
        export(planned(instance, PLANS["host"]), "onnx-parts", folder, instance=instance, model=model)
    assert sorted(folder.iterdir()) == before
    assert not list(tmp_path.glob(".placer-*"))
