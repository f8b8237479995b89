"""The zoo, in part: models come from import to plan, and their parts compute what the whole does."""

import pytest

from placer.errors import InputError
from tests.support.level import FULL, LEVEL, QUICK

pytest.importorskip("onnx", reason="onnx is not installed (extra 'onnx')")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra 'profile')")

from placer.imports.onnx_file import load_onnx
from placer.imports.onnx_model import read_onnx
from placer.imports.onnx_shapes.dims import parse_dims
from tests.zoo.check import examine
from tests.zoo.entries import UnobtainableError
from tests.zoo.every import ENTRIES
from tests.zoo.wheels import fetched
from tests.zoo.wild import ISSUED

CHOSEN = [e for e in ENTRIES if e.quick or (e.full and LEVEL != QUICK)]


@pytest.mark.parametrize("entry", CHOSEN, ids=lambda e: e.name)
def test_from_import_to_running_parts(entry):
    record = examine(entry)
    if record.stage == "obtain":
        pytest.skip(record.failure)
    assert (record.stage, record.failure) == ("", "")
    assert record.counted == "agrees"
    assert record.parts in ("equal", "device map")
    assert record.gap < 0.05


@pytest.mark.parametrize("entry", ISSUED[:: 1 if LEVEL == FULL else 5], ids=lambda e: e.name)
def test_missing_sizes_come_with_a_setting_that_works(entry):
    """Without sizes all that are missing are named at once, and the offered setting is taken as it is."""
    try:
        path = fetched(entry.source)
    except UnobtainableError as error:
        pytest.skip(str(error))
    if not entry.dims:
        assert read_onnx(path).operators
        return
    with pytest.raises(InputError) as error:
        read_onnx(path)
    inputs = {i.name for i in load_onnx(path)[0].graph.input}
    for name in parse_dims([entry.dims]):
        assert f"'{name}'" in str(error.value)
    assert any(f"of '{name}'" in str(error.value) for name in inputs)
    assert read_onnx(path, dims=parse_dims([str(error.value).rpartition("--dim ")[2]])).operators
