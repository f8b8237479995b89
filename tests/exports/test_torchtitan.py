"""Settings of torchtitan: parts rebuilt by its rules, and read by its own code where that is installed."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from placer.errors import UsageError
from placer.exports.api import export
from placer.instance.training import DeviceGroup
from placer.plans.plan import Plan
from tests.exports.test_megatron import drawn
from tests.support.layered import decoder, laid_out
from tests.support.plans import result_of

NAMES = {"tok_embeddings": "model.embed_tokens", "norm": "model.norm", "lm_head": "lm_head"}


def exported(tmp_path, instance, result):
    path = tmp_path / "plan.toml"
    remarks = export(result, "torchtitan", path, instance=instance)
    return tomllib.loads(path.read_text()), remarks


@pytest.mark.parametrize("seed", range(12))
def test_the_assignment_comes_back(tmp_path, seed):
    """Part s is on rank s mod P; all parts together are the model, each in its order."""
    counts, ranks, chunks = drawn(seed)
    instance = decoder(sum(counts), ranks, microbatches=2 * ranks)
    result = laid_out(instance, counts, chunks=chunks)
    if not all(counts[1:-1]):
        with pytest.raises(UsageError, match="nothing to train"):
            exported(tmp_path, instance, result)
        return
    tables, remarks = exported(tmp_path, instance, result)
    assert remarks == []
    given = tables["parallelism"]
    parts = given["module_fqns_per_model_part"]
    assert given["pipeline_parallel_schedule"] == ("1F1B" if chunks == 1 else "Interleaved1F1B")
    assert len(parts) == given["pipeline_parallel_degree"] * chunks == len(counts)
    place = {NAMES.get(name, f"model.{name}"): s for s, part in enumerate(parts) for name in part}
    ahead = [v for v in instance.ids if not v.endswith("/backward")]
    assert [name for part in parts for name in part] == [
        "tok_embeddings", *(f"layers.{i}" for i in range(sum(counts))), "norm", "lm_head"
    ]  # fmt: skip
    assert {v: f"a100-{place[v] % ranks}" for v in ahead} == {v: result.assignment[v] for v in ahead}
    local, micro = tables["training"]["local_batch_size"], given["pipeline_parallel_microbatch_size"]
    assert (micro, local, tables["training"]["global_batch_size"]) == (2, 4 * ranks, 4 * ranks)


@pytest.mark.parametrize("zero", [0, 1])
def test_torchtitan_takes_the_fields(tmp_path, zero):
    configs = pytest.importorskip("torchtitan.config.configs", reason="torchtitan is not installed")
    instance = decoder(4, 8, samples=4, shards=[2])
    result = laid_out(instance, [2, 2], width=4, shards=2, zero=zero)
    tables, _ = exported(tmp_path, instance, result)
    made = configs.ParallelismConfig(**tables["parallelism"])
    assert made.module_fqns_per_model_part[0] == ["tok_embeddings", "layers.0", "layers.1"]
    assert configs.TrainingConfig(**tables["training"]).global_batch_size == 32


def test_degrees(tmp_path):
    """Four replicas of two shards share out the optimizer; each has two samples of a microbatch."""
    instance = decoder(4, 8, samples=4, microbatches=6)
    group = DeviceGroup(2, 2, apart=True, sequence_parallel=True)
    instance = instance.replace(training=replace(instance.training, group=group))
    result = laid_out(instance, [2, 2], width=2, zero=1, again=[0, 1], schedule="gpipe")
    tables, remarks = exported(tmp_path, instance, result)
    del tables["parallelism"]["module_fqns_per_model_part"]
    assert tables["parallelism"] == {
        "data_parallel_replicate_degree": 1,
        "data_parallel_shard_degree": 4,
        "tensor_parallel_degree": 2,
        "enable_sequence_parallel": True,
        "pipeline_parallel_degree": 2,
        "pipeline_parallel_schedule": "GPipe",
        "pipeline_parallel_microbatch_size": 2,
    }
    assert tables["training"] == {"local_batch_size": 12, "global_batch_size": 48}
    assert [why.split()[:4] for why in remarks] == [
        ["the", "plan", "shares", "out"],
        ["the", "plan", "has", "the"],
        ["the", "plan", "recomputes", "activations"],
    ]


def test_one_rank_has_no_parts(tmp_path):
    instance = decoder(3, 1, microbatches=4)
    tables, _ = exported(tmp_path, instance, laid_out(instance, [3]))
    assert "module_fqns_per_model_part" not in tables["parallelism"]
    assert tables["training"] == {"local_batch_size": 2, "global_batch_size": 8}


def test_norm_and_head_may_part(tmp_path):
    instance = decoder(2, 2)
    stage = np.array([int("lm_head" in v) for v in instance.ids])
    result = result_of(instance, Plan(stage, stages=(0, 1)), objective="step")
    tables, _ = exported(tmp_path, instance, result)
    parts = tables["parallelism"]["module_fqns_per_model_part"]
    assert parts == [["tok_embeddings", "layers.0", "layers.1", "norm"], ["lm_head"]]


def test_tied_weights_are_refused(tmp_path):
    instance = decoder(2, 2)
    origin = [
        o if o is None or o.module != "lm_head" else replace(o, parameters=("model.embed_tokens.weight",))
        for o in instance.origin
    ]
    instance = instance.replace(origin=tuple(origin))
    with pytest.raises(UsageError, match="no pipeline with tied weights"):
        exported(tmp_path, instance, laid_out(instance, [1, 1]))
