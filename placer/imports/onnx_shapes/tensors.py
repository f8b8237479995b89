"""What is known of one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from placer.errors import InputError

__all__ = ["MAX_ELEMENTS", "MAX_VALUE", "Dims", "Tensor", "known_tensor"]

MAX_ELEMENTS = 2**50
MAX_VALUE = 2**16
"""Elements up to which values are kept: enough for shapes and indices, too few for weights."""

Dims = tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor, or a sequence of them.

    Parameters
    ----------
    kind
        Element type (``TensorProto.DataType``); 0 when unknown.
    dims
        Sizes, None for those that are not known; None when not even their number is.
    value
        The numbers, where they are known and few (an array of NumPy).
    elements
        The tensors of a sequence.
    """

    kind: int = 0
    dims: Dims | None = None
    value: Any = None
    elements: tuple[Tensor, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The sizes if all are known; of a sequence, the number of elements of all its tensors."""
        if self.elements is not None:
            shapes = [t.shape for t in self.elements]
            return None if any(s is None for s in shapes) else (sum(prod(s or ()) for s in shapes),)
        if self.dims is None or any(size is None for size in self.dims):
            return None
        return tuple(size for size in self.dims if size is not None)

    def integer(self) -> int | None:
        """Return its only element as a whole number, if it is known."""
        return None if self.value is None or self.value.size != 1 else int(self.value.reshape(-1)[0])

    def same(self, other: Tensor) -> bool:
        """Whether as much, and the same, is known of another."""
        if self.elements is not None or other.elements is not None:
            return self.elements is other.elements
        if (self.value is None) != (other.value is None):
            return False
        return self.dims == other.dims and (self.value is None or bool((self.value == other.value).all()))


def known_tensor(kind: int, dims: Sequence[int | None] | None, name: str, value: Any = None) -> Tensor:
    """Make a tensor of checked sizes.

    Raises
    ------
    InputError
        When a size is negative, or the tensor too large to be one.
    """
    if dims is None:
        return Tensor(kind)
    sizes = tuple(dims)
    if any(size < 0 for size in sizes if size is not None) or prod(s for s in sizes if s) > MAX_ELEMENTS:
        raise InputError(f"impossible shape {list(sizes)}", place=f"tensor {name!r}")
    return Tensor(kind, sizes, value)
