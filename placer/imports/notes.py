"""What an import tells about memory and shared weights, a line each."""

from __future__ import annotations

from collections.abc import Sequence

from placer.imports.granularity import Granularity, Part, partition
from placer.imports.model import Model
from placer.imports.residence import Residence
from placer.imports.working import Working
from placer.units import size

__all__ = ["granularity_note", "residence_notes", "working_note"]

MANY_NODES = 1000
"""So many take their time to plan, and nobody reads them."""


def granularity_note(model: Model, parts: Sequence[Part], by: Granularity) -> str:
    """Say by what the nodes are, and suggest modules where they are many and modules far fewer."""
    text = f"by {by}"
    if len(parts) < MANY_NODES or by not in (Granularity.OPERATOR, Granularity.LAYER):
        return text
    fewer = len(partition(model, Granularity.MODULE))
    return f"{text}: {len(parts)} nodes; --by module makes {fewer}" if 2 * fewer <= len(parts) else text


def residence_notes(model: Model, where: Residence, *, training: bool) -> list[str]:
    """Say what happens to tied weights."""
    out = []
    if where.copied:
        sums = (
            "; gradients of the copies are to be summed once per step, which is not counted"
            if training
            else ""
        )
        out.append(
            f"tied weights ({_named(model, where.copied)}): each reader keeps a copy{sums} "
            "(--tied colocate keeps the readers on one device)"
        )
    if where.joined:
        out.append(
            f"tied weights ({_named(model, where.joined)}) stay on one device, and in a contiguous plan so "
            "does everything between their readers (--tied copy: each reader keeps a copy)"
        )
    return out


def working_note(parts: Sequence[Part], work: Working) -> str:
    """Say what is reserved for activations, and what some nodes need beyond."""
    text = f"working memory: {size(work.reserve_bytes)} reserved on every device"
    if work.excess_bytes:
        most = max(work.excess_bytes, key=lambda p: work.excess_bytes[p])
        more = f"; {len(work.excess_bytes)} nodes" if len(work.excess_bytes) > 1 else f"; {parts[most].id}"
        text += f"{more} up to {size(work.excess_bytes[most])} beyond"
    together = sum(len(group) for group in work.groups)
    return text + (f", {together} that share large values stay together" if together else "")


def _named(model: Model, keys: Sequence[str]) -> str:
    weights = [model.weights[key] for key in keys]
    names = ", ".join(weights[0].names or keys[:1])
    rest = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"{names}{rest}, {size(sum(w.size_bytes for w in weights))}"
