"""Measured times: CSV with the columns node, type and ms, or the profile that ONNX Runtime writes."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from placer.choices import offer
from placer.errors import InputError, UsageError
from placer.formats.csv_table import read_cell, to_csv
from placer.formats.text import parse_json, read_text
from placer.imports.catalogue import Cluster
from placer.imports.model import Kind, Operator
from placer.units import MAX_TIME_MS

__all__ = ["BACKWARD", "COLUMNS", "ROOT", "Profile", "kernel_times", "read_profiles", "times_to_csv"]

COLUMNS = ("node", "type", "ms")
BACKWARD = "/backward"
"""Ends the name of the backward pass of an operator or module."""
ROOT = "."
"""The model itself, where modules are measured."""
KERNEL = "_kernel_time"


@dataclass(frozen=True)
class Profile:
    """Measured times on one device type.

    Parameters
    ----------
    source
        The file.
    type
        The device type.
    ms
        Milliseconds by operator, or by module for what its operators take together; ``NAME/backward`` for
        backward passes.
    """

    def key(self, operator: Operator) -> str | None:
        """Under which name an operator is measured; None when it is not."""
        known = (operator.id, *operator.members, operator.alias, operator.name)
        return next((key for key in known if key is not None and key in self.ms), None)

    def by_module(self, operators: Sequence[Operator]) -> dict[str, list[int]]:
        """Find the modules that are measured: indices of their operators that are not measured themselves."""
        out: dict[str, list[int]] = {}
        for i, o in enumerate(operators):
            path = o.module or ROOT
            if path in self.ms and o.kind is not Kind.VIEW and self.key(o) is None:
                out.setdefault(path, []).append(i)
        return out

    source: str
    type: str
    ms: Mapping[str, float]

    def check_used(self, hits: int) -> None:
        """Refuse a profile of something else.

        Raises
        ------
        InputError
            When it measured no operator of the model.
        """
        if not hits:
            raise InputError("it measures no operator of this model", source=self.source)


def read_profiles(settings: Sequence[str], cluster: Cluster) -> list[Profile]:
    """Read ``[TYPE=]FILE`` settings.

    Parameters
    ----------
    settings
        Files; TYPE is the device type of an ONNX Runtime profile, or replaces the types of a CSV file.
    cluster
        The cluster that the times are for.

    Raises
    ------
    InputError
        Naming the file and the line that is wrong.
    UsageError
        When the device type is not clear or not in the cluster.
    """
    out = []
    for setting in settings:
        kind, equals, path = setting.partition("=")
        if not equals or kind not in cluster.types:
            kind, path = "", setting
        text = read_text(path)
        tables = (
            {kind or _type_of_runtime(cluster, path): kernel_times(parse_json(text, path), path)}
            if text.lstrip().startswith(("[", "{"))
            else _read_csv(text, path, kind)
        )
        for name, ms in tables.items():
            if name not in cluster.types:
                raise UsageError(
                    f"{path}: the cluster has no device type {name!r}{offer(name, cluster.types)} "
                    "(--profile TYPE=FILE applies the times to another)"
                )
            out.append(Profile(path, name, ms))
    return out


def _type_of_runtime(cluster: Cluster, path: str) -> str:
    if len(cluster.types) == 1:
        return next(iter(cluster.types))
    raise UsageError(
        f"{path}: say which device it was measured on: --profile TYPE={path}, TYPE one of "
        + ", ".join(cluster.types)
    )


def _read_csv(text: str, source: str, kind: str) -> dict[str, dict[str, float]]:
    rows = csv.reader(io.StringIO(text))
    try:
        head = tuple(cell.strip() for cell in next(rows, []))
        if head != COLUMNS:
            raise InputError(
                f"expected the columns {','.join(COLUMNS)}, got {','.join(head)!r}", source=source
            )
        tables: dict[str, dict[str, float]] = {}
        for row in rows:
            place = f"line {rows.line_num}"
            if not row:
                continue
            if len(row) != len(COLUMNS):
                raise InputError(f"expected {len(COLUMNS)} cells, got {len(row)}", place=place, source=source)
            table = tables.setdefault(kind or row[1].strip(), {})
            name = read_cell(row[0])
            if name in table:
                raise InputError(f"{name!r} is measured twice", place=place, source=source)
            table[name] = _milliseconds(row[2], place, source)
    except csv.Error as error:
        raise InputError(f"not CSV: {error}", source=source) from None
    if not tables:
        raise InputError("there are no measured times in it", source=source)
    return tables


def _milliseconds(text: str, place: str, source: str) -> float:
    try:
        ms = float(text)
    except ValueError:
        ms = math.nan
    if not 0 <= ms <= MAX_TIME_MS:
        raise InputError(
            f"expected milliseconds in 0..{MAX_TIME_MS:g}, got {text!r}", place=place, source=source
        )
    return ms


def kernel_times(document: Any, source: str, *, skip: int = 0) -> dict[str, float]:
    """Take the median time (ms) of each operator in a profile of ONNX Runtime; ``skip`` runs do not count.

    Raises
    ------
    InputError
        When it is no such profile.
    """
    events = document.get("traceEvents") if isinstance(document, dict) else document
    if not isinstance(events, list):
        raise InputError("not a profile of ONNX Runtime: expected a list of events", source=source)
    samples: dict[str, list[float]] = {}
    for event in events:
        if not isinstance(event, dict) or event.get("cat") != "Node":
            continue
        name, took = event.get("name"), event.get("dur")
        if not isinstance(name, str) or not name.endswith(KERNEL):
            continue
        if not isinstance(took, int | float) or not 0 <= took <= MAX_TIME_MS:
            raise InputError(f"event {name!r} has no duration", source=source)
        samples.setdefault(re.sub(rf"{KERNEL}$", "", name), []).append(took / 1e3)
    samples.pop("", None)  # operators without a name cannot be told apart
    if not samples:
        raise InputError("not a profile of ONNX Runtime: no named operator has a kernel time", source=source)
    return {name: median(times[skip:] or times) for name, times in samples.items()}


def times_to_csv(ms: Mapping[str, float], kind: str) -> str:
    """Write measured times."""
    rows = ((name, kind, float(f"{time:.6g}")) for name, time in ms.items())
    return to_csv(COLUMNS, (dict(zip(COLUMNS, row, strict=True)) for row in rows))
