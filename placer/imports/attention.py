"""How attention runs: as one kernel, or as products and a softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from placer.choices import none_of
from placer.errors import UsageError
from placer.imports.model import Kind, Operator, Stash, Value

__all__ = ["Attention", "Scores", "check_attention", "written_out"]

Reads = Sequence[tuple[str, float]]
"""Names of tensors, and bytes read of each."""
STEPS = {
    "matmul": (Kind.PRODUCT, Stash.INPUTS),
    "mul": (Kind.OTHER, Stash.NOTHING),
    "add": (Kind.OTHER, Stash.NOTHING),
    "softmax": (Kind.OTHER, Stash.OUTPUT),
}
"""What the operators of an attention that is written out do, and what they keep."""


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


@dataclass(frozen=True)
class Scores:
    """The matrices of an attention.

    Parameters
    ----------
    pairs
        Scores: of every query of every head with every key.
    key_width, value_width
        Numbers of a head's key and of its value.
    number_bytes
        Bytes of a score.
    """

    pairs: float
    key_width: float
    value_width: float
    number_bytes: float


@dataclass(frozen=True)
class _Step:
    """One of the operators that attention consists of; each reads what the one before made, too."""

    name: str
    op: str
    reads: Reads
    flops: float
    written: float


def written_out(
    whole: Operator,
    scores: Scores,
    *,
    keys: Reads,
    mask: Reads | None,
    values: Reads,
    result_bytes: float,
    projected: tuple[Reads, float, float] | None = None,
) -> tuple[list[Operator], dict[str, Value]]:
    """Write an attention that is one operator as products, softmax, and what scales and masks the scores.

    Parameters
    ----------
    whole
        The operator.
    scores
        Its matrices.
    keys, mask, values
        What is read for the scores, to mask them (None where nothing is), and to multiply them by.
    result_bytes
        Bytes written at the end.
    projected
        Of an attention that makes queries, keys and values itself: what that reads, its operations, and the
        bytes that it writes.

    Returns
    -------
    operators, values
        The operators, and the values that they pass on.
    """
    pairs, size = scores.pairs, scores.pairs * scores.number_bytes
    steps = [] if projected is None else [_Step("projected", "matmul", *projected)]
    steps += [
        _Step("scores", "matmul", keys, 2 * pairs * scores.key_width, size),
        _Step("scaled", "mul", [], pairs, size),
        *([] if mask is None else [_Step("masked", "add", mask, pairs, size)]),
        _Step("shares", "softmax", [], 5 * pairs, size),
        _Step("", "matmul", values, 2 * pairs * scores.value_width, result_bytes),
    ]
    return _chained(whole, steps)


def _chained(whole: Operator, steps: Sequence[_Step]) -> tuple[list[Operator], dict[str, Value]]:
    operators: list[Operator] = []
    passed: dict[str, Value] = {}
    for step in steps:
        names = [name for name, _ in step.reads]
        before = operators[-1].outputs if operators else ()
        made = (f"{whole.id}.{step.name}",) if step.name else whole.outputs
        kind, stash = STEPS[step.op]
        operators.append(
            replace(
                whole,
                id=made[0],
                name=f"{whole.name}.{step.name}" if step.name else whole.name,
                op=step.op,
                members=() if step.name else whole.members,
                inputs=(*before, *(n for n in names if n in whole.inputs)),
                outputs=made,
                weights=() if set(names) <= set(whole.inputs) else whole.weights,
                flops=step.flops,
                moved_bytes=sum(read for _, read in step.reads)
                + sum(passed[value].size_bytes for value in before)
                + step.written,
                kind=kind,
                stash=stash,
            )
        )
        if step.name:
            passed[made[0]] = Value(step.written, differentiable=True)
    return operators, passed
