"""How attention runs: as one kernel, or as products and a softmax."""

from __future__ import annotations

from enum import StrEnum

from placer.choices import none_of
from placer.errors import UsageError

__all__ = ["Attention", "check_attention"]


class Attention(StrEnum):
    """How attention runs."""

    FUSED = "fused"
    """As one kernel, which keeps no scores and reads no mask and no repeated keys and values."""
    EAGER = "eager"
    """As products and a softmax, with scores in memory."""


def check_attention(attention: str | None) -> None:
    """Refuse ways that are not known.

    Raises
    ------
    UsageError
        Naming those that are.
    """
    if attention is not None and attention not in list(Attention):
        raise UsageError(none_of("attention", attention, list(Attention)))
