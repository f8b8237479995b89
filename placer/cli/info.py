"""``placer info``."""

from __future__ import annotations

import json
import sys
from typing import Any, Protocol

import numpy as np
from rich.table import Table
from rich.text import Text

from placer.cli.exit_codes import ExitCode
from placer.cli.tables import size, stdout
from placer.formats.files import load
from placer.instance.fingerprint import fingerprint
from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.in_flight import settled
from placer.plans.infeasible import simple_cause
from placer.reductions.problem import contract
from placer.reductions.shape import count_downsets, width

__all__ = ["facts", "run"]

DOWNSETS = 100_000


class Arguments(Protocol):
    """What the command is given."""

    instance: str
    json: bool


def run(args: Arguments) -> ExitCode:
    """Say what is in an instance."""
    instance = load(args.instance)
    found = facts(instance)
    if args.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return ExitCode.DONE
    console = stdout()
    table = Table(show_header=False, box=None)
    for name, value in found.items():
        if name != "classes" and value is not None:
            table.add_row(Text(name.replace("_", " "), style="bold"), Text(_shown(value)))
    console.print(table)
    console.print(_classes(found["classes"]))
    return ExitCode.DONE


def facts(instance: Instance) -> dict[str, Any]:
    """Collect what is worth knowing before planning."""
    problem = contract(instance, contiguous=True)
    widest, exact = width(problem)
    downsets = count_downsets(problem, DOWNSETS)
    return {
        "name": instance.name,
        "sha256": fingerprint(instance),
        "kind": "training" if instance.is_training else "inference",
        "nodes": instance.n,
        "backward_nodes": int(instance.backward.sum()),
        "edges": len(instance.edges),
        "colocation_groups": len(instance.groups),
        "items_after_colocation": problem.size,
        "width": widest if exact else f"at least {widest}",
        "downsets": f"more than {DOWNSETS}" if downsets is None else downsets,
        "pinned_or_forbidden_nodes": sum(
            bool(p or f) for p, f in zip(instance.pin, instance.forbid, strict=True)
        ),
        "memory_bytes": float(instance.resident_bytes.sum()),
        "activation_bytes_per_microbatch": float(instance.activation_bytes.sum()) or None,
        "microbatches": instance.training.microbatches if instance.is_training else None,
        "order_of_devices": ", ".join(" or ".join(names) for names in instance.places) or None,
        "accelerator_memory_bytes": _finite(
            sum(d.memory_limit_bytes for d in instance.devices if not d.is_host)
        ),
        "host_memory_bytes": _finite(sum(d.memory_limit_bytes for d in instance.devices if d.is_host))
        if any(d.is_host for d in instance.devices)
        else None,
        "infeasible_because": simple_cause(settled(instance, Options())),
        "classes": [_class_facts(instance, c) for c in range(len(instance.classes))],
    }


def _class_facts(instance: Instance, c: int) -> dict[str, Any]:
    cls, times = instance.classes[c], instance.class_time_ms[:, c]
    runs = np.isfinite(times)
    return {
        "name": cls.name,
        "type": cls.type,
        "kind": cls.kind.value,
        "count": cls.count,
        "memory_limit_bytes": _finite(cls.memory_limit_bytes),
        "memory_reserve_bytes": [float(cls.reserve_bytes(i)) for i in range(cls.count)],
        "price_per_hour": cls.price_per_hour,
        "nodes_that_run": int(runs.sum()),
        "total_time_ms": float(times[runs].sum()),
        "total_transfer_ms": float(instance.class_transfer_ms[:, c].sum()),
    }


def _classes(rows: list[dict[str, Any]]) -> Table:
    table = Table(header_style="bold")
    for name in ("class", "type", "kind", "count", "memory each", "nodes\nthat run", "all on one\nms"):
        table.add_column(name, justify="left" if name in ("class", "type", "kind") else "right")
    table.add_column("all transfers\nms", justify="right")
    priced = any(row["price_per_hour"] is not None for row in rows)
    if priced:
        table.add_column("price\nper hour", justify="right")
    for row in rows:
        limit = row["memory_limit_bytes"]
        table.add_row(
            *(Text(str(row[key])) for key in ("name", "type", "kind", "count")),
            size(float("inf") if limit is None else limit) + _reserved(row["memory_reserve_bytes"]),
            str(row["nodes_that_run"]),
            f"{row['total_time_ms']:.6g}",
            f"{row['total_transfer_ms']:.6g}",
            *(["" if row["price_per_hour"] is None else f"{row['price_per_hour']:g}"] if priced else []),
        )
    return table


def _reserved(sizes: list[float]) -> str:
    """Say how much of the memory is taken by others."""
    if not any(sizes):
        return ""
    low, high = size(min(sizes)), size(max(sizes))
    return f" - {low}" if low == high else f" - {low} to {high}"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return size(value)
    return str(value)


def _finite(size: float) -> float | None:
    return float(size) if np.isfinite(size) else None
