"""What each of several devices that split a language model has: published formulas, and rules by hand."""

import json

import numpy as np
import pytest

import placer
from placer.cli import main
from placer.errors import UsageError
from placer.imports.language_api import as_each_has_it, import_language_model
from placer.instance.origin import Source
from placer.instance.training import STATE_FACTOR
from placer.language.configuration import language_model
from tests.support.language_models import MODELS

SOURCE = Source("hf", "m")
B, S, H, A, LAYERS = 3, 64, 96, 6, 4
GPT = {
    "model_type": "gpt2",
    "torch_dtype": "bfloat16",
    "vocab_size": 1000,
    "n_positions": 128,
    "n_embd": H,
    "n_head": A,
    "n_layer": LAYERS,
    "resid_pdrop": 0.1,
}
"""A GPT with dropout: the model that the formulas for activations were written for."""
LLAMA = {
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
}
"""Fewer heads of keys and values than some degrees."""
EXPERTS = {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}


def each(config, shards, *, by="module", **work):
    given = {"batch": B, "sequence": S, **work}
    return as_each_has_it(
        language_model(config),
        "a100-80gb:1",
        shards,
        source=SOURCE,
        work=given,
        by=by,
        training=True,
        optimizer="mixed-adam",
    )


def layer(instance, values, number=1):
    """Sum over the nodes of one layer, both passes, by direction."""
    found = np.zeros(2)
    for v, name in enumerate(instance.ids):
        if f".{number}." in f"{name.removesuffix('/backward')}.":
            found[int(instance.backward[v])] += values[v]
    return found


@pytest.mark.parametrize("t", [1, 2, 3, 6])
@pytest.mark.parametrize("sequence_parallel", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_activations_of_a_layer_are_those_of_korthikanti(t, sequence_parallel, fused):
    # Korthikanti et al., 2022: s b h (10 + 24 / t + 5 a s / (h t)) bytes, or all over t.
    instance, _ = each(GPT, t, sequence_parallel=sequence_parallel, attention="fused" if fused else "eager")
    scores = 0 if fused else 5 * A * S / H
    per_number = (34 + scores) / t if sequence_parallel else 10 + (24 + scores) / t
    assert layer(instance, instance.activation_bytes).sum() == pytest.approx(
        S * B * H * per_number, rel=1e-12
    )


@pytest.mark.parametrize("t", [1, 2, 3])
def test_mixed_adam_keeps_16_bytes_per_weight(t):
    instance, _ = each(GPT, t)
    matrices, vectors = 12 * H * H, 3 * H + 4 * H  # cut with their biases
    whole = 4 * H + 2 * H  # norms, and the biases of what is summed up
    resident = layer(instance, instance.weight_bytes * STATE_FACTOR[instance.training.optimizer]).sum()
    assert resident == pytest.approx(16 * ((matrices + vectors) / t + whole), rel=1e-12)


@pytest.mark.parametrize("config", [GPT, LLAMA, EXPERTS], ids=["gpt", "llama", "experts"])
@pytest.mark.parametrize("sequence_parallel", [False, True])
def test_two_sums_per_layer_and_direction(config, sequence_parallel):
    instance, sums = each(config, 2, sequence_parallel=sequence_parallel)
    width = config.get("hidden_size", H)
    forward, backward = layer(instance, sums)
    stream = 2 * B * S * width  # 16 bits
    assert forward == 2 * stream
    more = 2 * 2 * B * S * 2 if config is EXPERTS else 0  # with each token goes the choice of two experts
    assert backward == 2 * stream + more
    ids = list(instance.ids)
    ends = {
        v: sums[k] for v, k in zip(ids, range(len(ids)), strict=True) if "layers" not in v and ".h." not in v
    }
    assert sorted(x for x in ends.values() if x) == [
        stream,
        stream,
    ]  # the embedding forward, the head backward


@pytest.mark.parametrize("config", [GPT, LLAMA, EXPERTS], ids=["gpt", "llama", "experts"])
def test_one_device_sums_nothing(config):
    assert not each(config, 1)[1].any()


def test_heads_of_keys_and_values_are_repeated():
    d, kv, size, heads, inner = 64, 2, 8, 8, 192
    for t in (1, 2, 4, 8):
        instance, _ = each(LLAMA, t)
        attention = 2 * d * size * heads / t + 2 * d * size * kv / min(t, kv)
        assert layer(instance, instance.weight_bytes).sum() == 2 * (attention + 3 * d * inner / t + 2 * d)


def test_experts_are_split_inside():
    for t in (1, 2, 4):
        instance, _ = each(EXPERTS, t, by="sublayer")
        weights = dict(zip(instance.ids, instance.weight_bytes, strict=True))
        assert weights["model.layers.1.mlp.experts"] == 2 * 4 * 3 * 64 * 192 / t
        router = next(w for v, w in weights.items() if v.startswith("model.layers.1.mlp.gate") and w)
        assert router == 2 * (4 * 64 + 64)  # the norm before it, too


def test_devices_share_the_operations_of_split_products():
    by_degree = {}
    for t in (1, 2, 4):
        instance, _ = each(LLAMA, t, sequence_parallel=True, by="operator")
        flops = {
            v: o.flops
            for v, o in zip(instance.ids, instance.origin, strict=True)
            if o is not None and o.flops
        }
        by_degree[t] = flops
    for t in (2, 4):
        for v, whole in by_degree[1].items():
            few = v.removesuffix("/backward").endswith(("attn_k", "attn_v"))
            share = min(t, 2) if few else t
            if not v.removesuffix("/backward").endswith("rotary"):
                assert by_degree[t][v] == pytest.approx(whole / share, rel=1e-9), v


def test_an_import_holds_the_figures_of_all_degrees(tmp_path, capsys):
    path, out = tmp_path / "config.json", tmp_path / "instance.json"
    path.write_text(json.dumps(LLAMA))
    asked = ["--devices", "a100-80gb:4", "--training", "--sequence", str(S), "--batch", str(B), "--quiet"]
    assert (
        main(
            ["import", "hf", str(path), *asked, "--shards", "1,2,4", "--sequence-parallel", "--out", str(out)]
        )
        == 0
    )
    instance = placer.load(out)
    assert [s.degree for s in instance.shards] == [2, 4]
    for shards in instance.shards:
        alone, sums = as_each_has_it(
            language_model(LLAMA),
            "a100-80gb:4",
            shards.degree,
            source=SOURCE,
            work={"batch": B, "sequence": S, "sequence_parallel": True},
            training=True,
        )
        for key in ("time_ms", "memory_bytes", "weight_bytes", "activation_bytes"):
            np.testing.assert_allclose(getattr(shards, key), getattr(alone, key), rtol=1e-12, err_msg=key)
        np.testing.assert_allclose(shards.collective_bytes, sums, rtol=1e-12)
    assert main(["import", "hf", str(path), *asked, "--shards", "3"]) == 2
    assert "cannot be split into 3 shards" in capsys.readouterr().err
    assert main(["import", "pipedream", "graph.txt", "--devices", "t4:1", "--shards", "2"]) == 2
    assert "--shards applies to import onnx, torch, hf and gguf" in capsys.readouterr().err


def test_decoding_repeats_the_cache_of_single_heads():
    work = {"phase": "decode", "batch": 2, "sequence": 100, "concurrency": 5}
    memory = {}
    for t in (1, 2, 4):
        instance, sums = as_each_has_it(language_model(LLAMA), "a100-80gb:1", t, source=SOURCE, work=work)
        memory[t] = sum(
            instance.memory_bytes[v] for v, i in enumerate(instance.ids) if i.endswith("self_attn")
        )
        assert sums.any() == (t > 1)
    assert (
        memory[1] == 2 * 5 * 100 * 2 * 2 * 8 * 2
    )  # layers, sequences, tokens, keys and values, heads, size, bytes
    assert memory[2] == memory[4] == memory[1] / 2


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_known_model_splits_by_its_heads(name):
    model = language_model(MODELS[name][0])
    attentions = [b.attention for b in model.blocks if b.attention is not None]
    degrees = [t for t in (2, 4, 8) if model.can_split(t)]
    for t in degrees:
        assert all(a.heads % t == 0 for a in attentions)
    if not degrees:
        with pytest.raises(UsageError, match="cannot be split"):
            import_language_model(model, "h100:2", work={"shards": [2], "sequence": 32})
        return
    instance = import_language_model(
        model, "h100:2", work={"shards": degrees[:1], "sequence": 32}, by="module"
    )
    assert (instance.shards[0].time_ms <= instance.time_ms * (1 + 1e-9)).all()
    assert (instance.shards[0].weight_bytes <= instance.weight_bytes * (1 + 1e-9)).all()
