"""Requests to a language model: when each comes, how much it asks, and how much is answered."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from placer.errors import InputError, UsageError
from placer.formats.text import read_text

__all__ = ["MAX_REQUESTS", "Request", "poisson", "read_requests"]

MAX_REQUESTS = 1_000_000
MAX_TOKENS = 2**31
OWN = ("arrival_s", "prompt_tokens", "output_tokens")
AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
"""Columns of the published traces of language models on Azure (Splitwise, ISCA 2024)."""


@dataclass(frozen=True)
class Request:
    """A prompt and the length of its answer.

    Parameters
    ----------
    arrival_ms
        When it comes.
    prompt, output
        Tokens of the prompt, and of the answer; at least one each.
    """

    arrival_ms: float
    prompt: int
    output: int

    @property
    def tokens(self) -> int:
        """Tokens whose keys and values it needs at its end."""
        return self.prompt + self.output


def poisson(rate: float, count: int, *, prompt: int, output: int, seed: int = 0) -> list[Request]:
    """Draw requests that come on their own, one as likely at any time as at any other.

    Parameters
    ----------
    rate
        Requests per second on average.
    count
        How many.
    prompt, output
        Tokens of each prompt, and of each answer.
    seed
        Of the random numbers: the same seed draws the same requests.

    Raises
    ------
    UsageError
        When a number is out of range.
    """
    if not 0 < rate < np.inf:
        raise UsageError(f"the rate must be a positive number of requests per second, got {rate}")
    if not 1 <= count <= MAX_REQUESTS:
        raise UsageError(f"requests must be in 1..{MAX_REQUESTS}, got {count}")
    for what, number in (("prompt", prompt), ("output", output)):
        if not 1 <= number <= MAX_TOKENS:
            raise UsageError(f"{what} must be in 1..{MAX_TOKENS} tokens, got {number}")
    gaps = np.random.default_rng(seed).exponential(1e3 / rate, count)
    return [Request(float(at), prompt, output) for at in np.cumsum(gaps)]


def read_requests(path: str | Path) -> list[Request]:
    """Read requests from a table, in the order of their arrival; time starts with the first.

    Columns are ``arrival_s``, ``prompt_tokens`` and ``output_tokens``, or those of the traces of Azure.

    Raises
    ------
    InputError
        One line that names the file, the line and what is wrong.
    """
    reader = csv.DictReader(read_text(path).splitlines())
    have = tuple(reader.fieldnames or ())
    names = next((names for names in (OWN, AZURE) if set(names) <= set(have)), None)
    if names is None:
        raise InputError(f"the first line must name the columns {', '.join(OWN)}", source=str(path))
    found: list[Request] = []
    for row in reader:
        place = f"line {reader.line_num}"
        if len(found) == MAX_REQUESTS:
            raise InputError(f"more than {MAX_REQUESTS} requests", source=str(path), place=place)
        try:
            found.append(_request(*(row[name] or "" for name in names)))
        except ValueError as error:
            raise InputError(str(error), source=str(path), place=place) from None
    if not found:
        raise InputError("there are no requests", source=str(path))
    start = min(r.arrival_ms for r in found)
    moved = [Request(r.arrival_ms - start, r.prompt, r.output) for r in found]
    return sorted(moved, key=lambda r: r.arrival_ms)


def _request(arrival: str, prompt: str, output: str) -> Request:
    """Read a line of a table."""
    counts = []
    for name, text in zip(OWN[1:], (prompt, output), strict=True):
        if not text.strip().isdecimal() or not 1 <= int(text) <= MAX_TOKENS:
            raise ValueError(f"{name} must be a whole number in 1..{MAX_TOKENS}, got {text!r}")
        counts.append(int(text))
    try:
        seconds = float(arrival)
    except ValueError:
        try:
            seconds = datetime.fromisoformat(arrival.strip()).timestamp()
        except ValueError:
            raise ValueError(f"{OWN[0]} must be seconds or a date with time, got {arrival!r}") from None
    if not np.isfinite(seconds):
        raise ValueError(f"{OWN[0]} must be finite, got {arrival!r}")
    return Request(seconds * 1e3, *counts)
