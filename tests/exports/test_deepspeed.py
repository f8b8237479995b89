"""Stages for DeepSpeed: ranges of modules, rebuilt by its rules and by its own code where it is installed."""

import json
from dataclasses import replace

import numpy as np
import pytest

from placer.errors import UsageError
from placer.exports.api import export
from placer.instance.training import DeviceGroup
from tests.exports.test_megatron import cuts
from tests.support.layered import decoder, laid_out


def exported(tmp_path, instance, result):
    path = tmp_path / "plan.json"
    remarks = export(result, "deepspeed", path, instance=instance)
    return json.loads(path.read_text()), remarks


@pytest.mark.parametrize("seed", range(8))
def test_the_assignment_comes_back(tmp_path, seed):
    rng = np.random.default_rng([seed, 172])
    ranks, layers = int(rng.integers(2, 5)), int(rng.integers(5, 9))
    counts = [max(1, count) for count in cuts(rng, layers, ranks)]
    instance = decoder(sum(counts), ranks)
    result = laid_out(instance, counts)
    plan, remarks = exported(tmp_path, instance, result)
    assert remarks == []
    assert plan["modules"] == [v for v in instance.ids if not v.endswith("/backward")]
    stage = np.searchsorted(plan["parts"], np.arange(len(plan["modules"])), side="right") - 1
    for name, s in zip(plan["modules"], stage.tolist(), strict=True):
        assert result.assignment[name] == f"a100-{s}"
    assert plan["config"] == {
        "gradient_accumulation_steps": 8,
        "train_micro_batch_size_per_gpu": 2,
        "train_batch_size": 16,
        "zero_optimization": {"stage": 0},
    }


@pytest.mark.parametrize("apart", [False, True])
def test_ranks_by_deepspeeds_own_topology(tmp_path, apart):
    topologies = pytest.importorskip("deepspeed.runtime.pipe.topology", reason="deepspeed is not installed")
    instance = decoder(5, 3)
    group = DeviceGroup(2, 2, 1, apart=apart)
    instance = instance.replace(training=replace(instance.training, group=group))
    plan, _ = exported(tmp_path, instance, laid_out(instance, [1, 2, 2]))
    topology = topologies.ProcessTopology(axes=plan["axes"], dims=plan["dims"])
    assert topology.world_size() == 12
    of_first = topology.filter_match(pipe=0)
    assert of_first == ([0, 1, 6, 7] if apart else [0, 1, 2, 3])


def test_degrees(tmp_path):
    instance = decoder(4, 8, samples=4, microbatches=6, shards=[2])
    plan, _ = exported(
        tmp_path, instance, laid_out(instance, [2, 2], width=4, shards=2, zero=1, again=[0, 1])
    )
    assert (plan["axes"], plan["dims"]) == (["pipe", "data", "model"], [2, 2, 2])
    assert plan["activation_checkpoint_interval"] == 4
    assert plan["config"] == {
        "gradient_accumulation_steps": 6,
        "train_micro_batch_size_per_gpu": 2,
        "train_batch_size": 24,
        "zero_optimization": {"stage": 1},
    }


@pytest.mark.parametrize(
    ("counts", "arguments", "match"),
    [
        ([1, 1, 1, 1], {"chunks": 2}, "knows no virtual stages"),
        ([2, 2], {"schedule": "gpipe"}, "runs 1F1B alone"),
        ([2, 2], {"width": 2, "zero": 2}, "not gradients"),
    ],
)
def test_what_deepspeed_cannot_run(tmp_path, counts, arguments, match):
    instance = decoder(4, 2 if "chunks" in arguments else 4)
    with pytest.raises(UsageError, match=match):
        exported(tmp_path, instance, laid_out(instance, counts, **arguments))
