"""One row per node, for spreadsheets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from placer.exports.placement import Placement
from placer.formats.csv_table import to_csv
from placer.plans.evaluate import sending_ms

__all__ = ["rows", "write"]

Cell = str | int | float | bool | None


def write(placement: Placement, path: Path) -> list[str]:
    """Write a CSV file."""
    table = list(rows(placement))
    path.write_text(to_csv(table[0], table), encoding="utf-8")
    return []


def rows(placement: Placement) -> Iterator[dict[str, Cell]]:
    """Describe every node by scalars: where it goes, what it costs there, and where it comes from."""
    instance = placement.instance
    sending = sending_ms(instance, placement.plan.device, placement.plan.teams)
    again = placement.plan.computed_again
    part = {v: i for i, part in enumerate(placement.parts) for v in part.nodes}
    for v in range(instance.n):
        device = placement.device(v)
        origin = instance.origin[v]
        piece = -1 if placement.plan.piece is None else int(placement.plan.piece[v])
        yield {
            "id": instance.ids[v],
            "name": instance.names[v],
            "device": placement.label(device.index),
            "part": part.get(v),
            "piece": None if piece < 0 else piece,
            "backward": bool(instance.backward[v]),
            "recompute": bool(again[v]),
            "time_ms": float(instance.class_time_ms[v, device.class_index]),
            "transfer_ms": float(sending[v]),
            "memory_bytes": float(instance.resident_bytes[v]),
            "output_bytes": None if math.isnan(instance.output_bytes[v]) else float(instance.output_bytes[v]),
            "flops": None if origin is None else origin.flops,
            "op": None if origin is None else origin.op,
            "module": None if origin is None else origin.module,
            "layer": instance.layer[v],
            "colocate": instance.colocate[v],
        }
