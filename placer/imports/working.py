"""Working memory: what a device needs for activations beside what its nodes keep.

A device that runs some of the operators, in their order, never holds more at an operator t than the
values that are live at t when the whole model runs in that order, L(t): what it produced or received and
still needs is among them. (Training: the gradients that are live when t runs backward belong to the same
values; what is kept until then is counted apart, as activations.) So a part p needs P(p) = max L(t) over
its operators, and a device that holds the parts S needs max P(p) over S. Plans know sums only. A reserve
R on every device covers all parts with P(p) <= R; the few others form groups, connected by the values
they pass. Such a group C stays on one device and brings max P(p) - R over C along, once. Hence for every
S that keeps groups whole, max P over S is at most R plus what S brings along: safe for every plan. R is
the smallest that costs little otherwise: with everything on one device, the sum exceeds the truth by at
most `SURPLUS`, and groups tie together little besides their dearest part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from placer.imports.granularity import Part
from placer.imports.model import Kind, Model, consumers

__all__ = ["Working", "live_bytes", "working"]

SURPLUS = 0.1
"""By how much the sum may exceed the truth for a device that holds everything."""
TIED = 0.02
"""Share of the model's time that groups may tie to their dearest part."""
CANDIDATES = 64


@dataclass(frozen=True)
class Working:
    """Working memory of the parts of a model.

    Parameters
    ----------
    reserve_bytes
        What every device needs.
    excess_bytes
        What a part needs beyond, by part; one part of each group has it.
    groups
        Parts of more than one that stay together.
    """

    reserve_bytes: float
    excess_bytes: Mapping[int, float]
    groups: tuple[tuple[int, ...], ...]


def live_bytes(model: Model) -> list[float]:
    """Bytes of activations that are live while each operator runs, in their order.

    A view shows the bytes of another value, which live as long as the view does; where views repeat these
    bytes, the largest counts, since it may be sent as it looks.
    """
    root: dict[str, str] = {}
    for o in model.operators:
        if o.kind is Kind.VIEW and o.inputs:
            root |= dict.fromkeys(o.outputs, root.get(o.inputs[0], o.inputs[0]))
    last: dict[str, int] = {}
    for i, o in enumerate(model.operators):
        last |= {root.get(key, key): i for key in (*o.inputs, *o.outputs)}
    last |= {root.get(key, key): len(model.operators) for key in model.outputs}
    ends: dict[int, list[str]] = {}
    for key, i in last.items():
        ends.setdefault(i, []).append(key)
    produced = {key for o in model.operators for key in o.outputs}
    size = {key: value.size_bytes for key, value in model.values.items()}
    for key, shown in root.items():
        size[shown] = max(size[shown], size[key])
    live = sum(size[key] for key in last if key not in produced)
    out = []
    for i, o in enumerate(model.operators):
        live += sum(size[key] for key in o.outputs if key not in root)
        out.append(live)
        live -= sum(size[key] for key in ends.get(i, ()))
    return out


def working(model: Model, parts: Sequence[Part], time: Sequence[float]) -> Working:
    """Divide the working memory into a reserve and what a few parts bring along.

    Parameters
    ----------
    model
        The model.
    parts
        What becomes a node, in topological order.
    time
        Time of each part, of any scale.
    """
    live = live_bytes(model)
    peak = [max(live[i] for i in part.operators) for part in parts]
    part_of = {i: p for p, part in enumerate(parts) for i in part.operators}
    readers = consumers(model.operators)
    neighbours: list[set[int]] = [set() for _ in parts]
    for i, o in enumerate(model.operators):
        for key in o.outputs:
            for j in readers.get(key, ()):
                if part_of[i] != part_of[j]:
                    neighbours[part_of[i]].add(part_of[j])
                    neighbours[part_of[j]].add(part_of[i])
    most, total = max(peak), sum(time)
    levels = sorted(set(peak))
    for reserve in levels[:: max(1, len(levels) // CANDIDATES)]:
        groups = _connected([p for p, size in enumerate(peak) if size > reserve], neighbours)
        excess = {max(g, key=lambda p: peak[p]): max(peak[p] for p in g) - reserve for g in groups}
        tied = sum(sum(time[p] for p in g) - max(time[p] for p in g) for g in groups)
        if reserve + sum(excess.values()) <= (1 + SURPLUS) * most and tied <= TIED * total:
            return Working(reserve, excess, tuple(tuple(g) for g in groups if len(g) > 1))
    return Working(most, {}, ())


def _connected(parts: Sequence[int], neighbours: Sequence[set[int]]) -> list[list[int]]:
    """Split some parts into groups that pass values among themselves."""
    left, out = set(parts), []
    for first in parts:
        if first not in left:
            continue
        left.remove(first)
        group, at = [first], 0
        while at < len(group):
            found = neighbours[group[at]] & left
            left -= found
            group += sorted(found)
            at += 1
        out.append(sorted(group))
    return out
