"""Merging operators into layers or modules, so that the graph stays acyclic.

Parts are numbered so that no edge leads from a higher to a lower number: an operator joins the part of a
producer only if that is the highest-numbered part it reads from, and otherwise opens a new one.  The quotient
graph is therefore acyclic by construction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile

from placer.errors import UsageError
from placer.imports.model import Model, Operator, consumers, producers
from placer.imports.module_blocks import block_labels, opens

__all__ = ["Granularity", "Part", "partition"]


class Granularity(StrEnum):
    """What becomes one node."""

    OPERATOR = "operator"
    """Each operator."""
    LAYER = "layer"
    """Each product or look-up with weights, with what follows it up to the next."""
    MODULE = "module"
    """Each repeated block of the model."""
    SUBLAYER = "sublayer"
    """Of language models: attention, MLP, router, shared and routed experts of each layer."""
    EXPERT = "expert"
    """As sublayer, each routed expert by itself."""


@dataclass(frozen=True)
class Part:
    """Operators that become one node.

    Parameters
    ----------
    id
        Unique.
    name
        For people.
    module
        Common module path of its operators, if any.
    operators
        Indices of its operators, ascending.
    """

    id: str
    name: str
    module: str | None
    operators: tuple[int, ...]


def partition(model: Model, by: Granularity) -> tuple[Part, ...]:
    """Partition the operators.

    Parameters
    ----------
    model
        The model.
    by
        What becomes one node.

    Returns
    -------
    tuple[Part, ...]
        In topological order.

    Raises
    ------
    UsageError
        When the model has no such parts.
    """
    operators = model.operators
    if by is Granularity.OPERATOR:
        return tuple(Part(o.id, o.name, o.module, (i,)) for i, o in enumerate(operators))
    if by is Granularity.LAYER:
        return _named(operators, _layers(operators), [o.module if opens(o) else None for o in operators])
    if by in (Granularity.SUBLAYER, Granularity.EXPERT):
        sublayers = [o.sublayer for o in operators]
        if None in sublayers:
            raise UsageError(f"by {by} applies to language models (import hf, import gguf)")
        return _named(operators, _modules(operators, sublayers), sublayers)
    labels = block_labels(model)
    if sum(label is not None for label in labels) * 2 >= len(operators) and len(set(labels)) > 2:
        return _named(operators, _modules(operators, labels), labels)
    return _named(operators, _blocks(operators), [None] * len(operators), fallback="block")


def _layers(operators: Sequence[Operator]) -> list[int]:
    """Assign parts: layers open them, the rest trails."""
    return _grow(operators, lambda i, latest: opens(operators[i]) or latest is None)


def _modules(operators: Sequence[Operator], labels: Sequence[str | None]) -> list[int]:
    """Assign parts by module; an operator of no block joins what it reads from."""
    newest: dict[str, int] = {}
    part: list[int] = []
    before = producers(operators)
    count = 0
    for i, o in enumerate(operators):
        latest = max((part[before[key]] for key in o.inputs if key in before), default=None)
        label = labels[i]
        if label is None and latest is not None:
            part.append(latest)
            continue
        known = newest.get(label) if label is not None else None
        if known is None or (latest is not None and known < latest):
            known, count = count, count + 1
            if label is not None:
                newest[label] = known
        part.append(known)
    return _sink_leaders(operators, part, lambda i: labels[i] is None)


def _grow(operators: Sequence[Operator], starts: Callable[[int, int | None], bool]) -> list[int]:
    part: list[int] = []
    before = producers(operators)
    count = 0
    for i, o in enumerate(operators):
        latest = max((part[before[key]] for key in o.inputs if key in before), default=None)
        if starts(i, latest) or latest is None:
            latest, count = count, count + 1
        part.append(latest)
    return _sink_leaders(operators, part, lambda i: not opens(operators[i]))


def _sink_leaders(operators: Sequence[Operator], part: list[int], light: Callable[[int], bool]) -> list[int]:
    """Move parts without anything of weight into the first part that reads them."""
    readers = consumers(operators)
    heavy = {part[i] for i in range(len(operators)) if not light(i)}
    for i in reversed(range(len(operators))):
        if part[i] in heavy:
            continue
        after = [part[j] for key in operators[i].outputs for j in readers.get(key, ())]
        if after:
            part[i] = min(after)
    return part


def _blocks(operators: Sequence[Operator]) -> list[int]:
    """Assign blocks: what lies between points where later operators read a single value.

    What follows such a point without a layer of its own belongs to the block before it.
    """
    readers = consumers(operators)
    last = {key: max(readers.get(key, [i])) for i, o in enumerate(operators) for key in o.outputs}
    live: set[str] = set()
    segments: list[list[int]] = [[]]
    for i, o in enumerate(operators):
        segments[-1].append(i)
        live |= {key for key in o.outputs if last[key] > i}
        live -= {key for key in o.inputs if last.get(key, i) <= i}
        if len(live) <= 1:
            segments.append([])
    part: list[int] = []
    block, opened = 0, False
    for segment in segments:
        layers = any(opens(operators[i]) for i in segment)
        if layers and opened:
            block += 1
        opened = opened or layers
        part += [block] * len(segment)
    return part


def _named(
    operators: Sequence[Operator], part: Sequence[int], labels: Sequence[str | None], fallback: str = ""
) -> tuple[Part, ...]:
    members: dict[int, list[int]] = {}
    for i, p in enumerate(part):
        members.setdefault(p, []).append(i)
    used: Counter[str] = Counter()
    out = []
    for k, p in enumerate(sorted(members)):
        mine = members[p]
        lead = next((i for i in mine if opens(operators[i])), mine[0])
        label = labels[lead] or next((labels[i] for i in mine if labels[i]), None)
        own = operators[lead].name
        name = label or (f"{fallback}{k}: {own.removesuffix(f' {operators[lead].op}')}" if fallback else own)
        node = label or (f"{fallback}{k}" if fallback else operators[lead].id)
        used[node] += 1
        if used[node] > 1:
            node, name = f"{node}#{used[node]}", f"{name} #{used[node]}"
        paths = [path for i in mine if (path := operators[i].module)]
        out.append(Part(node, name, label or _common(paths), tuple(mine)))
    return tuple(out)


def _common(paths: list[str]) -> str | None:
    """Longest dotted path that all begin with."""
    pieces = zip(*(path.split(".") for path in paths), strict=False)
    return ".".join(same[0] for same in takewhile(lambda p: len(set(p)) == 1, pieces)) or None
