"""The bound by sharing: what follows by hand, and answers with hosts that it closes."""

import pytest

from placer.imports.catalogue import Cluster, DeviceEntry
from placer.instance.cluster import DeviceClass, Kind, Link
from placer.language.configuration import language_model
from placer.plans.result import Status
from placer.serving.serve import serve, served
from placer.serving.serving_model import Setting
from placer.serving.serving_request import ServingRequest
from placer.serving.sharing_bound import most_tokens
from tests.support.language_models import MODELS


def of(config, devices, **more):
    return served(language_model(config, **more), devices, ServingRequest(context=2048))


def test_alone_on_a_device_the_bound_is_the_rate():
    """One device, one microbatch: all nodes one after the other."""
    model, _ = of(MODELS["Llama-3-8B"][0], "a100-80gb:1")
    setting = Setting(8, 1, 2048, 2048)
    assert most_tokens(model, setting, setting) == pytest.approx(8e3 / model.costs(setting).time_ms.sum())


def test_what_has_no_room_is_shared_out_to_the_host():
    """Memory for two of four layers: the host has the rest, and both work at once."""
    entry = DeviceEntry(bandwidth_gb_per_s=1.0, peak_tflops={"bf16": 1e3}, launch_ms=0.0, source="made up")
    slow = entry.model_copy(update={"bandwidth_gb_per_s": 0.1})
    config = MODELS["Llama-3-8B"][0] | {"num_hidden_layers": 4, "vocab_size": 8}
    layers = language_model(config).blocks[1:-1]
    held = sum(block.weight_bytes for block in layers) / 2
    classes = (
        DeviceClass("gpu", "gpu", 1, Kind.ACCELERATOR, held, Link()),
        DeviceClass("cpu", "cpu", 1, Kind.HOST),
    )
    model, _ = of(config, Cluster(name="two", classes=classes, types={"gpu": entry, "cpu": slow}))
    rate = most_tokens(model, Setting(1, 2, 1, 1), Setting(1, 2, 1, 1))
    host_ms = 1e3 * held / (0.1e9 * 0.8)
    assert rate == pytest.approx(1e3 / host_ms, rel=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "devices", "more"),
    [("Llama-3-8B", "t4:1,epyc-7763:1", {}), ("Mixtral-8x7B", "l4:2,epyc-7763:1", {"weights": "int4"})],
)
def test_throughput_with_hosts_is_nearly_proven(model, devices, more):
    made, request = of(MODELS[model][0], devices, **more)
    result = serve(made, request.model_copy(update={"gap": 0.02}))
    assert result.status is Status.OPTIMAL
    assert {stage.host for stage in result.plan.stages} == {True, False}
