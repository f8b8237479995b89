"""Reading the answers of ``placer serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from placer.errors import InputError
from placer.formats.text import parse_json, read_text, validate
from placer.serving.serving_plan import ServingResult

__all__ = ["is_serving_result", "load_serving_result"]


def is_serving_result(document: Any) -> bool:
    """Whether a document says that it is an answer of ``placer serve``."""
    return isinstance(document, dict) and document.get("format") == "placer-serving-result"


def load_serving_result(path: str | Path) -> ServingResult:
    """Read an answer.

    Raises
    ------
    InputError
        One line that names the file, the place and the rule broken.
    """
    document = parse_json(read_text(path), str(path))
    if not is_serving_result(document):
        raise InputError('the format is not "placer-serving-result" (placer serve)', source=str(path))
    try:
        return validate(ServingResult, document)
    except InputError as error:
        raise error.within(str(path)) from None
