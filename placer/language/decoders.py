"""The form of each architecture of Hugging Face, as the modules of transformers have it."""

from __future__ import annotations

from collections.abc import Callable

from placer.language.forms import Form, Mixture
from placer.language.language_model import Experts
from placer.language.module_names import FALCON, GPT2, NEOX, PHI
from placer.language.values import MOST_EXPERTS, Values

__all__ = ["FORMS"]

QKV = frozenset({"attn_q", "attn_k", "attn_v"})
QKVO = QKV | {"attn_output"}
FFN = frozenset({"ffn_gate", "ffn_up", "ffn_down"})
LATENT = frozenset({"attn_q_a", "attn_kv_a_mqa", "attn_output"})
NONE: frozenset[str] = frozenset()
SANDWICH = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
"""Norms before and after attention and MLP."""


def _bias(values: Values, attention: frozenset[str] = QKVO) -> frozenset[str]:
    """Biases of attention and MLP, as their keys say."""
    out = attention if values.flag("attention_bias") else NONE
    return out | (FFN if values.flag("mlp_bias") else NONE)


def _every(pattern: int) -> Callable[[int], bool]:
    """All layers have a window but each of so many."""
    return lambda layer: bool((layer + 1) % pattern)


def _always(_: int) -> bool:
    return True


def _experts(values: Values, count: str, active: str = "num_experts_per_tok") -> Experts:
    return Experts(values.number(count, most=MOST_EXPERTS), values.number(active, most=MOST_EXPERTS))


# -- Llama and relatives ----------------------------------------------------------------------------


def _llama(values: Values) -> Form:
    return Form(bias=_bias(values), head_size=values.optional("head_dim"))


def _mistral(values: Values) -> Form:
    return Form(head_size=values.optional("head_dim"), slides=_always)


def _mixtral(values: Values) -> Form:
    mixture = Mixture(_experts(values, "num_local_experts"), values.number("intermediate_size"))
    return Form(head_size=values.optional("head_dim"), slides=_always, mixture=mixture)


def _qwen_slides(values: Values) -> Callable[[int], bool]:
    if not values.flag("use_sliding_window"):
        return lambda _: False
    first = values.number("max_window_layers", least=0)
    return lambda layer: layer >= first


def _qwen2(values: Values) -> Form:
    return Form(bias=QKV, head_size=values.optional("head_dim"), slides=_qwen_slides(values))


def _qwen3(values: Values) -> Form:
    return Form(
        bias=_bias(values),
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
            _experts(values, "num_experts"),
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
        bias=_bias(values),
        head_size=values.optional("head_dim"),
        qk_norm="head",
        slides=lambda _: window,
        mixture=Mixture(
            _experts(values, "num_experts"), values.number("moe_intermediate_size"), layers=_sparse(values)
        ),
    )


def _phi3(values: Values) -> Form:
    return Form(
        head_size=values.optional("head_dim"), fused=frozenset({"attn_qkv", "ffn_gate_up"}), slides=_always
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


def _seed_oss(values: Values) -> Form:
    bias = _bias(values, QKV) | (frozenset({"attn_output"}) if values.flag("attention_out_bias") else NONE)
    return Form(bias=bias, head_size=values.optional("head_dim"))


def _olmo(values: Values) -> Form:
    return Form(norms=(), final_norm=False, bias=_bias(values))


def _olmo2(values: Values) -> Form:
    return Form(
        norms=("post_attention_norm", "post_ffw_norm"), bias=_bias(values), qk_norm="width", slides=_every(4)
    )


def _olmoe(values: Values) -> Form:
    mixture = Mixture(_experts(values, "num_experts"), values.number("intermediate_size"))
    return Form(bias=_bias(values), qk_norm="width", mixture=mixture)


def _granitemoe(values: Values) -> Form:
    names = {
        "ffn_gate_inp": "block_sparse_moe.router",
        "ffn_gate_up_exps": "block_sparse_moe.experts.gate_up_proj",
        "ffn_down_exps": "block_sparse_moe.experts.down_proj",
    }
    mixture = Mixture(_experts(values, "num_local_experts"), values.number("intermediate_size"))
    return Form(names=names, bias=_bias(values), mixture=mixture)


def _gpt_oss(values: Values) -> Form:
    mixture = Mixture(_experts(values, "num_local_experts"), values.number("intermediate_size"))
    return Form(
        names={"ffn_gate_inp": "mlp.router"},
        bias=_bias(values) | {"ffn_gate_inp", "ffn_gate_up_exps", "ffn_down_exps"},
        head_size=values.optional("head_dim"),
        slides=_every(2),
        sinks=True,
        mixture=mixture,
    )


# -- latent attention and shared experts ------------------------------------------------------------


def _first_dense(values: Values, *, score_bias: bool) -> Mixture | None:
    """Experts after the first layers, some of them shared."""
    if values.optional("n_routed_experts") is None:
        return None
    first, inner = values.number("first_k_dense_replace", least=0), values.number("moe_intermediate_size")
    step = values.optional("moe_layer_freq") or 1
    return Mixture(
        _experts(values, "n_routed_experts"),
        inner,
        inner * (values.optional("n_shared_experts", least=0) or 0),
        lambda layer: layer >= first and layer % step == 0,
        score_bias=score_bias,
    )


def _deepseek_v2(values: Values) -> Form:
    bias = _bias(values, LATENT)
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
    return Form(bias=_bias(values), head_size=values.optional("head_dim"))


SANDWICHED = {"ffn_norm": "pre_feedforward_layernorm"}


def _gemma2(values: Values) -> Form:
    return Form(
        SANDWICHED, SANDWICH, bias=_bias(values), head_size=values.optional("head_dim"), slides=_every(2)
    )


def _gemma3(values: Values) -> Form:
    pattern = values.optional("sliding_window_pattern") or 6
    return Form(
        SANDWICHED,
        SANDWICH,
        bias=_bias(values),
        head_size=values.optional("head_dim"),
        qk_norm="head",
        slides=_every(pattern),
    )


# -- attention and MLP side by side -----------------------------------------------------------------


def _cohere(values: Values) -> Form:
    return Form(
        norms=("attn_norm",),
        parallel=True,
        bias=_bias(values),
        qk_norm="heads" if values.flag("use_qk_norm") else None,
    )


def _cohere2(values: Values) -> Form:
    pattern = values.optional("sliding_window_pattern") or 4
    return Form(norms=("attn_norm",), parallel=True, bias=_bias(values), slides=_every(pattern))


def _phi(values: Values) -> Form:
    normed = values.flag("qk_layernorm")
    return Form(
        names=PHI,
        norms=("attn_norm",),
        norm_bias=True,
        bias=QKVO | FFN | {"output"} | ({"attn_q_norm", "attn_k_norm"} if normed else NONE),
        qk_norm="head" if normed else None,
        gated=False,
        parallel=True,
    )


def _stablelm(values: Values) -> Form:
    parallel = values.flag("use_parallel_residual")
    names = {"attn_q_norm": "self_attn.q_layernorm", "attn_k_norm": "self_attn.k_layernorm"}
    return Form(
        names=names,
        norms=("attn_norm",) if parallel else ("attn_norm", "ffn_norm"),
        norm_bias=True,
        bias=QKV if values.flag("use_qkv_bias") else NONE,
        qk_norm="heads" if values.flag("qk_layernorm") else None,
        parallel=parallel,
    )


def _gpt_neox(values: Values) -> Form:
    bias = frozenset({"attn_qkv", "attn_output"}) if values.flag("attention_bias") else NONE
    return Form(
        names=NEOX,
        norm_bias=True,
        bias=bias | FFN,
        gated=False,
        fused=frozenset({"attn_qkv"}),
        parallel=values.flag("use_parallel_residual"),
    )


def _falcon(values: Values) -> Form:
    new, parallel = values.flag("new_decoder_architecture"), values.flag("parallel_attn")
    two = (values.optional("num_ln_in_parallel_attn") or (2 if new else 1)) == 2 if parallel else True
    own = {"attn_norm": "ln_attn", "ffn_norm": "ln_mlp"} if parallel and two else {}
    heads = values.number("num_attention_heads")
    kv = 1 if values.flag("multi_query") else heads
    return Form(
        names=FALCON | own,
        norms=("attn_norm", "ffn_norm") if two else ("attn_norm",),
        norm_bias=True,
        bias=frozenset({"attn_qkv", "attn_output"}) | FFN if values.flag("bias") else NONE,
        inner=values.optional("intermediate_size") or 4 * values.number("hidden_size"),
        kv_heads=(values.optional("num_kv_heads") or heads) if new else kv,
        gated=False,
        fused=frozenset({"attn_qkv"}),
        parallel=parallel,
    )


# -- GPT-2 and others with plain MLPs ---------------------------------------------------------------


def _gpt2(values: Values) -> Form:
    multi = values.flag("multi_query")
    return Form(
        names=GPT2,
        norm_bias=True,
        bias=frozenset({"attn_qkv", "attn_output"}) | FFN,
        inner=values.optional("intermediate_size") or 4 * values.number("hidden_size"),
        kv_heads=1 if multi else values.number("num_attention_heads"),
        gated=False,
        fused=frozenset({"attn_qkv"}),
        positions=values.number("max_position_embeddings"),
    )


def _starcoder2(values: Values) -> Form:
    return Form(
        names={"ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"},
        norm_bias=True,
        bias=QKVO | FFN if values.flag("use_bias") else NONE,
        gated=False,
        slides=_always,
    )


def _nemotron(values: Values) -> Form:
    return Form(norm_bias=True, bias=_bias(values), head_size=values.optional("head_dim"), gated=False)


FORMS: dict[str, Callable[[Values], Form]] = {
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
    "phi": _phi,
    "phi3": _phi3,
    "gpt2": _gpt2,
    "gpt_bigcode": _gpt2,
    "gpt_neox": _gpt_neox,
    "deepseek_v2": _deepseek_v2,
    "deepseek_v3": _deepseek_v3,
    "gpt_oss": _gpt_oss,
    "starcoder2": _starcoder2,
    "olmo": _olmo,
    "olmo2": _olmo2,
    "olmo3": _olmo2,
    "olmoe": _olmoe,
    "granite": _llama,
    "granitemoe": _granitemoe,
    "cohere": _cohere,
    "cohere2": _cohere2,
    "stablelm": _stablelm,
    "falcon": _falcon,
    "glm4": _glm4,
    "glm4_moe": _glm4_moe,
    "smollm3": _llama,
    "seed_oss": _seed_oss,
    "nemotron": _nemotron,
    "kimi_k2": _deepseek_v3,
}
"""By ``model_type``."""
