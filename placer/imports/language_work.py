"""What a language model does at once: phase, batch, length of the sequences, caches."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from placer.choices import none_of
from placer.errors import UsageError
from placer.imports.attention import Attention, check_attention
from placer.imports.precision import PRECISIONS
from placer.language.language_model import LanguageModel
from placer.units import size

__all__ = ["CACHE_BYTES", "SEQUENCE", "Phase", "Workload", "said"]

CACHE_BYTES = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5}
"""Bytes per number of a cache of keys and values."""
SEQUENCE = 2048
"""Tokens of a sequence unless told otherwise, or as many as the model was made for."""


class Phase(StrEnum):
    """What is done with the sequences."""

    PREFILL = "prefill"
    """All their tokens at once; training too."""
    DECODE = "decode"
    """One token more of each."""


@dataclass(frozen=True)
class Workload:
    """What a language model is asked to do at once.

    Parameters
    ----------
    phase
        Whether sequences are read, or continued.
    batch
        Sequences that pass together.
    sequence
        Tokens of each, the new one included.
    concurrency
        Sequences whose keys and values are cached; those of the batch by default.
    cache
        Number format of the cache; that of the activations by default.
    logits
        Whether all tokens have logits, or the last alone.
    training
        Whether a backward pass follows, for which nothing is cached.
    shards
        Devices that split each layer (see `placer.imports.language_writer`).
    sequence_parallel
        Whether these divide what lies between split products by tokens; else each of them has all of it.
    attention
        ``fused``: one kernel, which writes no scores; ``eager``: prefill and training write them.
    """

    phase: Phase = Phase.PREFILL
    batch: int = 1
    sequence: int = 2048
    concurrency: int | None = None
    cache: str | None = None
    logits: bool = True
    training: bool = False
    shards: int = 1
    sequence_parallel: bool = False
    attention: str = "fused"

    def __post_init__(self) -> None:
        for what, number in (
            ("batch", self.batch),
            ("sequence", self.sequence),
            ("concurrency", self.concurrency or 1),
            ("shards", self.shards),
        ):
            if not 1 <= number <= 2**31:
                raise UsageError(f"{what} must be at least 1 and at most {2**31}, got {number}")
        if self.cache is not None and self.cache not in CACHE_BYTES:
            raise UsageError(none_of("cache format", self.cache, CACHE_BYTES))
        if self.concurrency is not None and self.concurrency < self.batch:
            raise UsageError(f"concurrency ({self.concurrency}) is at least the batch ({self.batch})")
        check_attention(self.attention)
        if self.attention == Attention.EAGER and self.phase is Phase.DECODE:
            raise UsageError("attention over a cache is fused: eager applies to prefill and training")
        if self.training and (self.phase is Phase.DECODE or self.cache or self.concurrency):
            raise UsageError("training has no cache: phase decode, concurrency and cache do not apply")

    @property
    def tokens(self) -> int:
        """Tokens that pass."""
        return self.batch if self.phase is Phase.DECODE else self.batch * self.sequence


def said(model: LanguageModel, work: Workload) -> str:
    """Say what an instance stands for: model, work and caches."""
    of = f"{work.batch} sequence{'s' * (work.batch > 1)} of {work.sequence} tokens"
    active = model.active_parameters
    text = f"{model.parameters:,} parameters"
    text += f" ({active:,.0f} met by a token)" if active < 0.9 * model.parameters else ""
    if work.training:
        return f"{text}; training on {of}"
    numbers = (work.concurrency or work.batch) * model.cached_numbers(work.sequence)
    cache = numbers * (PRECISIONS[model.precision] if work.cache is None else CACHE_BYTES[work.cache])
    done = "one more token of" if work.phase is Phase.DECODE else "prefill of"
    return f"{text}; {done} {of}; cache of {work.concurrency or work.batch}: {size(cache)}"
