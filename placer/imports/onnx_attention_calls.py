"""Operators of ONNX that are an attention of their own: ``Attention`` and those of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from placer.imports import attention
from placer.imports.model import Operator, Value
from placer.imports.onnx_products import PROJECTED, SCORES, Call, projection

__all__ = ["Slots", "as_kernel", "as_products", "slots"]


@dataclass(frozen=True)
class Slots:
    """Which inputs of an operator are what.

    Parameters
    ----------
    masks
        Masks and other matrices that scores meet.
    past
        Keys and values of earlier tokens; what the operator returns besides its result are these, grown.
    values
        Values, where they are an input of their own, and their past.
    shown
        The output that holds scores.
    """

    masks: tuple[int, ...]
    past: tuple[int, ...]
    values: tuple[int, ...] = ()
    shown: int | None = None


SLOTS = {
    "Attention": Slots(masks=(3,), past=(4, 5), values=(2, 5), shown=3),
    "com.microsoft.Attention": Slots(masks=(3, 5), past=(4,)),
    "QAttention": Slots(masks=(5,), past=(8,)),
    "MultiHeadAttention": Slots(masks=(4, 5), past=(6, 7), values=(2, 7), shown=3),
    "DecoderMaskedMultiHeadAttention": Slots(masks=(3, 4), past=(5, 6), values=(2, 6), shown=3),
    "GroupQueryAttention": Slots(masks=(10,), past=(3, 4), values=(2, 4)),
}


def slots(node: Any) -> Slots | None:
    """Say which inputs are what; None where it is no attention, or where scores leave it."""
    found = SLOTS.get(_key(node))
    if found is None or (found.shown is not None and any(node.output[found.shown :])):
        return None
    return found


def as_kernel(
    operator: Operator, node: Any, found: Slots, size: Callable[[str], float], masks: Sequence[str]
) -> Operator:
    """Leave out masks; a cache grows in place, so that only what is new is written.

    Parameters
    ----------
    operator, node, found
        The attention.
    size
        Bytes of a tensor.
    masks
        Those of its inputs that are computed inside.
    """
    again = [name for i in found.past for name in node.input[i : i + 1] if name and len(node.output) > 1]
    return replace(
        operator,
        inputs=tuple(name for name in operator.inputs if name not in masks),
        moved_bytes=operator.moved_bytes - sum(map(size, {*masks, *again})),
    )


def as_products(
    operator: Operator, node: Any, found: Slots, size: Callable[[str], float], call: Call
) -> tuple[list[Operator], dict[str, Value]]:
    """Write it as products and a softmax (`placer.imports.attention`)."""
    key = _key(node)
    pairs, key_width, value_width = SCORES[key](call)
    outputs = [name for name in node.output if name]
    number = size(outputs[0]) / call.out

    def read(*indices: int) -> list[tuple[str, float]]:
        return [(name, size(name)) for i in indices for name in node.input[i : i + 1] if name]

    masked = read(*found.masks)
    first = [i for i in range(len(node.input)) if i not in (*found.masks, *found.values)]
    made = None
    if key in PROJECTED:
        rows, width = prod(call.shape(0)[:-1]), call.shape(1)[-1]
        made = read(*(i for i in first if i not in found.past)), projection(call), rows * width * number
        first = list(found.past)
    return attention.written_out(
        operator,
        attention.Scores(pairs, key_width, value_width, number),
        keys=read(*first),
        mask=masked or ([] if _is_causal(call) else None),
        values=read(*found.values),
        result_bytes=sum(map(size, outputs)),
        projected=made,
    )


def _key(node: Any) -> str:
    full = f"{node.domain}.{node.op_type}"
    return full if full in SLOTS else str(node.op_type)


def _is_causal(call: Call) -> bool:
    return call.op == "GroupQueryAttention" or any(
        call.attributes.get(name) for name in ("is_causal", "unidirectional")
    )
