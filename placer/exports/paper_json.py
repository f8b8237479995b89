"""The paper's result format, which method ``expert`` and ``placer check`` read back."""

from __future__ import annotations

from pathlib import Path

from placer.errors import UsageError
from placer.exports.placement import Placement
from placer.formats.paper_json import to_split

__all__ = ["write"]


def write(placement: Placement, path: Path) -> list[str]:
    """Write the split with the loads of the result.

    Raises
    ------
    UsageError
        When an accelerator holds several pieces: the format has one entry for each accelerator.
    """
    plan, result = placement.plan, placement.result
    if plan.piece is not None and plan.piece.max(initial=0) > 0:
        raise UsageError(
            "paper-json cannot express this plan: an accelerator holds several pieces, "
            "and the format has one entry per accelerator (plan with --pieces 1)"
        )
    objective = result.objective if result.objective is not None else 0.0
    split = to_split(placement.instance, plan, [d.load_ms for d in result.devices], objective)
    path.write_text(split.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")
    return []
