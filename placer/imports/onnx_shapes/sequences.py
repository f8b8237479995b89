"""Operators on sequences of tensors and on optional ones: which tensors come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from placer.imports.onnx_shapes.tensors import Tensor

__all__ = ["SEQUENCES"]

Attributes = dict[str, Any]
Rule = Callable[[Sequence[Tensor | None], Attributes], Tensor | list[Tensor] | None]
"""What comes out, of the inputs and attributes; None when it is not known."""


def _held(read: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    first = read[0]
    if first is None or first.elements is None:
        raise LookupError(0)
    return first.elements


def _position(read: Sequence[Tensor | None], i: int, default: int) -> int:
    if i >= len(read) or read[i] is None:
        return default
    found = read[i]
    at = None if found is None else found.integer()
    if at is None:
        raise LookupError(i)
    return at


def _construct(read: Sequence[Tensor | None], _: Attributes) -> Tensor:
    return Tensor(elements=tuple(t for t in read if t is not None))


def _empty(read: Sequence[Tensor | None], _: Attributes) -> Tensor:
    return Tensor(elements=())


def _insert(read: Sequence[Tensor | None], _: Attributes) -> Tensor:
    held = list(_held(read))
    held.insert(_position(read, 2, len(held)), read[1] or Tensor())
    return Tensor(elements=tuple(held))


def _erase(read: Sequence[Tensor | None], _: Attributes) -> Tensor:
    held = list(_held(read))
    del held[_position(read, 1, -1)]
    return Tensor(elements=tuple(held))


def _at(read: Sequence[Tensor | None], _: Attributes) -> Tensor | None:
    held = _held(read)
    found = read[1]
    at = None if found is None else found.integer()
    if at is None:  # whichever it is: where all have the same shape, that is known
        return held[0] if held and len({t.dims for t in held}) == 1 else None
    return held[at]


def _length(read: Sequence[Tensor | None], _: Attributes) -> Tensor:
    import numpy as np

    return Tensor(7, (), np.array(len(_held(read)), np.int64))


def _split(read: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    whole = read[0]
    if whole is None or whole.shape is None:
        raise LookupError(0)
    axis = int(attributes.get("axis", 0)) % len(whole.shape)
    sizes = whole.shape[axis]
    given = read[1] if len(read) > 1 else None
    if given is not None and given.value is None:
        raise LookupError(1)
    if given is None:
        parts, keep = [1] * sizes, bool(attributes.get("keepdims", 1))
    elif given.value.ndim:
        parts, keep = [int(n) for n in given.value], True
    else:
        step = max(int(given.value), 1)
        parts, keep = [min(step, sizes - k) for k in range(0, sizes, step)], True
    ahead, behind = whole.shape[:axis], whole.shape[axis + 1 :]
    return Tensor(
        elements=tuple(Tensor(whole.kind, (*ahead, *([n] if keep else []), *behind)) for n in parts)
    )


def _concat(read: Sequence[Tensor | None], attributes: Attributes) -> Tensor:
    import numpy as np

    held = _held(read)
    shapes = [t.shape for t in held]
    if not shapes or any(shape is None for shape in shapes):
        raise LookupError(0)
    first = list(shapes[0] or ())
    if attributes.get("new_axis", 0):
        axis = int(attributes["axis"]) % (len(first) + 1)
        first.insert(axis, len(shapes))
    else:
        axis = int(attributes["axis"]) % len(first)
        first[axis] = sum((shape or ())[axis] for shape in shapes)
    value = None
    if all(t.value is not None for t in held):
        join = np.stack if attributes.get("new_axis", 0) else np.concatenate
        value = join([t.value for t in held], axis=axis)
    return Tensor(held[0].kind, tuple(first), value)


def _optional(read: Sequence[Tensor | None], _: Attributes) -> Tensor | None:
    return read[0] if read else Tensor(elements=())


def _has(read: Sequence[Tensor | None], _: Attributes) -> Tensor:
    import numpy as np

    return Tensor(9, (), np.array(bool(read) and read[0] is not None))


SEQUENCES: dict[str, Rule] = {
    "SequenceConstruct": _construct,
    "SequenceEmpty": _empty,
    "SequenceInsert": _insert,
    "SequenceErase": _erase,
    "SequenceAt": _at,
    "SequenceLength": _length,
    "SplitToSequence": _split,
    "ConcatFromSequence": _concat,
    "Optional": _optional,
    "OptionalGetElement": _optional,
    "OptionalHasElement": _has,
}
