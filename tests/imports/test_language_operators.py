"""What a language model's step costs: against formulas written down here, and by hand on small models."""

import json

import pytest

from placer.errors import UsageError
from placer.imports.api import to_instance
from placer.imports.catalogue import find_cluster
from placer.imports.language_api import import_hf, import_language_model
from placer.imports.language_operators import operators, work_on
from placer.imports.language_work import Phase, Workload
from placer.imports.model import Kind
from placer.instance.origin import Source
from placer.language.configuration import language_model
from tests.support.language_models import MODELS

SOURCE = Source("hf", "m")
TINY = {
    "model_type": "mixtral",
    "dtype": "float16",
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}


def by_formula(config, tokens, seen):
    """Products of a decoder with grouped queries: 2 per weight and token, 4 per pair, head and number."""
    c = config
    size = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    query, kv = c["num_attention_heads"] * size, c["num_key_value_heads"] * size
    layer = c["hidden_size"] * (2 * query + 2 * kv)
    if "num_experts_per_tok" in c:
        count = c.get("num_experts") or c["num_local_experts"]
        inner = c.get("moe_intermediate_size") or c["intermediate_size"]
        layer += c["hidden_size"] * (count + c["num_experts_per_tok"] * 3 * inner)
    else:
        layer += 3 * c["hidden_size"] * c["intermediate_size"]
    pairs = 4 * tokens * seen * query
    return (
        c["num_hidden_layers"] * (2 * tokens * layer + pairs)
        + 2 * tokens * c["hidden_size"] * c["vocab_size"]
    )


@pytest.mark.parametrize("name", ["Llama-3-8B", "Llama-3-70B", "Mixtral-8x7B", "Qwen3-30B-A3B"])
def test_products_by_formula(name):
    config = MODELS[name][0]
    model = language_model(config)
    prefill = operators(model, Workload(batch=3, sequence=500), SOURCE)
    assert prefill.flops(Kind.PRODUCT) == pytest.approx(by_formula(config, 1500, 500))
    assert model.flops(1500, 500) == pytest.approx(by_formula(config, 1500, 500))
    decode = operators(model, Workload(Phase.DECODE, batch=3, sequence=500), SOURCE)
    assert decode.flops(Kind.PRODUCT) == pytest.approx(by_formula(config, 3, 500))
    assert prefill.flops() == pytest.approx(prefill.flops(Kind.PRODUCT), rel=0.01)


def test_latent_attention_by_formula():
    """DeepSeek-V3: expanded in prefill; in decoding queries meet the 512 + 64 cached numbers directly."""
    config = {k: v for k, v in MODELS["DeepSeek-V3"][0].items() if k != "quantization_config"}
    model = language_model(config)
    attention = 7168 * (1536 + 576) + 1536 * 128 * 192 + 512 * 128 * 256 + 128 * 128 * 7168
    dense, expert = 3 * 7168 * 18432, 3 * 7168 * 2048
    weights = 61 * attention + 3 * dense + 58 * (9 * expert + 256 * 7168) + 7168 * 129280
    prefill = operators(model, Workload(batch=2, sequence=300), SOURCE)
    pairs = 2 * 128 * (192 + 128)
    assert prefill.flops(Kind.PRODUCT) == pytest.approx(2 * 600 * weights + 61 * pairs * 600 * 300)
    decode = operators(model, Workload(Phase.DECODE, batch=2, sequence=300), SOURCE)
    pairs = 2 * 128 * (512 + 64 + 512)
    assert decode.flops(Kind.PRODUCT) == pytest.approx(2 * 2 * weights + 61 * pairs * 2 * 300)


def test_windows_bound_the_pairs():
    config = MODELS["Mistral-7B"][0]
    model = operators(language_model(config), Workload(sequence=5000), SOURCE)
    assert model.flops(Kind.PRODUCT) == pytest.approx(by_formula(config, 5000, 4096))


def test_last_logits_alone():
    config = MODELS["Llama-3-8B"][0]
    made = operators(language_model(config), Workload(batch=2, sequence=100, logits=False), SOURCE)
    less = 2 * (200 - 2) * 4096 * 128256
    assert made.flops(Kind.PRODUCT) == pytest.approx(by_formula(config, 200, 100) - less)


def operator(model, name):
    return next(o for o in model.operators if o.id == name)


def test_bytes_by_hand():
    """A step of three sequences of 40 tokens; two bytes per number."""
    made = operators(language_model(TINY), Workload(Phase.DECODE, batch=3, sequence=40), SOURCE)
    query = operator(made, "model.layers.0.self_attn/attn_q")
    assert query.moved_bytes == 2 * (3 * 32 + 32 * 32 + 3 * 32)
    attention = operator(made, "model.layers.0.self_attn/attention")
    assert attention.moved_bytes == 2 * (3 * 32 + 3 * 40 * 2 * 2 * 8 + 3 * 32)
    up = operator(made, "model.layers.0.mlp.experts/up")
    share = 1 - (1 - 2 / 8) ** 3
    assert up.moved_bytes == pytest.approx(2 * (6 * 32 + share * 8 * 96 * 32 + 6 * 96))
    table = operator(made, "model.embed_tokens/token_embd")
    assert table.moved_bytes == 2 * 2 * 3 * 32
    prefill = operators(language_model(TINY), Workload(batch=3, sequence=40), SOURCE)
    attention = operator(prefill, "model.layers.0.self_attn/attention")
    assert attention.moved_bytes == 2 * 120 * (32 + 2 * 16 + 32)


def test_memory_of_the_cache():
    model = language_model(TINY)
    for work, numbers, width in (
        ({"sequence": 40, "batch": 3}, 3 * 40, 2),
        ({"sequence": 40, "batch": 3, "concurrency": 7}, 7 * 40, 2),
        ({"sequence": 40, "cache": "fp8", "phase": "decode"}, 40, 1),
    ):
        made = work_on(model, work, SOURCE, training=False, single_experts=False)
        assert made.weights["model.layers.0.self_attn/cache"].size_bytes == numbers * 2 * 2 * 8 * width
    config = MODELS["Llama-3-8B"][0]
    instance = import_hf_model(config, "a100:4", {"sequence": 4096, "concurrency": 9, "phase": "decode"})
    assert instance.memory_bytes[1] == 9 * 4096 * 2 * 8 * 128 * 2
    assert not import_hf_model(config, "a100:4", {"sequence": 64}, training=True).memory_bytes[1]


def test_time_is_the_sum_of_its_kernels():
    """Decoding an eight-billion model on one A100: weights over bandwidth, and the launches."""
    config = MODELS["Llama-3-8B"][0]
    instance = import_hf_model(config, "a100:1", {"phase": "decode", "sequence": 1000})
    entry = find_cluster("a100:1").types["a100"]
    kernels = operators(language_model(config), Workload(Phase.DECODE, sequence=1000), SOURCE).operators
    bandwidth = entry.bandwidth_gb_per_s * 1e9 * entry.bandwidth_efficiency
    size = 2 * (MODELS["Llama-3-8B"][1] - 128256 * 4096 + 32 * 2 * 8 * 128 * 1000)
    expected = 1e3 * size / bandwidth + len(kernels) * entry.launch_ms
    assert instance.time_ms.sum() == pytest.approx(expected, rel=0.01)


def import_hf_model(config, cluster, work, **options):
    return import_language_model(language_model(config), cluster, work=work, **options)


def test_granularity():
    model = language_model(TINY | {"num_hidden_layers": 3})
    work = {"sequence": 16}
    sizes = {}
    made = {}
    for by in ("operator", "layer", "module", "sublayer", "expert"):
        made[by] = import_language_model(model, "a100:2", work=work, by=by)
        sizes[by] = made[by].weight_bytes.sum()
    assert len(set(sizes.values())) == 1 == len({2 * model.parameters, *sizes.values()})
    layers = [f"model.layers.{n}" for n in range(3)]
    assert made["module"].ids == ("model.embed_tokens", *layers, "model.norm", "lm_head")
    layer = [name.removeprefix("model.layers.1.") for name in made["sublayer"].ids if ".layers.1." in name]
    assert layer == ["self_attn", "mlp.gate", "mlp.experts", "mlp"]
    single = [name for name in made["expert"].ids if name.startswith("model.layers.2.mlp.experts.")]
    assert single == [f"model.layers.2.mlp.experts.{e}" for e in range(8)]
    flops = {by: sum(o.flops or 0 for o in i.origin if o) for by, i in made.items()}
    assert flops["expert"] == pytest.approx(flops["sublayer"], rel=0.03)
    assert flops["module"] == flops["sublayer"]
    assert made["expert"].time_ms.sum() > made["sublayer"].time_ms.sum()


def test_what_passes_between_nodes():
    """One value of the model's width between sublayers; to experts a token's numbers and its choice."""
    instance = import_language_model(language_model(TINY), "a100:2", work={"batch": 2, "sequence": 16})
    size = dict(zip(instance.ids, instance.output_bytes, strict=True))
    width, experts = 2 * 32 * 32, 2 * 32 * (32 + 4)
    assert size["model.embed_tokens"] == size["model.layers.0.self_attn"] == width
    assert size["model.layers.0.mlp.gate"] == experts
    assert size["model.layers.0.mlp.experts"] == size["model.layers.0.mlp"] == width


def test_tied_embeddings():
    config = MODELS["Llama-3.2-1B"][0]
    table = 2 * 128256 * 2048
    copied = import_hf_model(config, "a100:2", {"sequence": 16})
    together = import_hf_model(config, "a100:2", {"sequence": 16}, tied="colocate")
    assert (
        copied.weight_bytes.sum()
        == together.weight_bytes.sum() + table
        == 2 * MODELS["Llama-3.2-1B"][1] + table
    )
    assert together.colocate[0] == together.colocate[-1] is not None


def test_training_keeps_what_the_backward_pass_needs():
    """Korthikanti et al. (2022): 34 bytes per token and width of a layer, 3 of them masks of dropout."""
    config = MODELS["Llama-2-7B"][0] | {"intermediate_size": 16384, "num_hidden_layers": 2}
    instance = import_hf_model(config, "a100:2", {"sequence": 1024}, training=True, by="module")
    layer = instance.activation_bytes[1] / (1024 * 4096)
    # Norms 2 x 2, inputs of products 2 x 2 + 2, queries, keys and values 6; gate, up and their product 3 x 8.
    assert 30 <= layer <= 46
    forward = sum(
        o.flops or 0 for o, b in zip(instance.origin, instance.backward, strict=True) if o and not b
    )
    backward = sum(o.flops or 0 for o, b in zip(instance.origin, instance.backward, strict=True) if o and b)
    assert backward == pytest.approx(2 * forward, rel=0.03)


@pytest.mark.parametrize(
    ("work", "rule"),
    [
        ({"phase": "both"}, "no phase 'both'"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"sequence": -3}, "sequence must be at least 1"),
        ({"batch": 4, "concurrency": 3}, r"concurrency \(3\) is at least the batch \(4\)"),
        ({"cache": "fp3"}, "no cache format 'fp3'"),
    ],
)
def test_work_that_does_not_fit(work, rule):
    with pytest.raises(UsageError, match=rule):
        work_on(language_model(TINY), work, SOURCE, training=False, single_experts=False)


def test_training_that_does_not_fit():
    model = language_model(TINY)
    with pytest.raises(UsageError, match="training has no cache"):
        import_language_model(model, "a100:2", training=True, work={"phase": "decode"})
    with pytest.raises(UsageError, match="quantised weights cannot be trained"):
        import_language_model(language_model(TINY, weights="int4"), "a100:2", training=True)


def test_too_many_nodes():
    many = TINY | {"num_hidden_layers": 2000, "num_local_experts": 100}
    with pytest.raises(UsageError, match="200000 experts are too many nodes"):
        import_language_model(language_model(many), "a100:2", by="expert")


def test_notes():
    config = MODELS["Mixtral-8x7B"][0] | {"max_position_embeddings": 1000}
    instance = import_hf_model(config, "a100:4", {"sequence": 4000, "batch": 2})
    notes = " | ".join(instance.source.notes)
    assert "46,702,792,704 parameters (12,7" in notes
    assert "4000 tokens are more than the 1000" in notes
    assert "2 sequences of 4000 tokens" in notes
    unknown = import_hf_model(MODELS["Mixtral-8x7B"][0], "a100:4", {"sequence": 4000})
    assert not any("was made for" in note for note in unknown.source.notes)
    short = import_hf_model(config, "a100:4", {})
    assert any("1 sequence of 1000 tokens" in note for note in short.source.notes)


@pytest.mark.parametrize("name", MODELS)
def test_well_known_models_are_costed(name, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(MODELS[name][0]))
    instance = import_hf(path, cluster="h100:4", work={"phase": "decode", "batch": 8, "sequence": 512})
    assert (instance.time_ms[instance.weight_bytes > 0] > 0).all()
    again = import_hf(
        path, cluster="h100:4", work={"phase": "decode", "batch": 8, "sequence": 512}, by="module"
    )
    assert again.weight_bytes.sum() == pytest.approx(instance.weight_bytes.sum())
    assert again.time_ms.sum() == pytest.approx(instance.time_ms.sum())


# -- against torch ----------------------------------------------------------------------------------

SIZES = {
    "vocab_size": 1024,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 384,
    "shared_expert_intermediate_size": 320,
    "num_experts": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 512,
    "sliding_window": 512,  # longer than the sequence: eager attention looks at all pairs
    "n_embd": 512,
    "n_layer": 2,
    "n_head": 8,
    "n_positions": 512,
    "head_dim": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    ["llama", "qwen2", "qwen3_moe", "mixtral", "gemma3_text", "phi", "phi3", "gpt2", "gpt_neox", "gpt_oss"],
)
def test_operations_are_those_of_the_torch_import(family):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'torch')")
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed (extra 'torch-test')"
    )
    from placer.imports.torch_model import read_torch

    kind = transformers.models.auto.configuration_auto.CONFIG_MAPPING[family]
    known = kind().to_dict()
    config = kind(**{k: v for k, v in SIZES.items() if k in known}, use_cache=False)
    with torch.device("meta"):
        module = transformers.AutoModelForCausalLM.from_config(config)
        tokens = torch.zeros(2, 256, dtype=torch.long)
    theirs = read_torch((module, (tokens,)))
    ours = operators(
        language_model(config.to_dict(), precision="fp32"), Workload(batch=2, sequence=256), SOURCE
    )
    # What experts of gpt_oss add to their products is an operator of its own there, and so are the sinks.
    exact, training = (1e-3, 0.02) if family == "gpt_oss" else (1e-9, 0.01)
    assert ours.flops(Kind.PRODUCT) == pytest.approx(theirs.flops(Kind.PRODUCT), rel=exact)
    assert ours.flops() == pytest.approx(theirs.flops(), rel=0.01)
    total = {}
    for name, model in (("ours", ours), ("theirs", theirs)):
        instance = to_instance(model, "a100:2", by="module", training=True)
        total[name] = sum(o.flops or 0 for o in instance.origin if o)
    assert total["ours"] == pytest.approx(total["theirs"], rel=training)
