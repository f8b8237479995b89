"""Reading JSON files: every defect becomes one line that names the file, the place and the rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from placer.errors import InputError
from placer.formats import paper
from placer.instance import Instance

__all__ = ["load", "parse_json", "read_text", "validate"]

M = TypeVar("M", bound=BaseModel)


def load(path: str | Path) -> Instance:
    """Read an instance file, in the native or the paper's JSON format (recognised by content).

    Raises
    ------
    InputError
        One line that names the file, the place and the rule broken.
    """
    source = str(path)
    document = parse_json(read_text(path), source)
    try:
        if paper.is_paper_instance(document):
            return paper.to_instance(validate(paper.PaperInstance, document), Path(path).stem)
    except InputError as error:
        raise error.within(source) from None
    raise InputError("neither a placer instance nor the paper's format", source=source)


def read_text(path: str | Path) -> str:
    """Read a UTF-8 file; raise InputError where that fails."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text (byte {error.start})", source=str(path)) from None
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", source=str(path)) from None


def parse_json(text: str, source: str) -> Any:
    """Parse JSON strictly: no NaN, no infinity, no duplicate keys, bounded depth."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise InputError(
            f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})", source=source
        ) from None
    except RecursionError:
        raise InputError("not acceptable JSON: nested too deeply", source=source) from None
    except ValueError as error:
        raise InputError(f"not acceptable JSON: {error}", source=source) from None


def validate(model: type[M], document: Any) -> M:
    """Validate a document against a model; the first defect becomes an InputError."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        defects = error.errors(include_url=False, include_context=False)
        first = defects[0]
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"]).lstrip(".")
        more = f" (and {len(defects) - 1} more defects)" if len(defects) > 1 else ""
        got = first["input"]
        shown = f", got {got!r}" if isinstance(got, str | int | float | bool) or got is None else ""
        raise InputError(f"{first['msg']}{shown}{more}", place=place) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return out


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number here")
