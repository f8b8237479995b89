"""Graphviz: the graph with one box per device."""

from __future__ import annotations

from pathlib import Path

from placer.exports.placement import Placement

__all__ = ["write"]

COLOURS = ("#8dd3c7", "#ffffb3", "#bebada", "#fb8072", "#80b1d3", "#fdb462", "#b3de69", "#fccde5", "#d9d9d9")


def write(placement: Placement, path: Path) -> list[str]:
    """Write the graph; backward nodes are dashed, edges between devices are red."""
    instance = placement.instance
    lines = [
        f"digraph {_quoted(instance.name)} {{",
        '  node [shape=box, style=filled, fontname="sans-serif"];',
    ]
    piece = [-1] * instance.n if placement.plan.piece is None else placement.plan.piece.tolist()
    several = max(piece) > 0
    recomputing = set(placement.plan.device[placement.plan.computed_again].tolist())
    for d, report in zip(instance.devices, placement.result.devices, strict=True):
        members = [v for v in range(instance.n) if placement.plan.device[v] == d.index]
        if not members:
            continue
        lines.append(f"  subgraph cluster_{d.index} {{")
        label = f"{placement.label(d.index)}: {report.load_ms:.6g} ms"
        if d.index in recomputing:
            label += ", recomputes activations"
        lines.append(f"    label={_quoted(label)};")
        lines.append(f'    node [fillcolor="{COLOURS[d.index % len(COLOURS)]}"];')
        for v in members:
            style = ', style="filled,dashed"' if instance.backward[v] else ""
            name = instance.names[v] + (f" (piece {piece[v] + 1})" if piece[v] >= 0 and several else "")
            lines.append(f"    n{v} [label={_quoted(name)}{style}];")
        lines.append("  }")
    for u, w in instance.edges.tolist():
        crosses = placement.plan.device[u] != placement.plan.device[w]
        lines.append(f"  n{u} -> n{w}{' [color=red]' if crosses else ''};")
    path.write_text("\n".join([*lines, "}"]) + "\n", encoding="utf-8")
    return []


def _quoted(text: str) -> str:
    """Quote a string; in DOT a backslash would start an escape of its own."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
