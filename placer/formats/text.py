"""Text and JSON at the border: every defect becomes one line that names the file, the place and the rule."""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from placer.choices import offer
from placer.errors import InputError
from placer.formats.replace import is_special, write_text

__all__ = [
    "UNPACKED_BYTES",
    "check_writable",
    "decode",
    "parse_json",
    "read_text",
    "unpacked",
    "validate",
    "write_text",
]

M = TypeVar("M", bound=BaseModel)

BATCH_FILES = ("manifest.json", "summary.csv", "jobs.csv")
"""What a batch keeps in its folder itself; everything else of it is in folders below."""

UNPACKED_BYTES = 2**30
"""A compressed file may unpack to so much."""
GZIP = b"\x1f\x8b"
MESSAGES = {
    "missing": "this field is required",
    "extra_forbidden": "unknown field",
    "model_type": "expected an object",
    "model_attributes_type": "expected an object",
    "dict_type": "expected an object",
    "list_type": "expected a list",
    "string_type": "expected a string",
    "string_too_short": "must not be empty",
    "float_type": "expected a number",
    "int_type": "expected a whole number",
    "bool_type": "expected true or false",
    "finite_number": "expected a finite number",
}
"""Plain words for pydantic's kinds of error; the others speak for themselves."""


def read_text(path: str | Path) -> str:
    """Read a UTF-8 file, with or without a byte order mark, plain or compressed by gzip.

    Raises
    ------
    InputError
        When it cannot be read, or is not UTF-8.
    """
    if not str(path):
        raise InputError("the name of the file to read is empty")
    try:
        return decode(unpacked(Path(path).read_bytes(), str(path)), str(path))
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", source=str(path)) from None
    except ValueError as error:  # a NUL character in the path
        raise InputError(f"not a path: {error}", source=str(path)) from None


def unpacked(data: bytes, source: str, limit: int = UNPACKED_BYTES) -> bytes:
    """Unpack data that gzip compressed, and return others as they are.

    Raises
    ------
    InputError
        When they are damaged, or would become too large.
    """
    if not data.startswith(GZIP):
        return data
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        out = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        raise InputError(f"damaged gzip file: {error}", source=source) from None
    if len(out) > limit:
        raise InputError(f"unpacks to more than {limit // 2**20} MiB", source=source)
    if not unpacker.eof:
        raise InputError("damaged gzip file: it ends too early", source=source)
    return out


def decode(data: bytes, source: str) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises
    ------
    InputError
        Naming the first byte that is none.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text (byte {error.start})", source=source) from None


def parse_json(text: str, source: str) -> Any:
    """Parse JSON strictly: no NaN, no infinity, no duplicate keys, bounded depth.

    Raises
    ------
    InputError
        Naming line and column where there are any.
    """
    if not text.strip():
        raise InputError("the file is empty", source=source)
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
        # A field that is spelt wrongly is missing as well: what was written is what to look at.
        first = next((d for d in defects if d["type"] == "extra_forbidden"), defects[0])
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"]).lstrip(".")
        more = f" (and {len(defects) - 1} more defects)" if len(defects) > 1 else ""
        got = first["input"]
        shown = f", got {got!r}" if isinstance(got, str | int | float | bool) or got is None else ""
        rule = MESSAGES.get(first["type"], first["msg"].replace("Input should be", "must be"))
        if first["type"] == "extra_forbidden":
            *path, field = first["loc"]
            shown, rule = "", _unknown_field(_model_at(model, path), str(field))
        raise InputError(f"{rule}{shown}{more}", place=place) from None


def _model_at(model: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel] | None:
    """Return the model of the object at a place in a document; None where it is not plain."""
    at: Any = model
    for part in path:
        if isinstance(part, str) and _is_model(at) and part in at.model_fields:
            at = at.model_fields[part].annotation
        else:  # an item of a list, a value of a dictionary, a choice of a union
            at = get_args(at)[-1] if get_args(at) else None
        while not _is_model(at) and get_origin(at) in (Annotated, Union, UnionType):
            at = next((kind for kind in get_args(at) if kind is not type(None)), None)
    return at if _is_model(at) else None


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _unknown_field(model: type[BaseModel] | None, field: str) -> str:
    known = () if model is None else model.model_fields
    return f"unknown field{offer(field, known)}"


def check_writable(path: str | Path, *inputs: str | Path | None) -> None:
    """Find out now, not after a long solve, whether a file can be written, and that it is no input.

    Parameters
    ----------
    path
        The file to write.
    inputs
        Files and folders of batches that the command reads; None and what does not exist count for nothing.

    Raises
    ------
    InputError
        When it cannot, or when it is one of the inputs, under whatever name.
    """
    if not str(path):
        raise InputError("the name of the file to write is empty")
    for source in inputs:
        if source is not None and _is_part_of(path, source):
            what = "that is" if os.path.isfile(source) else "that belongs to"
            raise InputError(f"not overwritten: {what} the input {str(source)!r}", source=str(path))
    target = os.path.realpath(path)
    try:
        if os.path.isdir(target):
            raise InputError("cannot be written: it is a directory", source=str(path))
        if not os.path.isdir(folder := os.path.dirname(target)):
            raise InputError(f"cannot be written: there is no folder {folder}", source=str(path))
        if is_special(path):
            if not os.access(path, os.W_OK):
                raise InputError("cannot be written: permission denied", source=str(path))
            return
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".placer-"):
            pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot be written: {reason}", source=str(path)) from None


def _is_part_of(path: str | Path, source: str | Path) -> bool:
    """Whether an existing file is an input, under whatever name, or something of a batch that is one."""
    try:
        if not os.path.isdir(source):
            return os.path.samefile(path, source)
        inside = Path(os.path.realpath(path)).relative_to(os.path.realpath(source))
    except (OSError, ValueError):  # one of them does not exist, or the file is elsewhere
        return False
    return os.path.exists(path) and (len(inside.parts) > 1 or inside.name in BATCH_FILES)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return out


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number here")
