"""Where tensors lie that several nodes read: with each reader, on every device, or all readers together.

- What the model writes itself, such as a cache kept in a buffer, stays on one device with all that read
  it.
- A tied weight, such as an embedding that is also the head: each reader keeps a copy, or the readers stay
  together. If there are more readers than devices (layers that share their weights), every device keeps
  one copy.
- A constant that is read in several blocks, such as a causal mask: every device keeps one copy. Within a
  block, each reader counts it.

A copy on every device is part of what is reserved there, so that it counts once however many readers
there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from placer.imports.granularity import Part
from placer.imports.model import Model
from placer.imports.module_blocks import block_labels

__all__ = ["Residence", "residence"]


@dataclass(frozen=True)
class Residence:
    """Where shared tensors lie.

    Parameters
    ----------
    everywhere
        Keys of those of which every device keeps a copy.
    together
        For each tensor whose readers stay together, these parts.
    copied, joined
        Keys of the tied weights of which there may be copies, or whose readers stay together.
    """

    everywhere: frozenset[str]
    together: tuple[tuple[int, ...], ...]
    copied: tuple[str, ...]
    joined: tuple[str, ...]


def residence(model: Model, parts: Sequence[Part], *, devices: int, copy: bool) -> Residence:
    """Decide where shared tensors lie.

    Parameters
    ----------
    model
        The model.
    parts
        What becomes a node.
    devices
        How many there are; a single one holds everything once.
    copy
        Whether tied weights may have copies.
    """
    labels = block_labels(model)
    everywhere: set[str] = set()
    together: list[tuple[int, ...]] = []
    copied: list[str] = []
    joined: list[str] = []
    for key, readers in _readers(model, parts).items():
        weight = model.weights[key]
        if len(readers) < 2:
            continue
        if weight.state or (weight.tied and (not copy or devices < 2)):
            together.append(readers)
            joined += [] if weight.state else [key]
        elif weight.tied:
            copied.append(key)
            everywhere |= {key} if len(readers) > devices else set()
        elif not weight.trainable:
            blocks = {labels[parts[p].operators[0]] or f"part {p}" for p in readers}
            everywhere |= {key} if len(blocks) > 1 else set()
    return Residence(frozenset(everywhere), tuple(together), tuple(copied), tuple(joined))


def _readers(model: Model, parts: Sequence[Part]) -> dict[str, tuple[int, ...]]:
    found: dict[str, dict[int, None]] = {}
    for p, part in enumerate(parts):
        for i in part.operators:
            for key in model.operators[i].weights:
                found.setdefault(key, {})[p] = None
    return {key: tuple(readers) for key, readers in found.items()}
