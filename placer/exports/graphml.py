"""GraphML, written by networkx: scalar attributes only."""

from __future__ import annotations

import math
import re
from pathlib import Path

import networkx as nx

from placer.errors import UsageError
from placer.exports.placement import Placement
from placer.exports.table import rows

__all__ = ["write"]

NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML 1.0 does not allow."""


def write(placement: Placement, path: Path) -> list[str]:
    """Write the graph with device, part and costs on every node; edges say whether they cross devices.

    Raises
    ------
    UsageError
        When two ids differ only in characters that XML does not allow.
    """
    instance = placement.instance
    if len({_text(name) for name in instance.ids}) < instance.n:
        raise UsageError("graphml cannot express ids that differ only in characters that XML does not allow")
    graph = nx.DiGraph(name=_text(instance.name))
    for row in rows(placement):
        attributes = {key: _text(value) if isinstance(value, str) else value for key, value in row.items()}
        graph.add_node(
            attributes.pop("id"), **{key: value for key, value in attributes.items() if _is_scalar(value)}
        )
    for u, w in instance.edges.tolist():
        crosses = bool(placement.plan.device[u] != placement.plan.device[w])
        graph.add_edge(_text(instance.ids[u]), _text(instance.ids[w]), crosses=crosses)
    nx.write_graphml_xml(graph, path, encoding="utf-8")
    return []


def _text(value: str) -> str:
    return NOT_XML.sub("\N{REPLACEMENT CHARACTER}", value)


def _is_scalar(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))
