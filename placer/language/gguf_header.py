"""The header of a GGUF file: metadata, and name, shape and type of each tensor; the tensors stay unread.

A file is data of unknown origin: whatever it says is bounded before it is believed.  Source: the
specification of the format in ggml, ``docs/gguf.md``.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from placer.errors import InputError

__all__ = ["TYPES", "Header", "Tensor", "read_header"]

TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
}
"""Types of tensors by number: name, and numbers and bytes of a block."""

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
MOST_TENSORS = 2**17
MOST_KEYS = 2**16
MOST_ITEMS = 2**23
MOST_PARTS = 1000
LONGEST_NAME = 2**16
LONGEST_TEXT = 2**24
LONGEST_HEADER = 2**28
LARGEST = 2**40
KEPT_ITEMS = 4096
"""Longer arrays are vocabularies: passed over."""
PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file.

    Parameters
    ----------
    name
        Its name.
    shape
        Its shape, outermost dimension first.
    type
        Name of its type.
    size_bytes
        Its size.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    size_bytes: float


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Parameters
    ----------
    metadata
        Values by key; of long arrays None.
    tensors
        In the order of the file, of all parts.
    """

    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]


def read_header(path: str | Path) -> Header:
    """Read the header, of a split file those of all parts.

    Raises
    ------
    InputError
        When it is no GGUF file, is cut off, or says what cannot be.
    """
    file = Path(path)
    match = PART.search(file.name)
    if match is None:
        return _read(file)
    count = int(match[2])
    if not 1 <= int(match[1]) <= count <= MOST_PARTS:
        raise InputError(f"no part of a split file: {match[0][1:]}", source=str(path))
    start = file.name[: match.start()]
    names = [file.with_name(f"{start}-{k:05}-of-{count:05}.gguf") for k in range(1, count + 1)]
    missing = [part.name for part in names if not part.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"other parts are missing: {missing[0]}{more}", source=str(path))
    parts = [_read(part) for part in names]
    tensors = tuple(t for part in parts for t in part.tensors)
    return Header(parts[0].metadata, _distinct(tensors, str(path)))


def _read(path: Path) -> Header:
    try:
        with open(path, "rb", buffering=2**20) as file:
            if not file.seekable():
                raise InputError("not a file that can be searched")
            return _Reader(file, os.fstat(file.fileno()).st_size).header(str(path))
    except InputError as error:
        raise error.within(str(path)) from None
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", source=str(path)) from None
    except ValueError as error:
        raise InputError(f"not a path: {error}", source=str(path)) from None


def _distinct(tensors: tuple[Tensor, ...], source: str) -> tuple[Tensor, ...]:
    names: set[str] = set()
    for tensor in tensors:
        if tensor.name in names:
            raise InputError(f"the tensor {tensor.name!r} is there twice", source=source)
        names.add(tensor.name)
    return tensors


class _Reader:
    """Reads value after value, none beyond the end or the longest header."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left, self.order = file, min(size, LONGEST_HEADER), "<"

    def header(self, source: str) -> Header:
        if self.take(4) != b"GGUF":
            raise InputError("not a GGUF file")
        raw = self.take(4)
        if struct.unpack("<I", raw)[0] & 0xFFFF == 0:
            self.order = ">"
        version = struct.unpack(f"{self.order}I", raw)[0]
        if version not in (2, 3):
            raise InputError(f"GGUF version {version} is not known, only 2 and 3")
        tensors = self.count("tensors", MOST_TENSORS)
        keys = self.count("keys", MOST_KEYS)
        metadata: dict[str, Any] = {}
        for _ in range(keys):
            key = self.text(LONGEST_NAME)
            if key in metadata:
                raise InputError(f"the key {key!r} is there twice")
            metadata[key] = self.value(self.number("I"))
        found = tuple(self.tensor() for _ in range(tensors))
        return Header(metadata, _distinct(found, source))

    def take(self, size: int) -> bytes:
        """Read so many bytes."""
        self.need(size)
        data = self.file.read(size)
        if len(data) < size:
            raise InputError("the file ends within its header")
        return data

    def need(self, size: int) -> None:
        if size > self.left:
            raise InputError("the file ends within its header, or the header is longer than 256 MiB")
        self.left -= size

    def number(self, form: str) -> Any:
        return struct.unpack(self.order + form, self.take(struct.calcsize(form)))[0]

    def count(self, what: str, most: int) -> int:
        number = int(self.number("Q"))
        if number > most:
            raise InputError(f"{number} {what} are too many (at most {most})")
        return number

    def text(self, longest: int) -> str:
        try:
            return self.take(self.count("letters", longest)).decode("utf-8")
        except UnicodeDecodeError:
            raise InputError("a name is no UTF-8 text") from None

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.take(self.count("letters", LONGEST_TEXT)).decode("utf-8", "replace")
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind != ARRAY:
            raise InputError(f"values of type {kind} are not known")
        item, items = int(self.number("I")), self.count("items", MOST_ITEMS)
        if item == STRING:
            for _ in range(items):
                self.skip(self.count("letters", LONGEST_TEXT))
            return None
        if item not in SCALARS:
            raise InputError(f"arrays of type {item} are not known")
        form = f"{items}{SCALARS[item]}"
        if items > KEPT_ITEMS:
            return self.skip(struct.calcsize(self.order + form))
        return list(struct.unpack(self.order + form, self.take(struct.calcsize(self.order + form))))

    def skip(self, size: int) -> None:
        """Pass over bytes; short ones are read, since a search empties the buffer."""
        if size <= KEPT_ITEMS:
            self.take(size)
            return
        self.need(size)
        self.file.seek(size, os.SEEK_CUR)

    def tensor(self) -> Tensor:
        name = self.text(LONGEST_NAME)
        dimensions = int(self.number("I"))
        if not 1 <= dimensions <= 4:
            raise InputError(f"{dimensions} dimensions", place=f"tensor {name!r}")
        shape = tuple(int(self.number("Q")) for _ in range(dimensions))
        number = int(self.number("I"))
        self.take(8)
        known = TYPES.get(number)
        if known is None:
            raise InputError(f"the type {number} is not known", place=f"tensor {name!r}")
        kind, block, size = known
        if min(shape) < 1 or max(shape) > LARGEST or prod(shape) > LARGEST or shape[0] % block:
            raise InputError(f"impossible shape {list(shape)} for {kind}", place=f"tensor {name!r}")
        return Tensor(name, shape[::-1], kind, prod(shape) // block * size)
