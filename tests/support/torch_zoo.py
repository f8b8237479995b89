"""Small models of transformers, one of each family, with their example inputs."""

from __future__ import annotations

from typing import Any

SMALL = {
    "vocab_size": 1000,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
}
LATENT = {
    "num_key_value_heads": 8,
    "moe_intermediate_size": 64,
    "n_routed_experts": 16,
    "n_shared_experts": 1,
    "num_experts_per_tok": 4,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "first_k_dense_replace": 1,
}
DECODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "mixtral": ("Mixtral", {"num_local_experts": 8, "num_experts_per_tok": 2}),
    "gemma2": ("Gemma2", {"head_dim": 16}),
    "gemma3": ("Gemma3", {"head_dim": 16}),
    "deepseek_v2": ("DeepseekV2", LATENT),
    "deepseek_v3": ("DeepseekV3", LATENT | {"n_group": 4, "topk_group": 2}),
}
OTHERS = ("t5", "whisper", "vit", "clip", "mamba")


def decoder(family: str, tokens: int = 64, batch: int = 1, **changes: Any) -> Any:
    """Make a decoder and its tokens."""
    import torch
    import transformers

    name, own = DECODERS[family]
    config = getattr(transformers, f"{name}TextConfig" if family == "gemma3" else f"{name}Config")
    made = config(**(SMALL | own | changes))
    words = torch.randint(0, made.vocab_size, (batch, tokens))
    return getattr(transformers, f"{name}ForCausalLM")(made), (words,)


def other(family: str) -> Any:
    """Make a model of another kind and its inputs, by keyword."""
    import torch
    import transformers as t

    words = torch.randint(0, 1000, (1, 32))
    width = {"d_model": 64, "vocab_size": 1000}
    tower = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    if family == "t5":
        config = t.T5Config(**width, d_ff=128, d_kv=16, num_layers=2, num_heads=4, decoder_start_token_id=0)
        return t.T5ForConditionalGeneration(config), {"input_ids": words, "decoder_input_ids": words[:, :16]}
    if family == "whisper":
        blocks = dict.fromkeys(("encoder_layers", "decoder_layers"), 2)
        heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4)
        inner = dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 128)
        marks = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
        config = t.WhisperConfig(**width, **blocks, **heads, **inner, **marks, max_source_positions=50)
        sound = {"input_features": torch.randn(1, 80, 100), "decoder_input_ids": words}
        return t.WhisperForConditionalGeneration(config), sound
    if family == "vit":
        image = torch.randn(1, 3, 64, 64)
        return t.ViTForImageClassification(t.ViTConfig(**tower, image_size=64)), {"pixel_values": image}
    if family == "clip":
        sides = {
            "text_config": tower | {"vocab_size": 1000, "bos_token_id": 1, "eos_token_id": 2},
            "vision_config": tower | {"patch_size": 16, "image_size": 64},
        }
        both = {"input_ids": words, "pixel_values": torch.randn(1, 3, 64, 64)}
        return t.CLIPModel(t.CLIPConfig(**sides)), both
    config = t.MambaConfig(vocab_size=1000, hidden_size=64, num_hidden_layers=2, state_size=16)
    return t.MambaForCausalLM(config), {"input_ids": words}
