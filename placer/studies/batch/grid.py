"""Combinations of options: which make sense, and which do not and why."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from placer.choices import none_of
from placer.errors import InputError, UsageError
from placer.formats.text import read_text
from placer.methods.registry import METHODS
from placer.options import Options
from placer.solving.request import make_options

__all__ = ["Grid", "expand", "labels", "read_grid"]

Grid = Mapping[str, Any]
"""For each option one value or a list of values; ``methods`` is another name for ``method``."""

COLLECTIONS = frozenset(
    name for name, field in Options.model_fields.items() if isinstance(field.default, dict | tuple)
)
"""Options whose one value is a collection itself; they do not vary within a grid."""


def expand(grids: Sequence[Grid]) -> tuple[list[Options], list[str]]:
    """Combine all values of each grid.

    Returns
    -------
    options : list of Options
        The combinations that make sense, each once.
    left_out : list of str
        The others, with the reason.

    Raises
    ------
    UsageError
        When an option or a method does not exist, or nothing is left.
    """
    chosen: dict[str, Options] = {}
    left_out: list[str] = []
    for grid in grids:
        axes = _axes(grid)
        for values in itertools.product(*axes.values()):
            combination = dict(zip(axes, values, strict=True))
            try:
                options = make_options(**combination)
                if options.split is not None or METHODS[options.method].split:
                    raise UsageError("a split belongs to one instance; use placer solve")
            except UsageError as error:
                named = ", ".join(f"{name} {value}" for name, value in combination.items())
                left_out.append(f"{named}: {error}")
                continue
            chosen.setdefault(options.model_dump_json(), options)
    if not chosen:
        raise UsageError(f"no combination of the options makes sense: {left_out[0]}")
    return list(chosen.values()), left_out


def read_grid(path: str | Path) -> list[dict[str, Any]]:
    """Read grids from a TOML file: one table of options, or several called ``[[grid]]``.

    Raises
    ------
    InputError
        When it cannot be read or is no TOML.
    """
    try:
        document = tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"not TOML: {error}", source=str(path)) from None
    grids = document.pop("grid", None)
    if grids is None:
        return [document]
    if document or not (isinstance(grids, list) and grids and all(isinstance(g, dict) for g in grids)):
        raise InputError("expected either options or tables called [[grid]]", source=str(path))
    return grids


def labels(options: Sequence[Options]) -> dict[str, str]:
    """Name each combination (by its JSON) by its method and the options in which the batch varies."""
    every = {o.model_dump_json(): o.model_dump(mode="json") for o in options}
    varying = [
        name
        for name in Options.model_fields
        if name != "method" and len({str(values[name]) for values in every.values()}) > 1
    ]
    return {
        key: " ".join([values["method"], *(f"{name}={values[name]}" for name in varying)])
        for key, values in every.items()
    }


def _axes(grid: Grid) -> dict[str, list[Any]]:
    """Give each option a list of values; unknown names are errors, not combinations to leave out."""
    axes: dict[str, list[Any]] = {}
    for name, value in grid.items():
        option = "method" if name == "methods" else name
        if option not in Options.model_fields:
            raise UsageError(none_of("option", name, Options.model_fields))
        many = isinstance(value, list | tuple) and option not in COLLECTIONS
        values = list(value) if many else [value]
        if not values or option in axes:
            raise UsageError(f"option {name}: {'given twice' if values else 'no value'}")
        axes[option] = values
    for method in axes.get("method", []):
        if method not in METHODS:
            raise UsageError(none_of("method", method, METHODS))
    return axes
