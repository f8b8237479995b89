from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ONNX model."""
    onnx = pytest.importorskip("onnx")
    from tests.support.onnx_models import branched

    path = tmp_path_factory.mktemp("model") / "branched.onnx"
    onnx.save(branched(), path)
    return path
