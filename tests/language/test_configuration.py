"""Parameters of well-known models, caches, formats of weights, and what is refused."""

import copy
import json
import random
from contextlib import suppress

import pytest

from placer.errors import InputError, UsageError
from placer.language.configuration import language_model, read_configuration
from placer.language.decoders import FORMS
from placer.language.families import FAMILIES
from placer.language.language_model import BlockKind, Experts
from tests.support.language_models import MODELS


def small(**changes):
    return {
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    } | changes


def mixture(**changes):
    return small(model_type="mixtral", num_local_experts=6, num_experts_per_tok=2) | changes


@pytest.mark.parametrize("name", MODELS)
def test_published_sizes(name):
    config, published = MODELS[name]
    assert language_model(config).parameters == published


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("Llama-3-8B", 32 * 2 * 8 * 128),
        ("Llama-3-70B", 80 * 2 * 8 * 128),
        ("Qwen3-30B-A3B", 48 * 2 * 4 * 128),
        ("DeepSeek-V3", 61 * (512 + 64)),
        ("GPT-2", 12 * 2 * 768),
    ],
)
def test_cache_per_token(name, numbers):
    model = language_model(MODELS[name][0])
    assert model.cached_numbers(1) == numbers
    assert model.cached_numbers(3000) == 3000 * numbers


def test_windows_bound_the_cache():
    """Gemma 3: every sixth of 62 layers sees all; Mistral: none does; gpt-oss: every second."""
    gemma = language_model(MODELS["Gemma-3-27B"][0])
    assert gemma.cached_numbers(8192) == 2 * 16 * 128 * (52 * 1024 + 10 * 8192)
    mistral = language_model(MODELS["Mistral-7B"][0])
    assert mistral.cached_numbers(9000) == 32 * 2 * 8 * 128 * 4096
    oss = language_model(MODELS["gpt-oss-20b"][0])
    assert oss.cached_numbers(1000) == 2 * 8 * 64 * (12 * 128 + 12 * 1000)
    listed = small(layer_types=["full_attention", "sliding_attention"], sliding_window=10)
    windows = [b.attention.window for b in language_model(listed).blocks if b.attention]
    assert windows == [None, 10]
    qwen = small(model_type="qwen2", sliding_window=10, max_window_layers=1)
    for used, expected in ((False, [None, None]), (True, [None, 10])):
        made = language_model(qwen | {"use_sliding_window": used})
        assert [b.attention.window for b in made.blocks if b.attention] == expected


def test_active_parameters():
    """Published: 3.3 and 37 billion with the whole embedding, 12.9 billion."""
    for name, active in (("Qwen3-30B-A3B", 3.3e9), ("DeepSeek-V3", 37e9), ("Mixtral-8x7B", 12.9e9)):
        model = language_model(MODELS[name][0])
        table = model.vocabulary * model.width
        assert model.active_parameters + table == pytest.approx(active, rel=0.02)


def test_blocks_of_a_mixture():
    kinds = [str(b.kind) for b in language_model(MODELS["DeepSeek-V2-Lite"][0]).blocks]
    assert kinds[:3] == ["embedding", "attention", "mlp"]
    assert kinds[3:] == [*(["attention", "router", "shared experts", "experts"] * 26), "head"]
    model = language_model(mixture())
    assert [b.module for b in model.blocks[:4]] == [
        "model.embed_tokens",
        "model.layers.0.self_attn",
        "model.layers.0.mlp.gate",
        "model.layers.0.mlp.experts",
    ]


def test_share_of_experts_that_are_read():
    """By enumeration of what two tokens choose: 1 - P(an expert is chosen by none)."""
    experts = Experts(4, 1)
    pairs = [{a, b} for a in range(4) for b in range(4)]
    assert experts.read_share(2) == pytest.approx(sum(map(len, pairs)) / len(pairs) / 4)
    assert experts.read_share(1) == pytest.approx(1 / 4)


# -- formats of weights -----------------------------------------------------------------------------


def matrices(model):
    """Bytes of what is inside layers, without norms."""
    return sum(p.size_bytes for b in model.blocks if b.layer is not None for p in b.parameters if p.is_matrix)


INSIDE = 2 * (64 * 64 + 2 * 32 * 64 + 64 * 64 + 3 * 96 * 64)
"""Weights of the matrices in the layers of the small model."""
ROWS = 2 * (64 + 2 * 32 + 64 + 2 * 96 + 64)
COLUMNS = 2 * (4 * 64 + 2 * 64 + 96)


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, INSIDE + 2 * 7 * 4),
        ({"quant_method": "fp8", "weight_block_size": [32, 32]}, INSIDE + INSIDE / 1024 * 4),
        ({"quant_method": "fbgemm_fp8"}, INSIDE + ROWS * 4),
        ({"quant_method": "awq", "bits": 4, "group_size": 32}, INSIDE / 2 + INSIDE / 32 * 2.5),
        (
            {"quant_method": "gptq", "bits": 4, "group_size": 32},
            INSIDE / 2 + INSIDE / 32 * 2.5 + 4 * COLUMNS,
        ),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, INSIDE + ROWS * 3 + 4 * COLUMNS),
        ({"quant_method": "mxfp4"}, INSIDE / 2 + INSIDE / 32),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
            INSIDE / 2 + 2 * 4 * (64 + 2 * 32 + 64 + 2 * 96 + 2 * 64),
        ),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, INSIDE + ROWS * 4),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {
                        "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32}
                    }
                },
                "ignore": ["lm_head"],
            },
            INSIDE / 2 + INSIDE / 32 * 2,
        ),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, INSIDE + 2 * 7 * 4),
    ],
)
def test_quantised_weights(said, size):
    model = language_model(small(quantization_config=said))
    assert matrices(model) == pytest.approx(size)
    plain = language_model(small())
    rest = model.weight_bytes - matrices(model)
    assert rest == plain.weight_bytes - matrices(plain) == 2 * (plain.parameters - INSIDE)


def test_modules_that_are_not_converted():
    for kept in (
        "model.layers.*.self_attn",
        "self_attn",
        "language_model.model.layers.0.self_attn",
        "re:.*attn",
    ):
        said = {"quant_method": "fp8", "weight_block_size": [128, 128], "modules_to_not_convert": [kept]}
        model = language_model(small(quantization_config=said))
        sizes = [b.weight_bytes / b.elements for b in model.blocks if b.kind is BlockKind.ATTENTION]
        assert sizes[0] == 2
        assert (sizes[1] == 2) == ("layers.0" not in kept)


def test_format_asked_for():
    model = language_model(
        small(quantization_config={"quant_method": "aqlm"}), weights="int8", precision="fp16"
    )
    assert matrices(model) == INSIDE + 4 * ROWS
    assert model.precision == "fp16"
    with pytest.raises(UsageError, match="no weight format 'int9'"):
        language_model(small(), weights="int9")


def test_experts_per_token_given_by_layer():
    one = small(model_type="hunyuan_v1_moe", num_experts=4, head_dim=16)
    assert language_model(one | {"moe_topk": [2, 2]}).blocks == language_model(one | {"moe_topk": 2}).blocks


def test_size_of_published_checkpoints():
    """gpt-oss-20b takes 13.76 GB on disk; DeepSeek-V3 in FP8 about a byte per weight."""
    assert language_model(MODELS["gpt-oss-20b"][0]).weight_bytes == pytest.approx(13.76e9, rel=1e-3)
    deepseek = language_model(MODELS["DeepSeek-V3"][0])
    assert deepseek.weight_bytes == pytest.approx(671e9 + 2 * 129280 * 7168, rel=2e-3)


# -- files and defects ------------------------------------------------------------------------------


def test_folder_and_file(tmp_path):
    folder = tmp_path / "Small-Llama"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(small()))
    assert read_configuration(folder).name == read_configuration(folder / "config.json").name == "Small-Llama"
    other = tmp_path / "mine.json"
    other.write_text(json.dumps(small()))
    assert read_configuration(other).name == "mine"
    with pytest.raises(InputError, match=r"config\.json: No such file"):
        read_configuration(tmp_path)


def test_parts_that_are_left_out_are_said():
    notes = language_model(MODELS["Gemma-3-27B"][0]).notes
    assert any("left out: vision" in note for note in notes)
    assert any("MTP" in note for note in language_model(MODELS["DeepSeek-V3"][0]).notes)
    assert any("no dtype" in note for note in language_model(MODELS["GPT-2"][0]).notes)


@pytest.mark.parametrize(
    ("config", "rule"),
    [
        ([], "the top level must be an object"),
        ({}, "no model_type"),
        (
            small(model_type="opt", word_embed_proj_dim=32, ffn_dim=96, max_position_embeddings=64),
            "embeddings narrower",
        ),
        (
            small(model_type="hunyuan_v1_moe", num_experts=4, moe_topk=[1, 2]),
            "moe_topk: numbers that differ between layers",
        ),
        ({"model_type": ["llama"]}, "no model_type"),
        ({"model_type": "lama"}, r"'lama' is not known \(did you mean 'llama'\?\)"),
        ({"model_type": "bert", "hidden_size": 3}, "the architecture 'bert' is not known"),
        (
            {"model_type": "llama", "hidden_size": 64},
            "^missing: vocab_size, num_hidden_layers, num_attention_heads, intermediate_size$",
        ),
        ({"model_type": "gpt2"}, "^missing: vocab_size, n_embd, n_layer, n_head, n_positions$"),
        (small(hidden_size=0), "hidden_size: expected a whole number from 1"),
        (small(hidden_size=64.5), "hidden_size: expected a whole number"),
        (small(hidden_size="64"), "hidden_size: expected a whole number"),
        (small(hidden_size=True), "hidden_size: expected a whole number"),
        (small(num_hidden_layers=10**9), "num_hidden_layers: expected a whole number from 1 to 10000"),
        (small(num_attention_heads=5), r"hidden_size \(64\) is no multiple of num_attention_heads \(5\)"),
        (small(num_key_value_heads=3), "4 heads are no multiple of 3"),
        (small(attention_bias=1), "attention_bias: expected true or false"),
        (small(layer_types=["full_attention"]), "layer_types: 1 names for 2 layers"),
        (small(layer_types=["mamba", "mamba"]), "layers of type 'mamba' are not known"),
        (small(layer_types=5), "layer_types: expected a list of names"),
        (small(dtype="complex64"), "dtype: the dtype 'complex64' is not known"),
        (mixture(num_experts_per_tok=7), "a token cannot pass 7 of 6 experts"),
        (mixture(num_local_experts=10**7), "num_local_experts: expected a whole number"),
        (small(quantization_config=3), "quantization_config: expected an object"),
        (small(quantization_config={"quant_method": "aqlm"}), "the quantisation 'aqlm' is not known"),
        (small(quantization_config={"quant_method": "gptq"}), "this is no gptq quantisation"),
        (small(quantization_config={"quant_method": "gptq", "bits": 0}), "this is no gptq quantisation"),
        (
            small(quantization_config={"quant_method": "fp8", "ignored_layers": ["re:(a+)+$"]}),
            "too intricate an expression",
        ),
        (
            small(quantization_config={"quant_method": "fp8", "ignored_layers": ["re:("]}),
            "no regular expression",
        ),
        ({"model_type": "gemma3", "text_config": 3}, "text_config: expected an object"),
    ],
)
def test_bad_configurations(config, rule):
    with pytest.raises(InputError, match=rule):
        language_model(config)


VALUES = (None, 0, 1, 3, -1, 64, 2**40, 10**30, 1.5, 1e308, "x", True, False, [], [1], {}, "re:.*", ["x"] * 9)


def test_random_configurations():
    """Whatever values stand there: a model or one line."""
    keys = sorted({key for config, _ in MODELS.values() for key in config} | {"layer_types", "head_dim"})
    made = 0
    for seed in range(1500):
        rng = random.Random(seed)
        config = copy.deepcopy(MODELS[rng.choice(sorted(MODELS))][0]) | {"num_hidden_layers": 2, "n_layer": 2}
        parts = [config, *(part for part in config.values() if isinstance(part, dict))]
        for _ in range(rng.randint(1, 2)):
            part = rng.choice(parts)
            part[rng.choice([*part, *keys])] = rng.choice(VALUES)
        with suppress(InputError):
            made += language_model(config).parameters > 0
    assert made > 300


def test_every_architecture_has_a_form():
    assert FORMS.keys() == FAMILIES.keys()
