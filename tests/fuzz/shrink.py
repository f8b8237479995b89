"""Make a failing case smaller while the failure stays."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.fuzz.case import Case

Failing = Callable[[Case], bool]


def shrink(case: Case, failing: Failing, most: int = 2000) -> Case:
    """Drop nodes, edges, devices, fields and options one by one until nothing more can go."""
    tries = 0
    again = True
    while again:
        again = False
        for smaller in _smaller(case):
            tries += 1
            if tries > most:
                return case
            if _fails(failing, smaller):
                case, again = smaller, True
                break
    return case


def _fails(failing: Failing, case: Case) -> bool:
    try:
        return failing(case)
    except Exception:  # the smaller document is no document
        return False


def _smaller(case: Case) -> Iterator[Case]:
    document, options = case.document, case.options
    for node in document["nodes"]:
        if len(document["nodes"]) > 1:
            yield _without_node(case, node["id"])
    for k, cls in enumerate(document["cluster"]["classes"]):
        yield _changed(case, lambda d, k=k: d["cluster"]["classes"].pop(k))
        if cls["count"] > 1:
            yield _changed(
                case, lambda d, k=k, x=cls["count"] - 1: _set(d["cluster"]["classes"][k], "count", x)
            )
        for key in ("memory_limit_bytes", "memory_reserve_bytes", "link"):
            if key in cls:
                yield _changed(case, lambda d, k=k, key=key: d["cluster"]["classes"][k].pop(key))
        for key in cls.get("link", ()):
            yield _changed(case, lambda d, k=k, key=key: d["cluster"]["classes"][k]["link"].pop(key))
    for where in ("order", "servers"):
        for k in range(len(document["cluster"].get(where, ()))):
            yield _changed(case, lambda d, k=k, where=where: d["cluster"][where].pop(k))
    for e in range(len(document["edges"])):
        yield _changed(case, lambda d, e=e: d["edges"].pop(e))
    for key in ("constraints", "training", "source"):
        if key in document:
            yield _changed(case, lambda d, key=key: d.pop(key))
        for part in document.get(key, ()):
            yield _changed(case, lambda d, key=key, part=part: d[key].pop(part))
    for k, node in enumerate(document["nodes"]):
        for key in node:
            if key not in ("id", "time_ms"):
                yield _changed(case, lambda d, k=k, key=key: d["nodes"][k].pop(key))
        for kind in node["time_ms"]:
            yield _changed(case, lambda d, k=k, kind=kind: d["nodes"][k]["time_ms"].pop(kind))
    for key, value in options.items():
        if key != "gap":
            yield replace(case, options={k: x for k, x in options.items() if k != key})
        if isinstance(value, dict):
            for part in value:
                yield replace(case, options={**options, key: {k: x for k, x in value.items() if k != part}})
    yield from _rounder(case)


def _rounder(case: Case) -> Iterator[Case]:
    """Numbers with fewer digits."""
    for k, node in enumerate(case.document["nodes"]):
        for kind, time in node["time_ms"].items():
            for value in _rounded(time):
                yield _changed(
                    case, lambda d, k=k, kind=kind, x=value: _set(d["nodes"][k]["time_ms"], kind, x)
                )
        for key in ("memory_bytes", "weight_bytes", "activation_bytes", "transfer_ms", "output_bytes"):
            for value in _rounded(node.get(key, 0.0)):
                yield _changed(case, lambda d, k=k, key=key, x=value: _set(d["nodes"][k], key, x))


def _rounded(value: float) -> list[float]:
    return [x for x in (0.0, 1.0, float(f"{value:.1g}"), float(f"{value:.2g}")) if x != value and value][:4]


def _set(where: dict[str, Any], key: str, value: object) -> None:
    where[key] = value


def _changed(case: Case, change: Callable[[dict[str, Any]], object]) -> Case:
    document = copy.deepcopy(case.document)
    change(document)
    return replace(case, document=document)


def _without_node(case: Case, gone: str) -> Case:
    document, options = copy.deepcopy(case.document), copy.deepcopy(case.options)
    document["nodes"] = [v for v in document["nodes"] if v["id"] != gone]
    document["edges"] = [e for e in document["edges"] if gone not in e]
    for where in (document.get("constraints", {}), options):
        for key in ("apart", "together"):
            if key in where:
                groups = [[v for v in group if v != gone] for group in where[key]]
                where[key] = [group for group in groups if len(group) > 1]
    for key in ("pin", "forbid", "near"):
        options.get(key, {}).pop(gone, None)
    return replace(case, document=document, options=options)
