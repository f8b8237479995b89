"""The comparison of plan and reality runs; its figures are for quiet machines, not for tests."""

import os

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from tests.benchmarks.reality import measure, session  # noqa: E402
from tests.benchmarks.reality_models import MODELS  # noqa: E402


def convolutions(path, layers=8, channels=24, size=40):
    """Write a chain of convolutions, all alike."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    shape = [1, channels, size, size]
    weights = [
        numpy_helper.from_array(rng.normal(scale=0.05, size=(channels, channels, 3, 3)).astype("f4"), f"w{i}")
        for i in range(layers)
    ]
    nodes = [
        helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"x{i + 1}"], pads=[1, 1, 1, 1]) for i in range(layers)
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x0", f"x{layers}")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.mark.slow  # and wrong where other programs keep the cores busy
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="a pipeline of two needs two cores")
def test_plan_and_reality(tmp_path):
    path = tmp_path / "chain.onnx"
    convolutions(path)
    report = measure(path, rounds=1, samples=24, repeats=8, name="chain")
    assert report.operators == 8
    assert max(report.stages_predicted_ms) == report.predicted_ms < report.predicted_single_ms
    assert 0.1 < report.predicted_ms / report.measured_ms < 10
    assert f"predicted {report.predicted_ms:.2f} ms" in str(report)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters"),
    # Published: 25,557,032 and 3,504,872, biases counted; of the transformer 12 times width squared a layer.
    [("resnet50", 25.5e6), ("mobilenet_v2", 3.47e6), ("transformer", 8 * 12 * 512**2)],
)
def test_the_models_are_what_they_are_called(tmp_path, name, parameters):
    """As many parameters as published, and finite outputs."""
    MODELS[name](tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) > 1]
    assert sum(int(np.prod(tensor.dims)) for tensor in weights) == pytest.approx(parameters, rel=0.01)
    opened = session(tmp_path / "m.onnx")
    (info,) = opened.get_inputs()
    (out,) = opened.run(None, {info.name: np.ones(info.shape, np.float32)})
    assert np.isfinite(out).all()
