"""``placer import``, ``profile`` and ``devices`` on the command line."""

import json

import numpy as np
import pytest

from placer.formats.files import load
from tests.support.command import call

GRAPH = (
    "node1 -- Linear -- forward_compute_time=1.0, backward_compute_time=2.0, activation_size=10.0, "
    "parameter_size=40.0\n"
)


def test_pipedream(capsys, tmp_path):
    graph, out = tmp_path / "graph.txt", tmp_path / "out.json"
    graph.write_text(GRAPH)
    code, text, err = call(
        capsys, "import", "pipedream", graph, "--devices", "v100:2", "--out", out, "--optimizer", "sgd"
    )
    assert code == 0
    assert text.startswith("out.json: 2 nodes, 1 edges")
    assert "measured times" in err
    assert load(out).training.optimizer == "sgd"
    code, text, err = call(
        capsys, "import", "pipedream", graph, "--devices", "v100:2", "--no-training", "--quiet", "--name", "x"
    )
    assert (code, err) == (0, "")
    assert json.loads(text)["name"] == "x"


def test_onnx(capsys, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed (extra 'onnx')")
    out = tmp_path / "out.json"
    arguments = ["import", "onnx", "light:squeezenet", "--devices", "4xt4", "--out", out]
    code, text, _ = call(capsys, *arguments, "--dim", "data_0:0=8", "--precision", "fp16", "--by", "layer")
    assert code == 0
    assert "GFLOPs forward (a multiply-add is 2)" in text
    instance = load(out)
    assert instance.source.kind == "onnx"
    assert len(instance.source.sha256) == 64
    assert {"dimension data_0:0 = 8", "by layer", "precision fp16"} <= set(instance.source.notes)
    assert "xeon-8380 has no peak for fp16 and computes in fp32" in instance.source.notes


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["light:nothing"], "the onnx package has no model 'nothing'"),
        (["missing.onnx"], "missing.onnx: no such file"),
        (["light:vgg19", "--dim", "batch"], "--dim expects NAME=N"),
        (["light:vgg19", "--dim", "batch=3"], "the model has no dimension 'batch'"),
        (["light:vgg19", "--optimizer", "adam"], "apply to training only"),
        (["light:vgg19", "--training", "--microbatches", "0"], "microbatches must be in"),
        (["light:vgg19", "--profile", "missing.csv"], "missing.csv"),
    ],
)
def test_one_line_for_what_is_wrong(capsys, arguments, rule):
    pytest.importorskip("onnx", reason="onnx is not installed (extra 'onnx')")
    code, out, err = call(capsys, "import", "onnx", *arguments, "--devices", "4xt4")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert rule in err


def test_options_that_do_not_apply(capsys, tmp_path):
    graph = tmp_path / "graph.txt"
    graph.write_text(GRAPH)
    for option in (["--dim", "a=1"], ["--precision", "fp16"]):
        code, _, err = call(capsys, "import", "pipedream", graph, "--devices", "v100:2", *option)
        assert code == 2
        assert "appl" in err


def test_profile(capsys, tmp_path):
    """Times measured here become those of the instance."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra 'profile')")
    times, out, data = tmp_path / "times.csv", tmp_path / "out.json", tmp_path / "in.npz"
    np.savez(data, data_0=np.ones((1, 3, 224, 224), np.float32))
    short = ["--repeats", "1", "--warmup", "0"]
    code, text, _ = call(
        capsys, "profile", "onnx", "light:squeezenet", "--out", times, "--input", data, *short
    )
    assert code == 0
    assert "66 operators" in text
    devices = ["--devices", "4xcpu-core", "--out", out, "--quiet"]
    code, _, _ = call(capsys, "import", "onnx", "light:squeezenet", *devices, "--profile", times)
    assert code == 0
    total = sum(float(line.split(",")[2]) for line in times.read_text().splitlines()[1:])
    assert load(out).time_ms.sum() == pytest.approx(total)
    data.write_bytes(b"no arrays")
    code, _, err = call(capsys, "profile", "onnx", "light:squeezenet", "--input", data, *short)
    assert code == 2
    assert "not a .npz file" in err


def test_devices(capsys):
    code, out, _ = call(capsys, "devices")
    assert code == 0
    assert "4xa100-nvlink" in out
    code, out, _ = call(capsys, "devices", "--json")
    assert json.loads(out)["devices"]["t4"]["bandwidth_gb_per_s"] == 320
