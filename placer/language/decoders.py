"""The form of each architecture of Hugging Face, as the modules of transformers have it."""

from __future__ import annotations

from collections.abc import Callable

from placer.language.form_parts import (
    FFN,
    LATENT,
    NONE,
    QKV,
    QKVO,
    SANDWICH,
    always,
    bias_of,
    every,
    experts_of,
)
from placer.language.forms import Form, Mixture
from placer.language.language_model import Experts
from placer.language.module_names import LLAMA4
from placer.language.plain_decoders import PLAIN_FORMS
from placer.language.values import MOST_EXPERTS, Values

__all__ = ["FORMS"]


# -- Llama and relatives ----------------------------------------------------------------------------


def _llama(values: Values) -> Form:
    return Form(bias=bias_of(values), head_size=values.optional("head_dim"))


def _mistral(values: Values) -> Form:
    return Form(head_size=values.optional("head_dim"), slides=always)


def _mixtral(values: Values) -> Form:
    mixture = Mixture(experts_of(values, "num_local_experts"), values.number("intermediate_size"))
    return Form(head_size=values.optional("head_dim"), slides=always, mixture=mixture)


def _qwen_slides(values: Values) -> Callable[[int], bool]:
    if not values.flag("use_sliding_window"):
        return lambda _: False
    first = values.number("max_window_layers", least=0)
    return lambda layer: layer >= first


def _qwen2(values: Values) -> Form:
    return Form(bias=QKV, head_size=values.optional("head_dim"), slides=_qwen_slides(values))


def _qwen3(values: Values) -> Form:
    return Form(
        bias=bias_of(values),
        head_size=values.optional("head_dim"),
        qk_norm="head",
        slides=_qwen_slides(values),
    )


def _sparse(values: Values) -> Callable[[int], bool]:
    """Layers of Qwen with experts."""
    step = values.number("decoder_sparse_step")
    dense = set(values.items("mlp_only_layers", int) or ())
    return lambda layer: layer not in dense and (layer + 1) % step == 0


def _qwen2_moe(values: Values) -> Form:
    window = values.flag("use_sliding_window")
    last = values.number("max_window_layers", least=0)
    names = {f"ffn_{part}_shexp": f"mlp.shared_expert.{part}_proj" for part in ("gate", "up", "down")}
    return Form(
        names=names,
        bias=QKV if values.flag("qkv_bias") else NONE,
        slides=lambda layer: window and layer < last and bool((layer + 1) % 2),
        mixture=Mixture(
            experts_of(values, "num_experts"),
            values.number("moe_intermediate_size"),
            values.number("shared_expert_intermediate_size"),
            _sparse(values),
            gate=True,
        ),
    )


def _qwen3_moe(values: Values) -> Form:
    # transformers applies the window to all layers of this architecture.
    window = values.flag("use_sliding_window")
    return Form(
        bias=bias_of(values),
        head_size=values.optional("head_dim"),
        qk_norm="head",
        slides=lambda _: window,
        mixture=Mixture(
            experts_of(values, "num_experts"), values.number("moe_intermediate_size"), layers=_sparse(values)
        ),
    )


def _phi3(values: Values) -> Form:
    return Form(
        head_size=values.optional("head_dim"), fused=frozenset({"attn_qkv", "ffn_gate_up"}), slides=always
    )


def _glm4(values: Values) -> Form:
    names = {"post_attention_norm": "post_self_attn_layernorm", "post_ffw_norm": "post_mlp_layernorm"}
    return Form(
        names=names,
        norms=SANDWICH,
        bias=QKV if values.flag("attention_bias") else NONE,
        head_size=values.optional("head_dim"),
        fused=frozenset({"ffn_gate_up"}),
    )


def _glm(values: Values) -> Form:
    return Form(
        bias=QKV if values.flag("attention_bias") else NONE,
        head_size=values.optional("head_dim"),
        fused=frozenset({"ffn_gate_up"}),
    )


def _ernie(values: Values) -> Form:
    return Form(bias=QKVO | FFN if values.flag("use_bias") else NONE, head_size=values.optional("head_dim"))


HUNYUAN = {"attn_q_norm": "self_attn.query_layernorm", "attn_k_norm": "self_attn.key_layernorm"}


def _hunyuan(values: Values) -> Form:
    bias = QKVO if values.flag("attention_bias") else NONE
    return Form(names=HUNYUAN, bias=bias, head_size=values.optional("head_dim"), qk_norm="head")


def _hunyuan_moe(values: Values) -> Form:
    names = HUNYUAN | {"ffn_gate_inp": "mlp.gate.wg"}
    names |= {f"ffn_{part}_shexp": f"mlp.shared_mlp.{part}_proj" for part in ("gate", "up", "down")}
    inner = values.number("intermediate_size")
    experts = Experts(values.number("num_experts", most=MOST_EXPERTS), values.same("moe_topk"))
    return Form(
        names=names,
        bias=QKVO if values.flag("attention_bias") else NONE,
        head_size=values.optional("head_dim"),
        qk_norm="head",
        mixture=Mixture(experts, inner, inner),
    )


def _exaone4(values: Values) -> Form:
    pattern = values.optional("sliding_window_pattern", least=0)
    return Form(
        norms=("post_attention_norm", "post_ffw_norm"),
        head_size=values.optional("head_dim"),
        qk_norm="head",
        slides=every(pattern) if pattern else lambda _: False,
    )


def _seed_oss(values: Values) -> Form:
    bias = bias_of(values, QKV) | (frozenset({"attn_output"}) if values.flag("attention_out_bias") else NONE)
    return Form(bias=bias, head_size=values.optional("head_dim"))


def _olmo(values: Values) -> Form:
    return Form(norms=(), final_norm=False, bias=bias_of(values))


def _olmo2(values: Values) -> Form:
    return Form(
        norms=("post_attention_norm", "post_ffw_norm"), bias=bias_of(values), qk_norm="width", slides=every(4)
    )


def _olmoe(values: Values) -> Form:
    mixture = Mixture(experts_of(values, "num_experts"), values.number("intermediate_size"))
    return Form(bias=bias_of(values), qk_norm="width", mixture=mixture)


def _granitemoe(values: Values) -> Form:
    names = {
        "ffn_gate_inp": "block_sparse_moe.router",
        "ffn_gate_up_exps": "block_sparse_moe.experts.gate_up_proj",
        "ffn_down_exps": "block_sparse_moe.experts.down_proj",
    }
    mixture = Mixture(experts_of(values, "num_local_experts"), values.number("intermediate_size"))
    return Form(names=names, bias=bias_of(values), mixture=mixture)


def _gpt_oss(values: Values) -> Form:
    mixture = Mixture(experts_of(values, "num_local_experts"), values.number("intermediate_size"))
    return Form(
        names={"ffn_gate_inp": "mlp.router"},
        bias=bias_of(values) | {"ffn_gate_inp", "ffn_gate_up_exps", "ffn_down_exps"},
        head_size=values.optional("head_dim"),
        slides=every(2),
        sinks=True,
        mixture=mixture,
    )


def _minimax_m2(values: Values) -> Form:
    return Form(
        names={"exp_probs_b": "mlp.e_score_correction_bias"},
        head_size=values.optional("head_dim"),
        qk_norm="width",
        mixture=Mixture(
            experts_of(values, "num_local_experts"), values.number("intermediate_size"), score_bias=True
        ),
    )


def _llama4(values: Values) -> Form:
    inner, step = values.number("intermediate_size"), values.number("interleave_moe_layer_step")
    listed = values.items("moe_layers", int)
    chosen = None if listed is None else set(listed)
    return Form(
        names=LLAMA4,
        bias=QKVO if values.flag("attention_bias") else NONE,
        inner=values.number("intermediate_size_mlp"),
        head_size=values.optional("head_dim"),
        slides=every(values.optional("no_rope_layer_interval") or 4),
        window="attention_chunk_size",
        mixture=Mixture(
            experts_of(values, "num_local_experts"),
            inner,
            inner,
            lambda layer: (layer + 1) % step == 0 if chosen is None else layer in chosen,
        ),
    )


# -- latent attention and shared experts ------------------------------------------------------------


def _first_dense(values: Values, *, score_bias: bool) -> Mixture | None:
    """Experts after the first layers, some of them shared."""
    if values.optional("n_routed_experts") is None:
        return None
    first, inner = values.number("first_k_dense_replace", least=0), values.number("moe_intermediate_size")
    step = values.optional("moe_layer_freq") or 1
    return Mixture(
        experts_of(values, "n_routed_experts"),
        inner,
        inner * (values.optional("n_shared_experts", least=0) or 0),
        lambda layer: layer >= first and layer % step == 0,
        score_bias=score_bias,
    )


def _deepseek_v2(values: Values) -> Form:
    bias = bias_of(values, LATENT)
    shared = {f"{role}_shexp" for role in FFN} if values.flag("mlp_bias") else NONE
    return Form(latent=True, bias=bias | shared, mixture=_first_dense(values, score_bias=False))


def _deepseek_v3(values: Values) -> Form:
    bias = LATENT if values.flag("attention_bias") else NONE
    return Form(latent=True, bias=bias, mixture=_first_dense(values, score_bias=True))


def _glm4_moe(values: Values) -> Form:
    return Form(
        bias=QKV if values.flag("attention_bias") else NONE,
        head_size=values.optional("head_dim"),
        qk_norm="head" if values.flag("use_qk_norm") else None,
        mixture=_first_dense(values, score_bias=True),
    )


# -- Gemma ------------------------------------------------------------------------------------------


def _gemma(values: Values) -> Form:
    return Form(bias=bias_of(values), head_size=values.optional("head_dim"))


SANDWICHED = {"ffn_norm": "pre_feedforward_layernorm"}


def _gemma2(values: Values) -> Form:
    return Form(
        SANDWICHED, SANDWICH, bias=bias_of(values), head_size=values.optional("head_dim"), slides=every(2)
    )


def _gemma3(values: Values) -> Form:
    pattern = values.optional("sliding_window_pattern") or 6
    return Form(
        SANDWICHED,
        SANDWICH,
        bias=bias_of(values),
        head_size=values.optional("head_dim"),
        qk_norm="head",
        slides=every(pattern),
    )


FORMS: dict[str, Callable[[Values], Form]] = PLAIN_FORMS | {
    "llama": _llama,
    "mistral": _mistral,
    "mixtral": _mixtral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "qwen2_moe": _qwen2_moe,
    "qwen3_moe": _qwen3_moe,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "phi3": _phi3,
    "deepseek_v2": _deepseek_v2,
    "deepseek_v3": _deepseek_v3,
    "gpt_oss": _gpt_oss,
    "olmo": _olmo,
    "olmo2": _olmo2,
    "olmo3": _olmo2,
    "olmoe": _olmoe,
    "granite": _llama,
    "granitemoe": _granitemoe,
    "glm4": _glm4,
    "glm4_moe": _glm4_moe,
    "smollm3": _llama,
    "seed_oss": _seed_oss,
    "kimi_k2": _deepseek_v3,
    "glm": _glm,
    "ernie4_5": _ernie,
    "hunyuan_v1_dense": _hunyuan,
    "hunyuan_v1_moe": _hunyuan_moe,
    "exaone4": _exaone4,
    "minimax_m2": _minimax_m2,
    "llama4_text": _llama4,
}
"""By ``model_type``."""
