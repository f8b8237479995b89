"""Layer profiles in the text format of PipeDream: measured forward and backward times, sizes and edges."""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path

from placer.errors import InputError
from placer.formats.text import read_text
from placer.imports.model import Kind, Model, Operator, Stash, Value, Weight
from placer.instance.origin import Source
from placer.units import MAX_BYTES, MAX_TIME_MS

__all__ = ["read_pipedream"]

FIELDS = ("forward_compute_time", "backward_compute_time", "activation_size", "parameter_size")
FLOAT32 = 4


def read_pipedream(path: str | Path) -> Model:
    """Read a profile.

    Parameters
    ----------
    path
        A file of lines ``id -- description -- key=value, ...``, then ``<tab>source -- target``.

    Raises
    ------
    InputError
        Naming the line that is wrong.
    """
    source = str(path)
    text = read_text(path)
    try:
        rows, edges = _parse(text)
    except InputError as error:
        raise error.within(source) from None
    order = _topological(list(rows), edges, source)
    reads: dict[str, list[str]] = {node: [] for node in rows}
    for a, b in edges:
        reads[b].append(a)
    operators, weights = [], {}
    for node in order:
        description, (forward, backward, _, parameters) = rows[node]
        if parameters:
            weights[node] = Weight(
                (node,), parameters, int(parameters // FLOAT32), trainable=True, tied=False
            )
        op = re.split(r"[\s(]", description, maxsplit=1)[0] or "Layer"
        operators.append(
            Operator(
                id=node,
                name=f"{node} {description}",
                op=op,
                members=(node,),
                inputs=tuple(reads[node]),
                outputs=(node,),
                weights=(node,) if parameters else (),
                flops=None,
                moved_bytes=0.0,
                kind=Kind.SUM if op == "Add" else Kind.OTHER,
                stash=Stash.OUTPUT,
                forward_ms=forward,
                backward_ms=backward,
            )
        )
    values = {node: Value(rows[node][1][2], differentiable=not _is_input(rows[node])) for node in order}
    return Model(
        name=Path(path).name.removesuffix(".txt").removesuffix(".graph"),
        source=Source("pipedream", Path(path).name, hashlib.sha256(text.encode()).hexdigest()),
        operators=tuple(operators),
        values=values,
        weights=weights,
        notes=("measured times of the profile, for every accelerator",),
    )


Row = tuple[str, tuple[float, float, float, float]]


def _is_input(row: Row) -> bool:
    """Whether a node only stands for data that come in: it has no time and no parameters."""
    forward, backward, _, parameters = row[1]
    return row[0].startswith("Input") and not (forward or backward or parameters)


def _parse(text: str) -> tuple[dict[str, Row], list[tuple[str, str]]]:
    rows: dict[str, Row] = {}
    edges: dict[tuple[str, str], None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        place = f"line {number}"
        if not line.strip():
            continue
        parts = [part.strip() for part in line.split(" -- ")]
        if line[0] == "\t":
            if len(parts) != 2:
                raise InputError("expected '<tab>source -- target'", place=place)
            for end in parts:
                if end not in rows:
                    raise InputError(f"there is no node {end!r}", place=place)
            edges[parts[0], parts[1]] = None
            continue
        stage = len(parts) > 3 and parts[-1].startswith("stage_id=")
        body = parts[:-1] if stage else parts
        if len(body) < 3:
            raise InputError("expected 'id -- description -- key=value, ...'", place=place)
        if body[0] in rows:
            raise InputError(f"duplicate id {body[0]!r}", place=place)
        rows[body[0]] = (" -- ".join(body[1:-1]), _numbers(body[-1], place))
    if not rows:
        raise InputError("there are no nodes in it")
    return rows, list(edges)


def _numbers(text: str, place: str) -> tuple[float, float, float, float]:
    """Read times (ms) and sizes (bytes); a list of activation sizes is added up."""
    found = dict(re.findall(r"(\w+)=(\[[^\]]*\]|[^,\s]+)", text))
    out = []
    for name in FIELDS:
        if name not in found:
            raise InputError(f"{name} is missing", place=place)
        limit = MAX_TIME_MS if name.endswith("time") else MAX_BYTES
        total = 0.0
        for piece in found[name].strip("[]").split(";"):
            try:
                value = float(piece)
            except ValueError:
                value = math.nan
            if not 0 <= value <= limit:
                raise InputError(f"{name} must be in 0..{limit:g}, got {piece.strip()!r}", place=place)
            total += value
        out.append(total)
    return out[0], out[1], out[2], out[3]


def _topological(nodes: list[str], edges: list[tuple[str, str]], source: str) -> list[str]:
    """Order the nodes, early ones first as numbered in the file."""
    waiting = dict.fromkeys(nodes, 0)
    after: dict[str, list[str]] = {node: [] for node in nodes}
    for a, b in edges:
        waiting[b] += 1
        after[a].append(b)
    ready = [node for node in nodes if not waiting[node]]
    order = []
    while ready:
        node = ready.pop()
        order.append(node)
        for b in after[node]:
            waiting[b] -= 1
            if not waiting[b]:
                ready.append(b)
    if len(order) < len(nodes):
        stuck = min(node for node in nodes if waiting[node])
        raise InputError("the graph has a cycle", place=f"node {stuck!r}", source=source)
    return order
