"""Real models, from import to the tool that is to run the plan."""

import json

import pytest

import placer
from placer.errors import UsageError

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

LIGHT = [
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet",
    "vgg19", "zfnet512",
]  # fmt: skip
HEAVY = {"bvlc_alexnet", "inception_v2", "vgg19", "zfnet512"}
"""Hundreds of megabytes of weights, or a long search: left to the slow tests."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in HEAVY else n for n in LIGHT]
)
def test_published_networks(tmp_path, name):
    """Four accelerators: the parts compute what the model computes, the annotated model is valid."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from placer.imports.onnx_file import light_model
    from tests.exports.test_onnx import assert_same, feeds_of

    source = f"light:{name}"
    instance = placer.import_onnx(source, cluster="t4:4")
    result = placer.solve(instance, method="dp", gap=0.05, time_limit=10)
    placer.export(result, "onnx-parts", tmp_path / "parts", instance=instance, model=source)
    path = light_model(source)
    manifest = assert_same(tmp_path / "parts", path, feeds_of(path))
    used = [part["device"] for part in manifest["parts"]]
    assert len(used) == len(set(used)) > 1
    placer.export(result, "onnx", tmp_path / "annotated.onnx", instance=instance, model=source)
    onnx.checker.check_model(onnx.load(tmp_path / "annotated.onnx"), full_check=True)


@pytest.fixture(scope="module")
def plans():
    """Plans of transformers by repeated blocks, on four accelerators and no host."""
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    out = {}
    for name, tied in (("bert", "colocate"), ("gpt2", "copy"), ("llama", "colocate")):
        instance = placer.import_torch(
            f"tests.support.hf_models:{name}", cluster="t4:4", by="module", tied=tied
        )
        out[name] = instance, placer.solve(instance, method="dp")
    return out


def used(result):
    """Names of the devices that hold nodes; more than one in all of these plans."""
    found = [device.name for device in result.devices if device.nodes]
    assert len(found) > 1
    return found


def empty(name):
    import accelerate

    from tests.support import hf_models

    with accelerate.init_empty_weights(include_buffers=True):
        return getattr(hf_models, name)()[0]


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_device_maps_of_transformers(tmp_path, plans, name):
    """Accelerate's own check, every tensor under one key, and four devices."""
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")
    instance, result = plans[name]
    placer.export(result, "device-map", tmp_path / "map.json", instance=instance)
    mapping = json.loads((tmp_path / "map.json").read_text())
    model = empty(name)
    accelerate.utils.modeling.check_device_map(model, mapping)
    for tensor in model.state_dict():
        assert sum(tensor == key or tensor.startswith(key + ".") for key in mapping) == 1
    assert [f"t4-{number}" for number in sorted(set(mapping.values()))] == used(result)


def test_tied_weights_of_gpt2(tmp_path, plans):
    """Embedding and head share a weight: copies are no device map, colocated they are one device's."""
    instance, result = plans["gpt2"]
    with pytest.raises(
        UsageError, match=r"'transformer.wte.weight' is read on accelerator \d and on accelerator \d"
    ):
        placer.export(result, "device-map", tmp_path / "map.json", instance=instance)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_layer_counts_of_transformers(tmp_path, plans, name):
    instance, result = plans[name]
    placer.export(result, "layer-counts", tmp_path / "layers.env", instance=instance)
    (line,) = [t for t in (tmp_path / "layers.env").read_text().splitlines() if t.startswith("VLLM")]
    counts = [int(count) for count in line.partition("=")[2].split(",")]
    assert len(counts) == len(used(result))
    assert sum(counts) == 12


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_split_points_of_transformers(tmp_path, plans, name):
    """PyTorch cuts the model into four stages that hold what the plan says."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from torch.distributed.pipelining import pipeline

    from placer.exports.torch_split import load_split_spec
    from tests.support import hf_models

    instance, result = plans[name]
    placer.export(result, "torch-split", tmp_path / "split.json", instance=instance)
    with torch.device("meta"):
        model, arguments = getattr(hf_models, name)()
    pipe = pipeline(model.eval(), arguments, split_spec=load_split_spec(tmp_path / "split.json"))
    assert pipe.num_stages == len(used(result))
    stages = json.loads((tmp_path / "split.json").read_text())["stages"]
    for s, device in enumerate(stages):
        planned = {
            tensor
            for v in range(instance.n)
            if result.assignment[instance.ids[v]] == device
            for tensor in instance.origin[v].parameters
        }
        held = {tensor for tensor, _ in pipe.get_stage_module(s).named_parameters()}
        assert held <= planned
        assert held
