"""Architectures of Hugging Face models by their ``model_type``, with the defaults of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FAMILIES", "Family"]

SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
INNER = ("intermediate_size",)


@dataclass(frozen=True)
class Family:
    """What an architecture expects of its configuration.

    Parameters
    ----------
    defaults
        What applies where a key is absent.
    aliases
        Names of keys that differ.
    needs
        Sizes without which a configuration says nothing.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = SIZES + INNER


GPT2_KEYS = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
    "intermediate_size": "n_inner",
}


def _sizes(
    vocabulary: int, width: int, inner: int, layers: int, heads: int, kv: int | None
) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
    }


QWEN = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}
DEEPSEEK = {
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "n_shared_experts": 2,
    "first_k_dense_replace": 0,
}
COUNTS = ("num_experts_per_tok", "moe_intermediate_size")
LATENT = ("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")

FAMILIES: dict[str, Family] = {
    "llama": Family(_sizes(32000, 4096, 11008, 32, 32, None)),
    "mistral": Family({**_sizes(32000, 4096, 14336, 32, 32, 8), "sliding_window": 4096}),
    "mixtral": Family(
        {**_sizes(32000, 4096, 14336, 32, 32, 8), "num_local_experts": 8, "num_experts_per_tok": 2},
        {"num_local_experts": "num_experts"},
    ),
    "qwen2": Family(_sizes(151936, 4096, 22016, 32, 32, 32) | QWEN),
    "qwen3": Family(_sizes(151936, 4096, 22016, 32, 32, 32) | QWEN | {"head_dim": 128}),
    "qwen2_moe": Family(
        _sizes(151936, 2048, 5632, 24, 16, 16)
        | QWEN
        | {
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1408,
            "shared_expert_intermediate_size": 5632,
            "decoder_sparse_step": 1,
            "qkv_bias": True,
        },
        needs=(*SIZES, "num_experts", *COUNTS),
    ),
    "qwen3_moe": Family(
        _sizes(151936, 2048, 6144, 24, 32, 4)
        | {
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 768,
            "decoder_sparse_step": 1,
        },
        {"num_experts": "num_local_experts"},
        needs=(*SIZES, "num_experts", *COUNTS),
    ),
    "gemma": Family(
        {**_sizes(256000, 3072, 24576, 28, 16, 16), "head_dim": 256, "tie_word_embeddings": True},
    ),
    "gemma2": Family(
        {
            **_sizes(256000, 2304, 9216, 26, 8, 4),
            "head_dim": 256,
            "sliding_window": 4096,
            "tie_word_embeddings": True,
        },
    ),
    "gemma3_text": Family(
        {
            **_sizes(262208, 2304, 9216, 26, 8, 4),
            "head_dim": 256,
            "sliding_window": 4096,
            "tie_word_embeddings": True,
        },
    ),
    "phi": Family(_sizes(51200, 2048, 8192, 24, 32, None)),
    "phi3": Family(_sizes(32064, 3072, 8192, 32, 32, None)),
    "gpt2": Family(
        {
            "vocab_size": 50257,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 1024,
            "tie_word_embeddings": True,
        },
        GPT2_KEYS,
        (*SIZES, "max_position_embeddings"),
    ),
    "gpt_bigcode": Family(
        {
            "vocab_size": 50257,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 1024,
            "multi_query": True,
            "tie_word_embeddings": True,
        },
        GPT2_KEYS,
        (*SIZES, "max_position_embeddings"),
    ),
    "gpt_neox": Family(
        {
            "vocab_size": 50432,
            "hidden_size": 6144,
            "num_hidden_layers": 44,
            "num_attention_heads": 64,
            "intermediate_size": 24576,
            "attention_bias": True,
            "use_parallel_residual": True,
        },
    ),
    "deepseek_v2": Family(
        _sizes(102400, 4096, 11008, 32, 32, 32)
        | DEEPSEEK
        | {"n_routed_experts": 64, "moe_intermediate_size": 1407},
        needs=(*SIZES, *INNER, *LATENT),
    ),
    "deepseek_v3": Family(
        _sizes(129280, 7168, 18432, 61, 128, 128)
        | DEEPSEEK
        | {
            "n_routed_experts": 256,
            "n_shared_experts": 1,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 2048,
            "first_k_dense_replace": 3,
        },
        needs=(*SIZES, *INNER, *LATENT),
    ),
    "gpt_oss": Family(
        {
            **_sizes(201088, 2880, 2880, 36, 64, 8),
            "head_dim": 64,
            "sliding_window": 128,
            "num_local_experts": 128,
            "num_experts_per_tok": 4,
            "attention_bias": True,
        },
        {"num_local_experts": "num_experts"},
    ),
    "starcoder2": Family(
        {**_sizes(49152, 3072, 12288, 30, 24, 2), "use_bias": True, "tie_word_embeddings": True},
    ),
    "olmo": Family(_sizes(50304, 4096, 11008, 32, 32, None)),
    "olmo2": Family(_sizes(50304, 4096, 11008, 32, 32, None)),
    "olmo3": Family({**_sizes(50304, 4096, 11008, 32, 32, None), "sliding_window": 4096}),
    "olmoe": Family(
        {**_sizes(50304, 2048, 2048, 16, 16, None), "num_experts": 64, "num_experts_per_tok": 8},
    ),
    "granite": Family(_sizes(32000, 4096, 11008, 32, 32, None)),
    "granitemoe": Family(
        {**_sizes(32000, 4096, 11008, 32, 32, None), "num_local_experts": 8, "num_experts_per_tok": 2},
    ),
    "cohere": Family({**_sizes(256000, 8192, 22528, 40, 64, None), "tie_word_embeddings": True}),
    "cohere2": Family(
        {
            **_sizes(256000, 8192, 22528, 40, 64, None),
            "sliding_window": 4096,
            "tie_word_embeddings": True,
        },
    ),
    "stablelm": Family(_sizes(50304, 2560, 6912, 32, 32, 32)),
    "falcon": Family(
        {
            "vocab_size": 65024,
            "hidden_size": 4544,
            "num_hidden_layers": 32,
            "num_attention_heads": 71,
            "multi_query": True,
            "parallel_attn": True,
            "tie_word_embeddings": True,
        },
        {"intermediate_size": "ffn_hidden_size"},
        SIZES,
    ),
    "glm4": Family({**_sizes(151552, 4096, 13696, 40, 32, 2), "head_dim": 128, "attention_bias": True}),
    "glm4_moe": Family(
        {
            **_sizes(151552, 4096, 10944, 46, 96, 8),
            "n_routed_experts": 128,
            "n_shared_experts": 1,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 1408,
            "first_k_dense_replace": 1,
        },
        needs=(*SIZES, *INNER, "n_routed_experts", *COUNTS),
    ),
    "smollm3": Family({**_sizes(128256, 2048, 11008, 36, 16, 4), "tie_word_embeddings": True}),
    "seed_oss": Family(
        {**_sizes(155136, 4096, 27648, 64, 80, 8), "head_dim": 128, "attention_bias": True},
    ),
    "nemotron": Family(_sizes(256000, 6144, 24576, 32, 48, None)),
    "glm": Family({**_sizes(151552, 4096, 13696, 40, 32, 2), "head_dim": 128, "attention_bias": True}),
    "ernie4_5": Family(
        {**_sizes(103424, 1024, 3072, 18, 16, 2), "head_dim": 128, "tie_word_embeddings": True},
    ),
    "hunyuan_v1_dense": Family(_sizes(290943, 4096, 11008, 32, 32, None)),
    "hunyuan_v1_moe": Family(
        {**_sizes(290943, 4096, 11008, 32, 32, None), "num_experts": 1, "moe_topk": 1},
        needs=(*SIZES, *INNER, "num_experts"),
    ),
    "exaone4": Family(
        {**_sizes(102400, 4096, 16384, 32, 32, 32), "sliding_window": 4096, "sliding_window_pattern": 4},
    ),
    "minimax_m2": Family(
        {
            **_sizes(200064, 3072, 1536, 62, 48, 8),
            "head_dim": 128,
            "num_local_experts": 256,
            "num_experts_per_tok": 8,
        },
        {"num_local_experts": "num_experts"},
    ),
    "llama4_text": Family(
        {
            **_sizes(202048, 5120, 8192, 48, 40, 8),
            "head_dim": 128,
            "intermediate_size_mlp": 16384,
            "num_local_experts": 16,
            "num_experts_per_tok": 1,
            "interleave_moe_layer_step": 1,
            "attention_chunk_size": 8192,
        },
        {"num_local_experts": "num_experts"},
    ),
    "arcee": Family({**_sizes(32000, 2560, 18432, 32, 32, None)}),
    "opt": Family(
        {
            "vocab_size": 50272,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "ffn_dim": 3072,
            "max_position_embeddings": 2048,
            "do_layer_norm_before": True,
            "enable_bias": True,
            "layer_norm_elementwise_affine": True,
            "tie_word_embeddings": True,
        },
        needs=(*SIZES, "ffn_dim", "max_position_embeddings"),
    ),
    "bloom": Family(
        {
            "vocab_size": 250880,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 8,
            "tie_word_embeddings": True,
        },
        {"hidden_size": "n_embed", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
        SIZES,
    ),
    "gptj": Family(
        {
            "vocab_size": 50400,
            "hidden_size": 4096,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "max_position_embeddings": 2048,
        },
        GPT2_KEYS,
        SIZES,
    ),
    "mpt": Family(
        {
            "vocab_size": 50368,
            "hidden_size": 2048,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "tie_word_embeddings": True,
        },
        {
            "hidden_size": "d_model",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "max_position_embeddings": "max_seq_len",
        },
        SIZES,
    ),
}
FAMILIES["kimi_k2"] = FAMILIES["deepseek_v3"]
"""By ``model_type``."""
