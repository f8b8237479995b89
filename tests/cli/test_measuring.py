"""``placer profile`` and ``placer calibrate``."""

import pytest

from tests.support.command import call

SHORT = ["--repeats", "2", "--warmup", "0"]


def test_from_a_profile_to_a_device_to_an_instance(capsys, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra 'profile')")
    times, device = tmp_path / "times.csv", tmp_path / "mine.toml"
    assert call(capsys, "profile", "onnx", "light:squeezenet", "--out", times, *SHORT)[0] == 0
    pair = f"light:squeezenet={times}"
    code, out, _ = call(capsys, "calibrate", "cpu-core", "--onnx", pair, "--out", device)
    assert code == 0
    assert "before" in out
    assert "after" in out
    code, text, err = call(capsys, "calibrate", f"{device}:cpu-core", "--onnx", pair)
    assert code == 0
    assert text.startswith('[devices."cpu-core"]')
    assert "before" in err
    code, _, _ = call(
        capsys,
        "import",
        "onnx",
        "light:squeezenet",
        "--devices",
        f"{device}:4xcpu-core",
        "--out",
        tmp_path / "a.json",
    )
    assert code == 0


def test_torch_models(capsys, tmp_path):
    pytest.importorskip("torch", reason="torch is not installed (extra 'torch')")
    model, times = tmp_path / "net.py", tmp_path / "times.csv"
    model.write_text(
        "import torch\n"
        "def make():\n"
        "    print('made')\n"
        "    return torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU()), (torch.ones(4, 8),)\n"
    )
    code, out, err = call(capsys, "profile", "torch", f"{model}:make", *SHORT)
    assert code == 0
    assert out.startswith("node,type,ms\n")
    assert "forward" in err
    code, _, _ = call(capsys, "profile", "torch", f"{model}:make", "--by", "module", "--out", times, *SHORT)
    assert code == 0
    assert {row.split(",")[0] for row in times.read_text().splitlines()} == {
        "node",
        "0",
        "0/backward",
        "1",
        "1/backward",
    }
    code, out, _ = call(capsys, "calibrate", "cpu-core", "--torch", f"{model}:make={times}")
    assert code == 0
    assert "cpu-core" in out


def test_links(capsys, tmp_path):
    code, out, err = call(capsys, "profile", "links", "--repeats", "2")
    assert code == 0
    assert out.startswith('[links."shared-memory"]')
    assert "GB/s" in err


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["profile", "links", "model.onnx"], "no model is given"),
        (["profile", "onnx"], "which model?"),
        (["profile", "links", "--device", "tpu"], "cpu or cuda"),
        (["profile", "torch", "a.py:f", "--device", "cuda"], "say which device of the catalogue cuda is"),
        (["calibrate", "cpu-core"], "nothing to fit to"),
        (["calibrate", "cpu-core", "--onnx", "model.onnx"], "expected MODEL=TIMES.csv"),
        (["calibrate", "cpu-cor", "--onnx", "a=b"], "did you mean 'cpu-core'?"),
        (["calibrate", "nowhere.toml:x", "--onnx", "a=b"], "nowhere.toml"),
    ],
)
def test_mistakes_are_said_in_a_line(capsys, arguments, rule):
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert rule in err
    assert err.count("\n") == 1
