"""Imported models plan for four accelerators, and the plan passes the check of its files."""

import pytest

from placer.formats import native
from placer.formats.files import load, load_result, save, save_result
from placer.plans.check import check
from placer.solving.solve import solve
from tests.support import models
from tests.support.models import LIGHT


def planned(instance, tmp_path, **options):
    """Solve, and check again what was written to files."""
    result = solve(instance, **options)
    assert result.objective is not None, result.message
    save(instance, tmp_path / "instance.json")
    save_result(result, tmp_path / "result.json")
    again = load(tmp_path / "instance.json")
    assert native.to_json(again) == native.to_json(instance)
    assert check(again, load_result(tmp_path / "result.json")) == []
    assert (result.bound or 0.0) <= result.objective * (1 + 1e-9)
    return result


@pytest.mark.parametrize("name", LIGHT)
def test_light_models(name, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed (extra 'onnx')")
    from placer.imports.api import import_onnx

    instance = import_onnx(f"light:{name}", cluster="4xt4")
    total = instance.time_ms[:, instance.types.index("t4")].sum()
    result = planned(instance, tmp_path, method="dpl")
    assert total / 5 <= result.objective <= total  # four accelerators and a slower host
    blocks = import_onnx(f"light:{name}", cluster="4xt4", by="module", training=True, optimizer="sgd")
    trained = planned(blocks, tmp_path, method="dp")
    assert trained.status == "optimal"
    assert trained.objective >= result.objective


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_transformers(name, tmp_path):
    """GPT-2's head shares the embedding's weights: only a non-contiguous plan can use four devices."""
    pytest.importorskip("torch", reason="torch is not installed (extra 'torch'; none for this Python)")
    pytest.importorskip("transformers", reason="transformers is not installed (extra 'dev')")
    from placer.imports.api import to_instance
    from placer.imports.torch_model import read_torch

    model = read_torch(getattr(models, name))
    instance = to_instance(model, "4xa100-nvlink", by="module", training=True, tied="colocate")
    contiguous = planned(instance, tmp_path, method="dp")
    assert contiguous.status == "optimal"
    spread = contiguous
    if name == "gpt2":
        assert sum(bool(device.nodes) for device in contiguous.devices) == 1
        spread = planned(instance, tmp_path, method="local-search", contiguous=False, time_limit=30)
        copies = to_instance(model, "4xa100-nvlink", by="module", training=True)
        pipeline = planned(copies, tmp_path, method="dp")
        assert all(device.nodes for device in pipeline.devices)
        assert contiguous.objective > 2 * pipeline.objective
    assert all(device.nodes for device in spread.devices)
    planned(to_instance(model, "4xa100-nvlink"), tmp_path, method="dpl")
