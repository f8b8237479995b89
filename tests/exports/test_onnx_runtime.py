"""Layer annotations: written as the plan says, read back by ONNX Runtime, which computes the same."""

import json
from itertools import pairwise

import numpy as np
import pytest

from placer.cli import main
from placer.errors import UsageError
from placer.exports.api import export
from placer.exports.onnx_runtime import KEY, SETTING
from placer.formats.files import save
from placer.instance.cluster import DeviceClass, Kind, Link

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from tests.exports.test_onnx import feeds_of  # noqa: E402
from tests.support.onnx_models import branched, instance_of  # noqa: E402
from tests.support.plans import planned  # noqa: E402


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(branched(), path)
    return path


def with_host(instance, room=np.inf):
    """One accelerator with so much room, and a host."""
    classes = (
        DeviceClass("gpu", "gpu", 1, memory_limit_bytes=room, link=Link(transfer_scale=0.1)),
        DeviceClass("cpu", "cpu", 1, Kind.HOST),
    )
    return instance.replace(classes=classes, memory_bytes=np.ones(instance.n))


def groups(path):
    """Annotation of each operator by its first output; None for none."""
    found = {}
    for node in onnx.load(path).graph.node:
        values = [entry.value for entry in node.metadata_props if entry.key == KEY]
        assert len(values) < 2
        found[node.output[0]] = values[0] if values else None
    return found


def run(path, feeds, setting):
    options = ort.SessionOptions()
    options.log_severity_level = 0
    options.intra_op_num_threads = 1
    options.add_session_config_entry(SETTING, setting)
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.get_modelmeta().custom_metadata_map, session.run(None, feeds)


@pytest.mark.parametrize("on_host", [0, 3])
def test_annotations_are_those_of_the_plan(tmp_path, model, capfd, on_host):
    """Read back by ONNX Runtime: a rule for each group, that of the host bound to the processor."""
    instance = with_host(instance_of(model))
    where = ["cpu0" if v < on_host else "gpu0" for v in range(instance.n)]
    result = planned(instance, where)
    out = tmp_path / "annotated.onnx"
    remarks = export(result, "onnx-runtime", out, instance=instance, model=model)
    names = {origin.operators[0]: device for origin, device in zip(instance.origin, where, strict=True)}
    kind = {"gpu0": "accelerator", "cpu0": "host"}
    got = groups(out)
    assert {name: got[name] for name in names} == {name: kind[device] for name, device in names.items()}
    assert all(value is None for name, value in got.items() if name not in names)
    setting = "gpu(=accelerator);cpu(=host)" if on_host else "gpu(=accelerator)"
    assert setting in remarks[0]
    capfd.readouterr()
    kept, outputs = run(out, feeds_of(model), setting)
    said = capfd.readouterr().err
    assert kept[SETTING] == setting
    for a, b in zip(outputs, run(model, feeds_of(model), setting)[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    if "annotation-based layering rules" not in said:
        pytest.skip("this version of ONNX Runtime has no layer annotations")
    assert f"Parsed {1 + bool(on_host)} annotation-based layering rules" in said
    assert ("(cpu -> host) mapped to EP: CPUExecutionProvider" in said) == bool(on_host)


def test_annotations_of_before_are_replaced(tmp_path, model):
    instance = with_host(instance_of(model))
    result = planned(instance, ["gpu0"] * instance.n)
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    export(result, "onnx-runtime", first, instance=instance, model=model)
    free = instance.replace(source=None)
    other = planned(free, ["cpu0"] * instance.n)
    export(other, "onnx-runtime", second, instance=free, model=first)
    assert set(groups(second).values()) - {None} == {"host"}
    assert [e.value for e in onnx.load(second).metadata_props if e.key == SETTING] == ["cpu(=host)"]


def test_several_accelerators_are_refused(tmp_path, model):
    instance = instance_of(model)
    names = [device.name for device in instance.devices if not device.is_host]
    where = [names[v % 2] for v in range(instance.n)]
    with pytest.raises(UsageError, match="a session has one accelerator"):
        export(
            planned(instance, where, contiguous=False),
            "onnx-runtime",
            tmp_path / "x",
            instance=instance,
            model=model,
        )


def chain(tmp_path):
    """A chain of four products, of which the accelerator has room for two."""
    make, names = onnx.helper, [f"x{k}" for k in range(5)]
    nodes = [make.make_node("Neg", [a], [b]) for a, b in pairwise(names)]
    first, last = (
        make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in (names[0], names[-1])
    )
    graph = make.make_graph(nodes, "chain", [first], [last])
    path = tmp_path / "chain.onnx"
    onnx.save(make.make_model(graph, ir_version=8, opset_imports=[make.make_opsetid("", 13)]), path)
    return path, with_host(instance_of(path), room=2.0)


def test_of_an_answer_of_placer_serve(tmp_path, capsys):
    path, instance = chain(tmp_path)
    file, answer, out = (tmp_path / name for name in ("instance.json", "served.json", "out.onnx"))
    save(instance, file)
    assert main(["serve", str(file), "--objective", "tpot", "--out", str(answer), "--quiet"]) == 0
    command = ["export", str(answer), "--to", "onnx-runtime", "--out", str(out)]
    assert main([*command, "--model", str(path)]) == 2
    assert "needs the instance of an ONNX model" in capsys.readouterr().err
    assert main([*command, "--model", str(path), "--instance", str(file)]) == 0
    assert SETTING in capsys.readouterr().err
    plan = json.loads(answer.read_text())["plan"]
    kinds = [(stage["nodes"], "host" if stage["host"] else "accelerator") for stage in plan["stages"]]
    held = {name: kind for names, kind in kinds for name in names}
    assert list(held.values()).count("accelerator") == 2
    outputs = [origin.operators[0] for origin in instance.origin]
    assert groups(out) == {outputs[instance.ids.index(name)]: kind for name, kind in held.items()}
