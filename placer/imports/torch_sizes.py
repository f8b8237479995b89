"""Example inputs whose sizes are symbols, with the numbers that the symbols stand for."""

from __future__ import annotations

from typing import Any

from placer.errors import InputError

__all__ = ["with_numbers"]

MARK = "_dynamo_dynamic_indices"
"""What `torch._dynamo.mark_dynamic` leaves on a tensor."""


def with_numbers(inputs: Any) -> Any:
    """Replace tensors with symbolic sizes by tensors of the sizes that these stand for, and symbols likewise.

    Sizes marked as dynamic lose their mark.

    Parameters
    ----------
    inputs
        Example inputs, nested as torch allows.

    Returns
    -------
    Any
        The same where nothing is symbolic; else new inputs, with zeros on the default device in the place of
        tensors that have no contents.

    Raises
    ------
    InputError
        When a size stands for no number.
    """
    import torch
    from torch.utils import _pytree as pytree

    plain = {torch.SymInt: int, torch.SymFloat: float, torch.SymBool: bool}

    def is_symbolic(leaf: Any) -> bool:
        sizes = leaf.shape if isinstance(leaf, torch.Tensor) else [leaf]
        return hasattr(leaf, MARK) or any(isinstance(n, tuple(plain)) for n in sizes)

    def number(n: Any) -> Any:
        try:
            return plain.get(type(n), lambda known: known)(n)
        except Exception:  # a symbol without a value refuses in a type of its own
            raise InputError(
                f"an example input has a size that stands for no number, {n}; make the input with numbers"
            ) from None

    def fixed(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return number(leaf)
        if type(leaf) in (torch.Tensor, torch.nn.Parameter):
            # A tensor of its own has no mark; torch has no function that takes one away.
            return leaf.detach().requires_grad_(leaf.requires_grad) if hasattr(leaf, MARK) else leaf
        sizes = [number(n) for n in leaf.shape]
        return torch.zeros(sizes, dtype=leaf.dtype, requires_grad=leaf.requires_grad)

    leaves, form = pytree.tree_flatten(inputs)
    return pytree.tree_unflatten(map(fixed, leaves), form) if any(map(is_symbolic, leaves)) else inputs
