"""Every architecture against the modules of transformers: names and shapes of all weights, and defaults."""

import random

import pytest

from placer.language.configuration import language_model
from placer.language.families import FAMILIES

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'torch'; none for this Python)")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed (extra 'torch-test')"
)

ALIASES = {"kimi_k2": "deepseek_v3"}
"""Architectures that transformers knows by another name."""
SIZES = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "moe_intermediate_size": 48,
    "shared_expert_intermediate_size": 40,
    "num_experts": 6,
    "num_local_experts": 6,
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
    "kv_lora_rank": 24,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 12,
    "n_group": 1,
    "topk_group": 1,
    "n_embd": 64,
    "n_layer": 4,
    "n_head": 4,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
    "max_position_embeddings": 128,
    "n_positions": 128,
    "intermediate_size_mlp": 80,
    "attention_chunk_size": 16,
    "moe_topk": 2,
    "d_model": 64,
    "n_heads": 4,
    "n_layers": 4,
    "max_seq_len": 128,
    "word_embed_proj_dim": 64,
}
CHOICES = {
    "attention_bias": (False, True),
    "mlp_bias": (False, True),
    "attention_out_bias": (False, True),
    "qkv_bias": (False, True),
    "use_bias": (False, True),
    "bias": (False, True),
    "use_qkv_bias": (False, True),
    "use_qk_norm": (False, True),
    "qk_layernorm": (False, True),
    "use_parallel_residual": (False, True),
    "parallel_attn": (False, True),
    "new_decoder_architecture": (False, True),
    "multi_query": (False, True),
    "tie_word_embeddings": (False, True),
    "num_key_value_heads": (1, 2, 4),
    "num_kv_heads": (1, 2),
    "head_dim": (8, 16, 24),
    "q_lora_rank": (None, 32),
    "first_k_dense_replace": (0, 1, 3),
    "n_shared_experts": (1, 2),
    "decoder_sparse_step": (1, 2),
    "mlp_only_layers": ([], [1]),
    "n_inner": (None, 80),
    "ffn_hidden_size": (128, 200),
    "sliding_window": (32, 64),
    "use_sliding_window": (False, True),
    "max_window_layers": (0, 2),
    "enable_bias": (False, True),
    "do_layer_norm_before": (False, True),
    "interleave_moe_layer_step": (1, 2),
    "ffn_dim": (80, 128),
}
FIXED = {
    "head_dim": ("cohere", "cohere2", "phi", "stablelm", "deepseek_v2", "deepseek_v3", "kimi_k2", "falcon"),
}
"""Keys of which an architecture makes its own."""


def config_class(family):
    return transformers.models.auto.configuration_auto.CONFIG_MAPPING[ALIASES.get(family, family)]


def drawn(family, seed):
    """A small configuration, its flags at random."""
    rng = random.Random(f"{family} {seed}")
    known = config_class(family)().to_dict()
    given = {key: value for key, value in SIZES.items() if key in known}
    for key, values in CHOICES.items():
        if key in known and family not in FIXED.get(key, ()):
            given[key] = rng.choice(values)
    return config_class(family)(**given)


@pytest.mark.parametrize("family", FAMILIES)
def test_names_and_shapes(family):
    for seed in range(4):
        config = drawn(family, seed)
        with torch.device("meta"):
            module = transformers.AutoModelForCausalLM.from_config(config)
        theirs = module.state_dict(keep_vars=True)
        ours = language_model(config.to_dict())
        assert ours.parameters == sum(t.numel() for t in {id(t): t for t in theirs.values()}.values()), config
        for p in (p for b in ours.blocks for p in b.parameters):
            if len(p.shape) == 2 and "norm" in p.role:
                continue  # one module for each head, with one set of weights here
            # Some matrices are stored the other way round.
            assert sorted(theirs[p.name].shape) == sorted(p.shape), p.name
        slides = [getattr(b.attention, "window", None) for b in ours.blocks if b.attention]
        kinds = getattr(config, "layer_types", None)
        if kinds is not None:
            assert [w is not None for w in slides] == [kind != "full_attention" for kind in kinds]


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults(family):
    """What is assumed where a key is absent is what transformers assumes."""
    known = config_class(family)()
    for key, value in FAMILIES[family].defaults.items():
        if key == "sliding_window" and getattr(known, "use_sliding_window", None) is False:
            continue  # transformers drops it then
        theirs = getattr(known, key)
        if key == "num_key_value_heads" and value is None:
            assert theirs in (None, known.num_attention_heads)
        else:
            assert theirs == value, key


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_make_the_same_model(family):
    """A configuration that says sizes alone, as those within a model of several parts do."""
    said = {"model_type": family, "dtype": "float32"}
    with torch.device("meta"):
        module = transformers.AutoModelForCausalLM.from_config(config_class(family)(**complete(family)))
    theirs = {id(t): t.numel() for t in module.state_dict(keep_vars=True).values()}
    inside = {"model_type": "any", "text_config": said | complete(family)}
    assert language_model(inside).parameters == sum(theirs.values())


def complete(family):
    """Few layers, and what has no default."""
    layers = "n_layer" if "gpt2" in family or "bigcode" in family else "num_hidden_layers"
    own = {
        "deepseek_v2": {"num_experts_per_tok": 2},
        "glm4_moe": {"head_dim": 128},
        "hunyuan_v1_dense": {"head_dim": 128},
        "hunyuan_v1_moe": {"head_dim": 128},
        "nemotron": {"num_key_value_heads": 8},
    }
    return {layers: 2} | own.get(family, {})
