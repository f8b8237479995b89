"""Device maps: accelerate loads them on a model without weights, and they run."""

import json

import pytest

from placer.errors import UsageError
from placer.exports.api import export
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.instance.origin import Origin
from tests.support.plans import gpus, planned

torch = pytest.importorskip("torch", reason="torch is not installed")
accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")

from tests.support.torch_models import Decoder, cut, instance_of, words  # noqa: E402

START = {"": "gpu0", "layers.2": "gpu1"}


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    return Decoder().eval()


def exported(tmp_path, instance, result):
    remarks = export(result, "device-map", tmp_path / "map.json", instance=instance)
    return json.loads((tmp_path / "map.json").read_text()), remarks


def assert_covers(mapping):
    """Accelerate's own check, and disjoint keys."""
    with accelerate.init_empty_weights(include_buffers=True):
        empty = Decoder()
    accelerate.utils.modeling.check_device_map(empty, mapping)
    assert not [(a, b) for a in mapping for b in mapping if a != b and b.startswith(a + ".")]
    for name in empty.state_dict():
        assert sum(name == key or name.startswith(key + ".") for key in mapping) == 1


@pytest.mark.parametrize("by", ["operator", "module"])
def test_accelerate_loads_the_map(tmp_path, decoder, by):
    instance = instance_of(decoder, (words(),), by=by)
    mapping, remarks = exported(tmp_path, instance, planned(instance, cut(instance, START)))
    assert mapping == {
        "embed": 0, "scale": 0, "position": 0, "layers.0": 0, "layers.1": 0,
        "layers.2": 1, "layers.3": 1, "norm": 1, "head": 1,
    }  # fmt: skip
    assert remarks == []
    assert_covers(mapping)


def test_siblings_merge(tmp_path, decoder):
    instance = instance_of(decoder, (words(),))
    mapping, _ = exported(tmp_path, instance, planned(instance, cut(instance, {"": "gpu0", "norm": "gpu1"})))
    assert mapping == {"embed": 0, "scale": 0, "position": 0, "layers": 0, "norm": 1, "head": 1}
    assert_covers(mapping)
    mapping, _ = exported(tmp_path, instance, planned(instance, ["gpu1"] * instance.n))
    assert mapping == {"": 1}


def test_the_dispatched_model_computes_the_same(tmp_path, decoder):
    """The first device is played by the CPU, the second by disk: weights are loaded when needed."""
    instance = instance_of(decoder, (words(),))
    mapping, _ = exported(tmp_path, instance, planned(instance, cut(instance, START)))
    copy = Decoder().eval()
    copy.load_state_dict(decoder.state_dict())
    played = {key: ("cpu", "disk")[device] for key, device in mapping.items()}
    copy = accelerate.dispatch_model(copy, played, main_device="cpu", offload_dir=tmp_path / "disk")
    assert copy.layers[2].up.weight.device.type == "meta"
    with torch.no_grad():
        torch.testing.assert_close(copy(words()), decoder(words()))


def two_devices(mapping):
    """Dispatch with the CPU as device 0 and the meta device as device 1: tensors of both never mix."""
    played = {key: ("cpu", "meta")[device] for key, device in mapping.items()}
    model = accelerate.dispatch_model(Decoder().eval(), played, main_device="cpu")
    accelerate.hooks.remove_hook_from_module(model)  # it would move the output back to the first device
    with torch.no_grad():
        return model(words())


def test_data_moves_with_the_modules(tmp_path, decoder):
    instance = instance_of(decoder, (words(),))
    mapping, _ = exported(tmp_path, instance, planned(instance, cut(instance, START)))
    assert two_devices(mapping).device.type == "meta"


def test_a_split_residual_block_is_refused(tmp_path, decoder):
    """The sum would read tensors of both devices; the second half shows that it truly fails."""
    instance = instance_of(decoder, (words(),))
    devices = cut(instance, {"": "gpu0", "layers.2.down": "gpu1"})
    result = planned(instance, devices)
    with pytest.raises(UsageError, match=r"reads tensors on accelerator 0 and accelerator 1"):
        exported(tmp_path, instance, result)
    assert not (tmp_path / "map.json").exists()
    mapping = dict.fromkeys(["embed", "scale", "position", "layers.0", "layers.1", "layers.2.norm"], 0)
    mapping |= dict.fromkeys(["layers.2.up"], 0) | dict.fromkeys(
        ["layers.2.down", "layers.3", "norm", "head"], 1
    )
    with pytest.raises(RuntimeError, match=r"meta|device"):
        two_devices(mapping)


def test_operators_without_weights_run_where_their_inputs_are(tmp_path, decoder):
    """The plan puts the last sum of layer 1 on the second device; its inputs are on the first."""
    instance = instance_of(decoder, (words(),))
    devices = cut(instance, START)
    last = max(v for v, origin in enumerate(instance.origin) if origin.module == "layers.1")
    assert devices[last] == "gpu0"
    devices[last] = "gpu1"
    mapping, remarks = exported(tmp_path, instance, planned(instance, devices))
    assert len(remarks) == 1
    assert remarks[0].startswith("1 operators between modules run where their inputs are")
    assert {key: d for key, d in mapping.items() if key.startswith("layers.1")} == {
        "layers.1.norm": 0, "layers.1.up": 0, "layers.1.down": 0,
    }  # fmt: skip
    assert_covers(mapping)
    assert two_devices(mapping).device.type == "meta"


def test_tied_weights_on_two_devices_are_refused(tmp_path):
    instance = instance_of(Decoder(tied=True), (words(),))
    with pytest.raises(UsageError, match=r"weight' is read on accelerator 0 and on accelerator 1"):
        exported(tmp_path, instance, planned(instance, cut(instance, START)))


def test_hosts_and_numbers(tmp_path):
    """Accelerators are numbered in the order of the cluster, whatever stands between them; hosts are cpu."""
    classes = (
        DeviceClass("host", "x", 1, Kind.HOST),
        DeviceClass("big", "x", 1),
        DeviceClass("small", "x", 2),
    )
    origins = [Origin(module=m, parameters=(f"{m}.weight",)) for m in ("a", "b", "c")]
    instance = Instance.build(
        ids=["a", "b", "c"],
        types=["x"],
        time_ms=[1, 1, 1],
        edges=[(0, 1), (1, 2)],
        classes=classes,
        origin=origins,
    )
    mapping, remarks = exported(tmp_path, instance, planned(instance, ["host0", "big0", "small1"]))
    assert mapping == {"a": "cpu", "b": 0, "c": 2}
    assert any("host memory" in remark for remark in remarks)


def test_tensors_of_one_module_stay_together(tmp_path):
    origins = [Origin(module="m", parameters=("m.weight",)), Origin(module="m", parameters=("m.bias",))]
    instance = Instance.build(
        ids=["a", "b"],
        types=["gpu", "cpu"],
        time_ms=[[1, 1]] * 2,
        edges=[(0, 1)],
        classes=gpus(2),
        origin=origins,
    )
    with pytest.raises(UsageError, match=r"'m.weight' and 'm.bias' belong to one module"):
        exported(tmp_path, instance, planned(instance, ["gpu0", "gpu1"]))


def test_instances_without_modules_are_refused(tmp_path):
    instance = Instance.build(ids=["a"], types=["gpu", "cpu"], time_ms=[[1, 1]], edges=[], classes=gpus(1))
    with pytest.raises(UsageError, match="placer import torch"):
        exported(tmp_path, instance, planned(instance, ["gpu0"]))
