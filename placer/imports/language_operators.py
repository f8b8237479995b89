"""Language models as operators with costs: a step of their work, from their dimensions alone.

The rules, a multiply-add counting as two:

- a matrix product of n tokens does ``2 n`` operations per weight and reads its weights once; of E routed
  experts with k per token, rows are spread evenly, and ``1 - (1 - k / E) ** n`` of their weights are read;
- attention is one fused kernel: every pair of query and key counts, whatever the mask, up to the window; no
  score leaves the kernel, and a step of decoding reads the cache of its sequences once;
- what lies between products reads and writes its tensors once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from placer.choices import none_of
from placer.errors import UsageError
from placer.imports.language_blocks import Blocks
from placer.imports.language_work import SEQUENCE, Phase, Workload, said
from placer.imports.model import Model
from placer.instance.origin import Source
from placer.language.language_model import BlockKind, LanguageModel, Parameter

__all__ = ["operators", "work_on"]

MOST_EXPERTS = 100_000
"""Experts that may be nodes of their own."""


def operators(model: LanguageModel, work: Workload, source: Source, *, single_experts: bool = False) -> Model:
    """Turn a language model into operators.

    Parameters
    ----------
    model
        The language model.
    work
        What it does.
    source
        Where it comes from.
    single_experts
        Whether each routed expert is an operator of its own, not all of a layer together.
    """
    return Blocks(model, work, single_experts).model(source)


def work_on(
    model: LanguageModel,
    asked: Mapping[str, Any],
    source: Source,
    *,
    training: bool,
    single_experts: bool,
) -> Model:
    """Check what is asked of a language model, turn it into operators, and say what was assumed.

    Parameters
    ----------
    model
        The language model.
    asked
        Fields of `Workload`.
    source, single_experts
        As for `operators`.
    training
        Whether a backward pass is to follow.

    Raises
    ------
    UsageError
        When it does not fit.
    """
    if training and any(p.name for b in model.blocks for p in b.parameters if _quantised(p)):
        raise UsageError("quantised weights cannot be trained here (--weights bf16 counts them as they were)")
    experts = sum(b.experts.count for b in model.blocks if b.kind is BlockKind.EXPERTS and b.experts)
    if single_experts and experts > MOST_EXPERTS:
        raise UsageError(f"{experts} experts are too many nodes (at most {MOST_EXPERTS}); --by sublayer")
    phase = asked.get("phase", Phase.PREFILL)
    if phase not in list(Phase):
        raise UsageError(none_of("phase", phase, list(Phase)))
    longest = model.max_tokens
    fields = {"sequence": min(SEQUENCE, longest or SEQUENCE)} | dict(asked) | {"phase": Phase(phase)}
    work = Workload(**fields, training=training)
    notes = [*model.notes, said(model, work)]
    if longest is not None and work.sequence > longest:
        notes.append(f"{work.sequence} tokens are more than the {longest} that the model was made for")
    model = replace(model, notes=tuple(notes))
    return operators(model, work, source, single_experts=single_experts)


def _quantised(p: Parameter) -> bool:
    return p.size_bytes < 2 * p.elements
