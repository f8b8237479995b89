"""Forms of decoders whose attention and MLP work side by side, or whose MLP has no gate."""

from __future__ import annotations

from collections.abc import Callable

from placer.errors import InputError
from placer.language.form_parts import FFN, NONE, QKV, QKVO, always, bias_of, every
from placer.language.forms import Form
from placer.language.module_names import BLOOM, FALCON, GPT2, GPTJ, MPT, NEOX, OPT, PHI
from placer.language.values import Values

__all__ = ["PLAIN_FORMS"]

# -- attention and MLP side by side -----------------------------------------------------------------


def _cohere(values: Values) -> Form:
    return Form(
        norms=("attn_norm",),
        parallel=True,
        bias=bias_of(values),
        qk_norm="heads" if values.flag("use_qk_norm") else None,
    )


def _cohere2(values: Values) -> Form:
    pattern = values.optional("sliding_window_pattern") or 4
    return Form(norms=("attn_norm",), parallel=True, bias=bias_of(values), slides=every(pattern))


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
        slides=always,
    )


def _nemotron(values: Values) -> Form:
    return Form(norm_bias=True, bias=bias_of(values), head_size=values.optional("head_dim"), gated=False)


def _arcee(values: Values) -> Form:
    return Form(bias=bias_of(values), head_size=values.optional("head_dim"), gated=False)


def _opt(values: Values) -> Form:
    width = values.number("hidden_size")
    if values.optional("word_embed_proj_dim") not in (None, width):
        raise InputError("embeddings narrower than the layers are not known", place="word_embed_proj_dim")
    if not values.flag("layer_norm_elementwise_affine"):
        raise InputError("norms without weights are not known", place="layer_norm_elementwise_affine")
    return Form(
        names=OPT,
        norm_bias=True,
        bias=QKVO | FFN if values.flag("enable_bias") else NONE,
        inner=values.number("ffn_dim"),
        gated=False,
        positions=values.number("max_position_embeddings") + 2,  # the first two are for padding
        final_norm=values.flag("do_layer_norm_before") and not values.flag("_remove_final_layer_norm"),
    )


def _bloom(values: Values) -> Form:
    return Form(
        names=BLOOM,
        norm_bias=True,
        bias=frozenset({"attn_qkv", "attn_output"}) | FFN,
        inner=4 * values.number("hidden_size"),
        gated=False,
        fused=frozenset({"attn_qkv"}),
        embedding_norm=True,
    )


def _gptj(values: Values) -> Form:
    return Form(
        names=GPTJ,
        norms=("attn_norm",),
        norm_bias=True,
        bias=FFN | {"output"},
        inner=values.optional("intermediate_size") or 4 * values.number("hidden_size"),
        gated=False,
        parallel=True,
    )


def _mpt(values: Values) -> Form:
    return Form(names=MPT, inner=4 * values.number("hidden_size"), gated=False, fused=frozenset({"attn_qkv"}))


PLAIN_FORMS: dict[str, Callable[[Values], Form]] = {
    "phi": _phi,
    "gpt2": _gpt2,
    "gpt_bigcode": _gpt2,
    "gpt_neox": _gpt_neox,
    "starcoder2": _starcoder2,
    "cohere": _cohere,
    "cohere2": _cohere2,
    "stablelm": _stablelm,
    "falcon": _falcon,
    "nemotron": _nemotron,
    "arcee": _arcee,
    "opt": _opt,
    "bloom": _bloom,
    "gptj": _gptj,
    "mpt": _mpt,
}
"""By ``model_type``."""
