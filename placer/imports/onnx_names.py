"""What operators of ONNX files are called, and which module they belong to."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Any

__all__ = ["module_of", "readable_name"]

WEIGHT_SUFFIX = re.compile(
    r"[._/]?(?:weight|bias|scale|gamma|beta|running_mean|running_var|[wbsm])?(?:_\d+)?$"
)


def module_of(node: Any, weights: tuple[str, ...]) -> str | None:
    """Find the module in the node's name (``/layer.0/Add``) or its weights' (``layer.0.fc.weight``)."""
    parts = [part for part in node.name.split("/") if part]
    if node.name.startswith("/") and len(parts) > 1:
        return ".".join(parts[:-1])
    dotted = [w.rpartition(".")[0] for w in weights if w.count(".") > 1]
    return dotted[0] if dotted else None


def readable_name(node: Any, weights: list[str]) -> str:
    """Name for people: that of the weights where the node's says nothing."""
    if "/" in node.name or not weights:
        return str(node.name or node.output[0])
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*weights, strict=False))
    common = "".join(letters[0] for letters in same)
    stem = WEIGHT_SUFFIX.sub("", common)
    return f"{stem} {node.op_type}" if len(stem) > 2 else str(node.name or node.output[0])
