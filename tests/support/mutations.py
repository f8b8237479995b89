"""Instance files that were damaged in every way that files are; a seed names them for ever."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

HUGE = (
    "1e308",
    "-1e308",
    "1e999",
    "9" * 400,
    "9" * 5000,
    str(2**63),
    str(-(2**63) - 1),
    "1e-400",
    "4e15",
    "-0",
)
SWAPS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, 3, 100_000, "", "a", "\u202e", "../../etc/passwd", "\x1b[31m", "NaN",
    [], {}, [[]], [None], {"a": 1}, [1, 2, 3], "x" * 10_000,
)  # fmt: skip
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7", "cp037", "latin-1")
MARK = "\uffff mark \uffff"


def mutants(bases: list[Any], count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Damage the documents ``bases`` in ``count`` ways; gives the kind of damage and the bytes."""
    rng = np.random.default_rng(seed)
    kinds = (flipped, cut, swapped, huge, nested, recoded, reordered)
    for i in range(count):
        kind = kinds[i % len(kinds)]
        yield f"{kind.__name__} {i}", kind(rng, bases[int(rng.integers(len(bases)))])


def flipped(rng: np.random.Generator, base: Any) -> bytes:
    data = bytearray(json.dumps(base).encode())
    for _ in range(int(rng.integers(1, 9))):
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(data)


def cut(rng: np.random.Generator, base: Any) -> bytes:
    data = json.dumps(base).encode()
    start = int(rng.integers(len(data))) if rng.random() < 0.3 else 0
    return data[start : start + int(rng.integers(len(data)))]


def swapped(rng: np.random.Generator, base: Any) -> bytes:
    """One to three values become values of another type."""
    document = copy.deepcopy(base)
    for _ in range(int(rng.integers(1, 4))):
        document = _put(rng, document, copy.deepcopy(SWAPS[int(rng.integers(len(SWAPS)))]))
    return json.dumps(document).encode()


def huge(rng: np.random.Generator, base: Any) -> bytes:
    """One to three numbers become tremendous; what JSON cannot write is put in as text."""
    text = json.dumps(base)
    for _ in range(int(rng.integers(1, 4))):
        text = json.dumps(_put(rng, json.loads(text), MARK, numbers=True))
        text = text.replace(json.dumps(MARK), HUGE[int(rng.integers(len(HUGE)))])
        try:
            json.loads(text)
        except ValueError:  # more digits than Python reads: no second change
            break
    return text.encode()


def nested(rng: np.random.Generator, base: Any) -> bytes:
    depth = int(10 ** rng.uniform(1, 5.5))
    left, right = ("[", "]") if rng.random() < 0.5 else ('{"a":', "}")
    text = json.dumps(_put(rng, copy.deepcopy(base), MARK))
    return text.replace(json.dumps(MARK), left * depth + "1" + right * depth).encode()


def recoded(rng: np.random.Generator, base: Any) -> bytes:
    document = _put(rng, copy.deepcopy(base), "é ß 語" if rng.random() < 0.5 else "\xff")
    encoding = ENCODINGS[int(rng.integers(len(ENCODINGS)))]
    return json.dumps(document, ensure_ascii=False).encode(encoding, errors="replace")


def reordered(rng: np.random.Generator, base: Any) -> bytes:
    """Objects lose, rename or repeat a field, lists lose or repeat an entry."""
    document = copy.deepcopy(base)
    for _ in range(int(rng.integers(1, 4))):
        holders = [h for h, _ in _places(document)]
        if not holders:
            break
        holder = holders[int(rng.integers(len(holders)))]
        if isinstance(holder, list):
            at = int(rng.integers(len(holder)))
            holder[at : at + 1] = [holder[at]] * int(rng.choice([0, 2, 3]))
        else:
            key = list(holder)[int(rng.integers(len(holder)))]
            value = holder.pop(key)
            if rng.random() < 0.5:
                holder[f"{key}s"] = value
    return json.dumps(document).encode()


def _put(rng: np.random.Generator, document: Any, value: Any, *, numbers: bool = False) -> Any:
    places = _places(document)
    if numbers:
        places = [p for p in places if isinstance(p[0][p[1]], int | float)] or places
    if not places:
        return value
    holder, key = places[int(rng.integers(len(places)))]
    holder[key] = value
    return document


def _places(document: Any) -> list[tuple[Any, Any]]:
    """List all (container, key) of a document."""
    keys: list[Any] = []
    if isinstance(document, dict):
        keys = list(document)
    elif isinstance(document, list):
        keys = list(range(len(document)))
    return [(document, key) for key in keys] + [p for key in keys for p in _places(document[key])]
