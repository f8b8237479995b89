"""The code that docs/how-to/use-plan.md shows for running plans computes what the model does."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import placer
from tests.support.plans import planned

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/how-to/use-plan.md").read_text(), re.DOTALL)


def block(text):
    (found,) = [code for code in BLOCKS if text in code]
    return found


def test_onnx_runtime(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from tests.exports.test_onnx import feeds_of, session
    from tests.support.onnx_models import branched, instance_of

    onnx.save(branched(), tmp_path / "model.onnx")
    instance = instance_of(tmp_path / "model.onnx", 2, folded=("shape",))
    result = planned(instance, ["gpu0"] * 2 + ["gpu1"] * 3 + ["gpu0"] * 4, contiguous=False)
    placer.export(result, "onnx-parts", tmp_path / "parts", instance=instance, model=tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    shown = {}
    exec(block("manifest.json"), shown)
    feeds = feeds_of(tmp_path / "model.onnx")
    for got, expected in zip(shown["infer"](feeds), session("model.onnx").run(None, feeds), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.slow
def test_torch(tmp_path, monkeypatch):
    """As on the page: import, solve, export, and one process per stage under torchrun's variables."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from tests.support.torch_models import Decoder

    (tmp_path / "models.py").write_text(
        "from tests.support.torch_models import Decoder, words\n"
        "def decoder():\n    return Decoder(), (words(),)\n"
    )
    (tmp_path / "stage.py").write_text(block("# stage.py"))
    monkeypatch.chdir(tmp_path)
    instance = placer.import_torch("models.py:decoder", cluster="a100:2", by="module")
    blocks = [v for v, origin in enumerate(instance.origin) if (origin.module or "").startswith("layers.")]
    result = planned(instance, ["a100-0" if v < blocks[2] else "a100-1" for v in range(instance.n)])
    placer.export(result, "torch-split", "split.json", instance=instance)
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
    }  # fmt: skip
    processes = [
        subprocess.Popen([sys.executable, "stage.py"], env={**environment, "RANK": str(rank)})
        for rank in (0, 1)
    ]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    torch.manual_seed(0)
    model = Decoder().eval()
    from tests.support.torch_models import words

    with torch.no_grad():
        torch.testing.assert_close(torch.load("output.pt"), model(torch.cat([words()] * 4)))


def free_port():
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
