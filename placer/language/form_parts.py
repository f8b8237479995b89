"""What forms have in common: which matrices have a bias, which layers a window, how many experts."""

from __future__ import annotations

from collections.abc import Callable

from placer.language.language_model import Experts
from placer.language.values import MOST_EXPERTS, Values

__all__ = ["FFN", "LATENT", "NONE", "QKV", "QKVO", "SANDWICH", "always", "bias_of", "every", "experts_of"]

QKV = frozenset({"attn_q", "attn_k", "attn_v"})
QKVO = QKV | {"attn_output"}
FFN = frozenset({"ffn_gate", "ffn_up", "ffn_down"})
LATENT = frozenset({"attn_q_a", "attn_kv_a_mqa", "attn_output"})
NONE: frozenset[str] = frozenset()
SANDWICH = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
"""Norms before and after attention and MLP."""


def bias_of(values: Values, attention: frozenset[str] = QKVO) -> frozenset[str]:
    """Biases of attention and MLP, as their keys say."""
    out = attention if values.flag("attention_bias") else NONE
    return out | (FFN if values.flag("mlp_bias") else NONE)


def every(pattern: int) -> Callable[[int], bool]:
    """All layers have a window but each of so many."""
    return lambda layer: bool((layer + 1) % pattern)


def always(_: int) -> bool:
    """Every layer has a window."""
    return True


def experts_of(values: Values, count: str, active: str = "num_experts_per_tok") -> Experts:
    """Read how many experts there are, and how many a token passes."""
    return Experts(values.number(count, most=MOST_EXPERTS), values.number(active, most=MOST_EXPERTS))
