"""The repeated blocks of a model, by the paths of its modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from placer.imports.model import Kind, Model, Operator, producers

__all__ = ["block_labels", "module_labels", "opens"]

LEAST_LAYERS = 2
"""Layers that each of the blocks within a block has at least."""
ALIKE = 0.5
"""Share of their layers that two of them have in common, by name."""
COVERED = 2 / 3
"""Share of a block's weights that lies in those within it, if it is a mere list of them."""


def block_labels(model: Model) -> list[str | None]:
    """Block of each operator: None where its module holds blocks and is none.

    Blocks are those of `module_labels`, split further where one is little more than a list of blocks itself,
    such as a stage of a convolutional network: ``stages.2`` becomes ``stages.2.blocks.0`` and so on.

    Parameters
    ----------
    model
        The model.
    """
    paths = [o.module for o in model.operators]
    blocks = _numbered(paths)
    labels = _around(paths, blocks)
    tried: set[str] = set()
    while new := [label for label in dict.fromkeys(labels) if label is not None and label not in tried]:
        tried.update(new)
        inside: dict[str | None, list[int]] = {}
        for i, label in enumerate(labels):
            inside.setdefault(label, []).append(i)
        for label in new:
            for member, found in _listed(model, label, inside[label]).items():
                for i in found:
                    blocks[i] = member
        stems = _stems(blocks)
        blocks = [None if block in stems else block for block in blocks]
        labels = _around(paths, blocks)
    return labels


def module_labels(paths: Sequence[str | None]) -> list[str | None]:
    """Block of each module path: up to its first number, or the shortest part that holds no other block.

    ``encoder.layer.3.attention`` belongs to ``encoder.layer.3``, ``embeddings.norm`` to ``embeddings``;
    ``encoder`` itself holds blocks and is none: None.
    """
    return _around(paths, _numbered(paths))


def opens(o: Operator) -> bool:
    """Whether an operator opens a layer: a product or look-up with weights of its own."""
    return bool(o.weights) and o.kind in (Kind.PRODUCT, Kind.LOOKUP)


def _numbered(paths: Sequence[str | None]) -> list[str | None]:
    """Each path up to its first number."""
    return [_head(path, "", str.isdecimal) for path in paths]


def _head(path: str | None, above: str, ends: Callable[[str], bool]) -> str | None:
    """Shortest beginning of a path that lies within another and of which the last piece is such."""
    parts = path.split(".") if path else []
    start = len(above.split(".")) if above else 0
    return next((".".join(parts[: k + 1]) for k in range(start, len(parts)) if ends(parts[k])), None)


def _stems(blocks: Sequence[str | None]) -> set[str]:
    """Everything that holds a block."""
    split = [block.split(".") for block in dict.fromkeys(blocks) if block is not None]
    return {".".join(parts[:k]) for parts in split for k in range(len(parts))}


def _around(paths: Sequence[str | None], blocks: Sequence[str | None]) -> list[str | None]:
    """Blocks, and for paths in none the shortest part that holds no block."""
    stems = _stems(blocks)
    out = []
    for path, block in zip(paths, blocks, strict=True):
        parts = path.split(".") if path and block is None else []
        heads = (".".join(parts[:k]) for k in range(1, len(parts) + 1))
        out.append(block or next((head for head in heads if head not in stems), None))
    return out


def _listed(model: Model, label: str, mine: Sequence[int]) -> dict[str, list[int]]:
    """Blocks that one block consists of, with their operators; empty unless it is a mere list of them."""
    lists: dict[str, dict[str, list[int]]] = {}
    for i in mine:
        member = _head(model.operators[i].module, label, lambda piece: piece[-1:].isdecimal())
        if member is not None:
            lists.setdefault(member.rstrip("0123456789"), {}).setdefault(member, []).append(i)
    found: dict[str, list[int]] = {}
    for members in lists.values():
        layers = {m: _layers(model, m, inside) for m, inside in members.items()}
        kept = {m: members[m] for m in members if _has_twin(m, layers)}
        if _follow(model, mine, list(kept.values())):
            found |= kept
    covered = sum(_elements(model, inside) for inside in found.values())
    return found if covered >= COVERED * _elements(model, mine) else {}


def _layers(model: Model, member: str, inside: Sequence[int]) -> set[str]:
    """Names within a block of the modules that open layers."""
    found = [model.operators[i] for i in inside]
    return {(o.module or "").removeprefix(member) for o in found if opens(o)}


def _has_twin(member: str, layers: dict[str, set[str]]) -> bool:
    own = layers[member]
    rest = [other for name, other in layers.items() if name != member]
    return len(own) >= LEAST_LAYERS and any(len(own & other) >= ALIKE * len(own | other) for other in rest)


def _follow(model: Model, mine: Sequence[int], members: Sequence[Sequence[int]]) -> bool:
    """Whether each of some blocks depends on the one before: they are no branches, and no experts."""
    if len(members) < 2:
        return False
    member_of = {i: m for m, inside in enumerate(members) for i in inside}
    before = producers([model.operators[i] for i in mine])
    needs: list[int] = []  # sets of blocks, as bits
    reached = [0] * len(members)
    for i in mine:
        own = 0
        for key in model.operators[i].inputs:
            if key in before:
                j = before[key]
                own |= needs[j] | (1 << member_of[mine[j]] if mine[j] in member_of else 0)
        needs.append(own)
        if i in member_of:
            reached[member_of[i]] |= own
    order = sorted(range(len(members)), key=lambda m: members[m][0])
    return all(reached[b] >> a & 1 for a, b in pairwise(order))


def _elements(model: Model, inside: Sequence[int]) -> int:
    """Numbers in the weights of some operators that open layers."""
    found = [model.operators[i] for i in inside]
    return sum(model.weights[w].elements for o in found if opens(o) for w in o.weights)
