"""Dotted module paths."""

from __future__ import annotations

__all__ = ["ancestors", "is_within", "parent"]


def is_within(name: str, module: str) -> bool:
    """Whether a dotted name is a module or lies in it; everything lies in the root ``""``."""
    return module == "" or name == module or name.startswith(module + ".")


def parent(name: str) -> str:
    """Return the module that directly holds a name; ``""`` is the root."""
    return name.rpartition(".")[0]


def ancestors(name: str) -> list[str]:
    """Return the modules that a name lies in, outermost first, the name itself included and the root not."""
    atoms = name.split(".") if name else []
    return [".".join(atoms[: i + 1]) for i in range(len(atoms))]
