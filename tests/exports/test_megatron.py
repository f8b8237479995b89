"""Flags of Megatron: layers of each rank, by its rules, and by its own code where that is installed."""

import re
import shlex
from dataclasses import replace

import numpy as np
import pytest

from placer.errors import UsageError
from placer.exports.api import export
from placer.imports.language_api import import_language_model
from placer.instance.training import DeviceGroup
from placer.language.configuration import language_model
from placer.plans.plan import Plan, Team
from tests.support.layered import CONFIG, decoder, laid_out
from tests.support.plans import result_of


def exported(tmp_path, instance, result):
    path = tmp_path / "plan.sh"
    remarks = export(result, "megatron", path, instance=instance)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert (lines[0], lines[-1]) == ("PLACER_ARGS=(", ")")
    found = {}
    for name, *values in map(shlex.split, lines[1:-1]):
        found[name.removeprefix("--")] = values[0] if values else True
    return found, remarks


def stages(flags, layers):
    """What each stage in pipeline order holds: letters, from layout or counts, by Megatron's rules."""
    ranks = int(flags["pipeline-model-parallel-size"])
    if "pipeline-model-parallel-layout" in flags:
        text = re.sub(r"(.)\*(\d+)", lambda m: m[1] * int(m[2]), flags["pipeline-model-parallel-layout"])
        return text.split("|")
    ends = [flags.get(f"decoder-{end}-pipeline-num-layers") for end in ("first", "last")]
    given = [0 if end is None else int(end) for end in ends]
    rest = ranks - sum(end is not None for end in ends)
    assert rest <= 0 or (layers - sum(given)) % rest == 0
    middle = 0 if rest <= 0 else (layers - sum(given)) // rest
    counts = [middle] * ranks
    for place, end in zip((0, -1), ends, strict=True):
        if end is not None:
            counts[place] = int(end)
    letters = ["t" * count for count in counts]
    letters[0], letters[-1] = f"E{letters[0]}", f"{letters[-1]}L"
    return letters


def cuts(rng, layers, stages_):
    marks = np.sort(rng.integers(0, layers + 1, stages_ - 1))
    return np.diff([0, *marks, layers]).tolist()


def drawn(seed):
    """A random plan: layers of each stage, ranks, virtual stages."""
    rng = np.random.default_rng([seed, 171])
    ranks, chunks = int(rng.integers(2, 5)), int(rng.integers(1, 4))
    layers = int(rng.integers(ranks, 9))
    counts = cuts(rng, layers, ranks * chunks)
    if chunks == 1:
        counts = [max(1, c) for c in counts]
    return counts, ranks, chunks


@pytest.mark.parametrize("seed", range(12))
def test_the_assignment_comes_back(tmp_path, seed):
    counts, ranks, chunks = drawn(seed)
    instance = decoder(sum(counts), ranks, microbatches=2 * ranks)
    result = laid_out(instance, counts, chunks=chunks)
    flags, remarks = exported(tmp_path, instance, result)
    assert remarks == []
    number = 0
    for s, letters in enumerate(stages(flags, sum(counts))):
        device = f"a100-{s % ranks}"
        names = []
        for letter in letters:
            if letter == "t":
                names, number = [*names, f"model.layers.{number}"], number + 1
            else:
                names += {"E": ["model.embed_tokens"], "L": ["model.norm", "lm_head"]}[letter]
        assert {result.assignment[name] for name in names} <= {device}
        if chunks > 1:
            held = {v for v in result.virtual_stages[s].nodes if not v.endswith("/backward")}
            assert held == set(names)
    assert number == sum(counts)
    assert int(flags["micro-batch-size"]) == 2
    assert int(flags["global-batch-size"]) == 2 * 2 * ranks


@pytest.mark.parametrize("seed", range(12))
def test_megatron_reads_the_layout(tmp_path, seed):
    module = "megatron.core.transformer.pipeline_parallel_layer_layout"
    layouts = pytest.importorskip(module, reason="megatron-core is not installed")
    counts, ranks, chunks = drawn(seed)
    instance = decoder(sum(counts), ranks, microbatches=2 * ranks)
    flags, _ = exported(tmp_path, instance, laid_out(instance, counts, chunks=chunks))
    if "pipeline-model-parallel-layout" not in flags:
        pytest.skip("plain counts of layers say it")
    read = layouts.PipelineParallelLayerLayout(flags["pipeline-model-parallel-layout"], ranks)
    read.validate_layer_layout(sum(counts), None)
    decoders = layouts.LayerType.decoder
    for s, count in enumerate(counts):
        assert read.layout[s % ranks][s // ranks].count(decoders) == count


def test_words_for_simple_plans(tmp_path):
    """Flags of old where they say it: nothing for equal stages, the ends where only they differ."""
    for counts, wanted in (
        ([2, 2, 2, 2], {}),
        ([1, 3, 3, 1], {"decoder-first-pipeline-num-layers": "1", "decoder-last-pipeline-num-layers": "1"}),
        ([1, 2, 3, 2], {"pipeline-model-parallel-layout": "Et|t*2|t*3|t*2L"}),
        ([0, 3, 3, 2], {"pipeline-model-parallel-layout": "E|t*3|t*3|t*2L"}),
    ):
        instance = decoder(sum(counts), 4)
        flags, _ = exported(tmp_path, instance, laid_out(instance, counts))
        assert {
            name: value for name, value in flags.items() if "layers" in name or "layout" in name
        } == wanted


def test_degrees(tmp_path):
    """Two replicas of two shards: each replica has half of the samples of a microbatch."""
    instance = decoder(4, 8, samples=4, microbatches=6, shards=[2])
    instance = instance.replace(
        training=replace(instance.training, group=DeviceGroup(sequence_parallel=True))
    )
    result = laid_out(instance, [2, 2], width=4, shards=2, zero=1, again=[0, 1])
    flags, _ = exported(tmp_path, instance, result)
    assert flags == {
        "tensor-model-parallel-size": "2",
        "pipeline-model-parallel-size": "2",
        "sequence-parallel": True,
        "micro-batch-size": "2",
        "global-batch-size": "24",
        "use-distributed-optimizer": True,
        "recompute-granularity": "full",
        "recompute-method": "uniform",
        "recompute-num-layers": "2",
    }


def test_groups(tmp_path):
    """Each device stands for four replicas in other servers, of two shards."""
    instance = decoder(4, 2, samples=1, microbatches=6)
    group = DeviceGroup(4, 2, 1, apart=True)
    instance = instance.replace(training=replace(instance.training, group=group))
    flags, _ = exported(tmp_path, instance, laid_out(instance, [2, 2]))
    assert flags == {
        "tensor-model-parallel-size": "2",
        "pipeline-model-parallel-size": "2",
        "micro-batch-size": "1",
        "global-batch-size": "24",
        "use-distributed-optimizer": True,
        "use-tp-pp-dp-mapping": True,
    }


def test_whole_microbatches_where_samples_do_not_divide(tmp_path):
    instance = decoder(4, 4, samples=1, microbatches=6)
    flags, (why,) = exported(tmp_path, instance, laid_out(instance, [2, 2], width=2))
    assert flags["micro-batch-size"] == "1"
    assert flags["global-batch-size"] == "6"
    assert "3 whole microbatches" in why


def test_the_norm_follows_the_head(tmp_path):
    """The plan has the norm a stage before the head; Megatron has it with the loss."""
    instance = decoder(4, 2)
    result = laid_out(instance, [4, 0])
    device = {name: result.assignment[name] for name in instance.ids}
    device |= {"model.norm": "a100-0", "model.norm/backward": "a100-0"}

    plan = Plan(np.array([instance.device_index[device[v]] for v in instance.ids]), stages=(0, 1))
    flags, (why,) = exported(tmp_path, instance, result_of(instance, plan, objective="step"))
    assert flags["pipeline-model-parallel-layout"] == "Et*4|L"
    assert why.startswith("what is before the layers runs on the first stage, what is after on the last (")
    assert f"{result.objective:.6g} ms instead of" in why


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"schedule": "gpipe"}, "runs 1F1B alone"),
        ({"again": [0]}, "a100-0 recomputes activations, a100-1 does not"),
        ({"width": 2, "zero": 2}, "not gradients"),
    ],
)
def test_what_megatron_cannot_run(tmp_path, arguments, match):
    instance = decoder(4, 4)
    with pytest.raises(UsageError, match=match):
        exported(tmp_path, instance, laid_out(instance, [2, 2], **arguments))
    assert not (tmp_path / "plan.sh").exists()


def test_stages_of_different_degrees_are_refused(tmp_path):

    instance = decoder(4, 3)
    device = np.array([2 * (1 - int("layers.0" in v or "embed" in v)) for v in instance.ids])
    plan = Plan(device, stages=(0, 2), teams=(Team((0, 1)),))
    result = result_of(instance, plan, objective="step", replicas=2)
    with pytest.raises(UsageError, match=r"a100-0\+a100-1 \(2 replicas, 1 shards\) and a100-2 \(1 replicas"):
        exported(tmp_path, instance, result)


def test_plans_without_a_backward_pass_are_refused(tmp_path):

    model = language_model(CONFIG | {"num_hidden_layers": 2})
    instance = import_language_model(model, "a100:2", by="module")
    result = laid_out(instance, [1, 1], objective="throughput", recompute="none")
    with pytest.raises(UsageError, match="import the model with --training"):
        exported(tmp_path, instance, result)
