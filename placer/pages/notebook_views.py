"""What a result and an instance show of themselves in a notebook: small, escaped, self-contained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.pages.html_document import macro
from placer.pages.load_chart import load_chart
from placer.pages.sentence import limit
from placer.units import size

if TYPE_CHECKING:
    from placer.instance.instance import Instance
    from placer.plans.result import Result

__all__ = ["instance_html", "result_html"]

DEVICES = 32
"""Devices listed; a notebook is no place for hundreds."""


def result_html(result: Result) -> str:
    """Show status, what limits the plan, and a row per device."""
    loads = load_chart(result) if result.assignment is not None else None
    rows = () if loads is None else loads.rows[:DEVICES]
    return macro("notebook.html", "result", result, limit(result), loads, rows)


def instance_html(instance: Instance) -> str:
    """Show what is in an instance."""
    rows = [
        ("kind", "training" if instance.is_training else "inference"),
        ("nodes", f"{instance.n:,}"),
        ("edges", f"{len(instance.edges):,}"),
        ("colocation groups", f"{len(instance.groups):,}"),
        ("memory of all nodes", size(float(instance.resident_bytes.sum()))),
    ]
    return macro("notebook.html", "instance", instance.name, rows, instance.classes)
