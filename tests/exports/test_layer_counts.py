"""Layers per device, read back by the rules of the servers."""

import numpy as np
import pytest

from placer.errors import UsageError
from placer.exports.api import export
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.instance.origin import Origin
from tests.support.plans import gpus, planned
from tests.support.server_rules import llama_devices, vllm_ranges

STACKS = ["model.layers", "transformer.h", "encoder.layer", "blocks"]


def model(layers, stack="model.layers"):
    """Embedding, layers of two nodes each, norm and head, in a chain."""
    modules = ["embed"]
    for i in range(layers):
        modules += [f"{stack}.{i}.attention", f"{stack}.{i}.mlp"]
    modules += ["norm", "head"]
    n = len(modules)
    return Instance.build(
        ids=modules,
        types=["gpu", "cpu"],
        time_ms=[[1.0, 9.0]] * n,
        transfer_ms=[0.1] * n,
        memory_bytes=[1.0] * n,
        edges=[(i, i + 1) for i in range(n - 1)],
        classes=gpus(4),
        origin=[Origin(module=m, parameters=(f"{m}.weight",)) for m in modules],
    )


def spread(instance, last_layers, order=(0, 1, 2, 3)):
    """Device of each node: device ``order[i]`` up to layer ``last_layers[i]``; embedding first, head last."""
    devices = []
    for name in instance.ids:
        number = next((int(part) for part in name.split(".") if part.isdigit()), None)
        stage = (
            0
            if name == "embed"
            else len(last_layers)
            if number is None
            else sum(n < number for n in last_layers)
        )
        devices.append(f"gpu{order[stage]}")
    return devices


def read(path):
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("=") for line in lines)


@pytest.mark.parametrize("stack", STACKS)
def test_servers_read_the_counts(tmp_path, stack):
    instance = model(61, stack)
    result = planned(instance, spread(instance, [17, 32, 47]))
    remarks = export(result, "layer-counts", tmp_path / "layers.env", instance=instance)
    assert remarks == [f"layers of {stack!r}; ranks in order are gpu0, gpu1, gpu2, gpu3"]
    values = read(tmp_path / "layers.env")
    assert values["VLLM_PP_LAYER_PARTITION"] == "18,15,15,13"
    assert values["SGLANG_PP_LAYER_PARTITION"] == values["VLLM_PP_LAYER_PARTITION"]
    assert vllm_ranges(values["VLLM_PP_LAYER_PARTITION"], 61, 4) == [(0, 18), (18, 33), (33, 48), (48, 61)]
    placed = llama_devices(values["LLAMA_ARG_TENSOR_SPLIT"], int(values["LLAMA_ARG_N_GPU_LAYERS"]), 61)
    assert placed == [0] * 18 + [1] * 15 + [2] * 15 + [3] * 14


@pytest.mark.parametrize("seed", range(30))
def test_llama_shares_are_exact(seed, tmp_path):
    """Its shares are proportions in single precision; no layer may slip to a neighbour."""
    rng = np.random.default_rng(seed)
    layers = int(rng.integers(4, 130))
    cuts = sorted(rng.choice(np.arange(layers - 1), 3, replace=False).tolist())
    instance = model(layers)
    export(planned(instance, spread(instance, cuts)), "layer-counts", tmp_path / "e", instance=instance)
    values = read(tmp_path / "e")
    placed = llama_devices(values["LLAMA_ARG_TENSOR_SPLIT"], int(values["LLAMA_ARG_N_GPU_LAYERS"]), layers)
    assert placed[:-1] == [sum(c < i for c in cuts) for i in range(layers)]
    assert placed[-1] == 3


def test_ranks_follow_the_data_not_the_numbers(tmp_path):
    instance = model(4)
    result = planned(instance, spread(instance, [0, 1], order=(2, 0, 1)))
    remarks = export(result, "layer-counts", tmp_path / "e", instance=instance)
    assert read(tmp_path / "e")["VLLM_PP_LAYER_PARTITION"] == "1,1,2"
    assert remarks[0].endswith("ranks in order are gpu2, gpu0, gpu1")


def test_a_rank_without_layers_is_said(tmp_path):
    """The first device holds the embedding alone."""
    instance = model(4)
    result = planned(instance, ["gpu0", *["gpu1"] * 4, *["gpu2"] * 6])
    remarks = export(result, "layer-counts", tmp_path / "e", instance=instance)
    assert read(tmp_path / "e")["VLLM_PP_LAYER_PARTITION"] == "0,2,2"
    assert remarks[1].startswith("the rank on gpu0 holds no layers")
    assert not any("gpu1 holds" in remark or "gpu2 holds" in remark for remark in remarks)


def test_a_norm_that_servers_keep_with_the_head(tmp_path):
    """The plan has the norm at the end of the second device; servers have it on the last."""
    instance = model(4)
    devices = ["gpu0"] * 5 + ["gpu1"] * 5 + ["gpu2"]
    result = planned(instance, devices)
    remarks = export(result, "layer-counts", tmp_path / "e", instance=instance)
    assert read(tmp_path / "e")["VLLM_PP_LAYER_PARTITION"] == "2,2,0"
    assert remarks[1:] == [
        "servers keep what is before the layers on the first device, what is after on the last "
        "(nodes moved: 1; 5.1 ms instead of 5.2 ms)",
        "the rank on gpu2 holds no layers, which servers may refuse; plan without it (--forbid '*=gpu2')",
    ]
    tight = instance.replace(
        classes=(DeviceClass("gpu", "gpu", 2), DeviceClass("small", "gpu", 1, Kind.ACCELERATOR, 1.0))
    )
    with pytest.raises(UsageError, match="then small0 holds 2 bytes, more than its limit of 1"):
        export(planned(tight, [*devices[:10], "small0"]), "layer-counts", tmp_path / "f", instance=tight)


@pytest.mark.parametrize(
    ("devices", "match"),
    [
        (["gpu0"] * 2 + ["gpu1"] * 9, r"model.layers.0 is split over gpu0 and gpu1"),
        (["gpu0"] * 5 + ["cpu0"] * 6, r"cpu0 is no accelerator"),
    ],
)
def test_refusals(tmp_path, devices, match):
    instance = model(4)
    with pytest.raises(UsageError, match=match):
        export(planned(instance, devices), "layer-counts", tmp_path / "e", instance=instance)
    assert not (tmp_path / "e").exists()


def test_layers_out_of_order_are_refused(tmp_path):
    instance = model(3)
    modules = ["embed", "h.1", "h.0", "head"]
    instance = Instance.build(
        ids=modules,
        types=["gpu", "cpu"],
        time_ms=[[1, 1]] * 4,
        edges=[(0, 1), (1, 2), (2, 3)],
        classes=gpus(2),
        origin=[Origin(module=m) for m in modules],
    )
    result = planned(instance, ["gpu0", "gpu0", "gpu1", "gpu1"])
    with pytest.raises(UsageError, match="not in the order of the devices"):
        export(result, "layer-counts", tmp_path / "e", instance=instance)
    flat = instance.replace(origin=tuple(Origin(module=m) for m in "abcd"))
    with pytest.raises(UsageError, match="needs repeated layers"):
        export(planned(flat, ["gpu0"] * 4), "layer-counts", tmp_path / "e", instance=flat)
