"""Times of the authors' own dynamic program on their workloads, as a comparison beside the measured ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["authors_table"]

SECONDS: dict[str, float | None] = {
    "layer gnmt inference": 9.6,
    "operator bert l3 training": 2.7,
    "operator bert l6 inference": 1.7,
    "operator bert l6 training": 10.5,
    "layer inceptionv3 inference": None,
    "layer resnet50 inference": 0.06,
    "layer resnet50 training": 0.09,
    "operator resnet50 inference": 0.07,
}
"""Of the program published with the paper (msr-fiddle/dnn-partitioning, C++, all pairs of downsets), run for
this project on one core of another machine.  None: stopped after 841 s with 16.5 GB."""


def authors_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of the shared workloads among the rows; empty where there are none."""
    lines = []
    for row in rows:
        name = row["case"].removeprefix("shared ").removesuffix(", contiguous")
        if row["kind"] == "contiguous" and row["case"].startswith("shared ") and name in SECONDS:
            theirs, ours = SECONDS[name], row.get("seconds_001pct")
            cells = (
                name,
                row["method"],
                "more than 841" if theirs is None else f"{theirs:g}",
                f"more than {row['limit_s']:g}" if ours is None else f"{ours:.2f}",
            )
            lines.append("| " + " | ".join(cells) + " |")
    if not lines:
        return ""
    head = (
        "\nThe authors' dynamic program (its own figures, from another machine), and time to 0.01 % here:\n\n"
    )
    return (
        head + "| workload | method | authors, s | here, s |\n|---|---|---|---|\n" + "\n".join(lines) + "\n"
    )
