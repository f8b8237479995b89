"""A call of a PyTorch operator as an exported graph describes it, without importing torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

__all__ = ["Call", "Shape"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """An operator with the arguments that it is called with.

    Parameters
    ----------
    name
        Its name, without namespace and overload.
    tensors
        Shapes of all tensors among the arguments, in their order; the same tensor may come twice.
    named
        By the name of the argument: the shape of a tensor, or a list of the shapes of several.
    values
        All other arguments by name.
    outputs
        Shapes of the tensors produced.
    foreign
        Whether it is not one of torch's own.
    """

    name: str
    tensors: tuple[Shape, ...]
    named: dict[str, Any]
    values: dict[str, Any]
    outputs: tuple[Shape, ...]
    foreign: bool = False

    def shape(self, name: str) -> Shape:
        """Shape of a tensor by the name of the argument."""
        return tuple(self.named[name])

    @property
    def out(self) -> int:
        """Number of elements of the first output."""
        return prod(self.outputs[0]) if self.outputs else 0
