"""Dimensions of well-known language models, as their configurations state them, and their published sizes."""

from typing import Any


def _of(kind: str, sizes: str, *more: str, **rest: Any) -> dict[str, Any]:
    """Vocabulary, width, inner width, layers, heads, heads of keys and values."""
    keys = (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
    )
    given = dict(zip(keys, map(int, sizes.split()), strict=False))
    return {"model_type": kind, "torch_dtype": "bfloat16", **given, **rest}


LATENT = {
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
}

MODELS: dict[str, tuple[dict[str, Any], int]] = {
    "Llama-2-7B": (_of("llama", "32000 4096 11008 32 32 32"), 6_738_415_616),
    "Llama-3-8B": (_of("llama", "128256 4096 14336 32 32 8"), 8_030_261_248),
    "Llama-3-70B": (_of("llama", "128256 8192 28672 80 64 8"), 70_553_706_496),
    "Llama-3.2-1B": (
        _of("llama", "128256 2048 8192 16 32 8", head_dim=64, tie_word_embeddings=True),
        1_235_814_400,
    ),
    "Mistral-7B": (_of("mistral", "32000 4096 14336 32 32 8", sliding_window=4096), 7_241_732_096),
    "Mixtral-8x7B": (
        _of("mixtral", "32000 4096 14336 32 32 8", num_local_experts=8, num_experts_per_tok=2),
        46_702_792_704,
    ),
    "Qwen2-7B": (_of("qwen2", "152064 3584 18944 28 28 4"), 7_615_616_512),
    "Qwen3-8B": (_of("qwen3", "151936 4096 12288 36 32 8", head_dim=128), 8_190_735_360),
    "Qwen3-30B-A3B": (
        _of(
            "qwen3_moe",
            "151936 2048 6144 48 32 4",
            head_dim=128,
            num_experts=128,
            num_experts_per_tok=8,
            moe_intermediate_size=768,
        ),
        30_532_122_624,
    ),
    "Gemma-2-9B": (_of("gemma2", "256000 3584 14336 42 16 8", head_dim=256), 9_241_705_984),
    "Phi-2": (_of("phi", "51200 2560 10240 32 32 32"), 2_779_683_840),
    "Phi-3-mini": (_of("phi3", "32064 3072 8192 32 32 32"), 3_821_079_552),
    "GPT-2": (
        {
            "model_type": "gpt2",
            "vocab_size": 50257,
            "n_positions": 1024,
            "n_embd": 768,
            "n_layer": 12,
            "n_head": 12,
        },
        124_439_808,
    ),
    "DeepSeek-V2-Lite": (
        _of(
            "deepseek_v2",
            "102400 2048 10944 27 16 16",
            **LATENT,
            q_lora_rank=None,
            n_routed_experts=64,
            n_shared_experts=2,
            num_experts_per_tok=6,
            moe_intermediate_size=1408,
            first_k_dense_replace=1,
        ),
        15_706_484_224,
    ),
    # 14,848 of these are the 58 biases of 256 experts' scores.
    "DeepSeek-V3": (
        _of(
            "deepseek_v3",
            "129280 7168 18432 61 128 128",
            **LATENT,
            q_lora_rank=1536,
            n_routed_experts=256,
            n_shared_experts=1,
            num_experts_per_tok=8,
            moe_intermediate_size=2048,
            first_k_dense_replace=3,
            num_nextn_predict_layers=1,
            quantization_config={
                "quant_method": "fp8",
                "fmt": "e4m3",
                "activation_scheme": "dynamic",
                "weight_block_size": [128, 128],
            },
        ),
        671_026_419_200,
    ),
    "gpt-oss-20b": (
        _of(
            "gpt_oss",
            "201088 2880 2880 24 64 8",
            head_dim=64,
            num_local_experts=32,
            num_experts_per_tok=4,
            sliding_window=128,
            quantization_config={
                "quant_method": "mxfp4",
                "modules_to_not_convert": [
                    "model.layers.*.self_attn",
                    "model.layers.*.mlp.router",
                    "model.embed_tokens",
                    "lm_head",
                ],
            },
        ),
        20_914_757_184,
    ),
    # Of 27,432,406,640 parameters 423,060,336 see pictures, as its published text_config leaves out the rest.
    "Gemma-3-27B": (
        {
            "model_type": "gemma3",
            "torch_dtype": "bfloat16",
            "text_config": {
                "model_type": "gemma3_text",
                "head_dim": 128,
                "hidden_size": 5376,
                "intermediate_size": 21504,
                "num_attention_heads": 32,
                "num_hidden_layers": 62,
                "num_key_value_heads": 16,
                "sliding_window": 1024,
            },
            "vision_config": {"hidden_size": 1152, "model_type": "siglip_vision_model"},
        },
        27_432_406_640 - 423_060_336,
    ),
}
