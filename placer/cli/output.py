"""Results keep standard output to themselves while a command runs."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import TextIO

from placer.stdout import OUT, native_output_to_stderr

__all__ = ["Command", "file_name", "named", "results_apart", "unless_standard_output", "whole_numbers"]

Command = Callable[..., argparse.ArgumentParser]
"""Makes the parser of a command, given its epilogue."""
NAMES = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
"""Names of standard output as a file."""


@contextlib.contextmanager
def results_apart() -> Iterator[None]:
    """Let ``sys.stdout`` lead to standard output, and descriptor 1 to standard error.

    Where ``sys.stdout`` is descriptor 1, it becomes a stream on a duplicate of that.  Both streams replace
    characters that their encoding lacks, as a poor locale must not end a solve; one that is closed leads
    nowhere.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (open(os.devnull, "w") if s is None else s for s in before)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    own = _duplicate(sys.stdout)
    sys.stdout = own or sys.stdout
    try:
        with native_output_to_stderr():
            yield
    finally:
        if own is not None:
            with contextlib.suppress(OSError):  # nobody reads on, or the disk is full: that was said before
                own.close()
        sys.stdout, sys.stderr = before


def _duplicate(stream: TextIO) -> TextIO | None:
    """Duplicate a text stream on descriptor 1; None when it is on another, or on none."""
    try:
        if stream.fileno() != OUT or not isinstance(stream, io.TextIOWrapper):
            return None
    except (OSError, ValueError):
        return None
    stream.flush()
    return io.TextIOWrapper(
        os.fdopen(os.dup(OUT), "wb"),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def file_name(text: str) -> str:
    """Read the name of a file or folder to write; a type for argparse."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def unless_standard_output(file: str) -> str | None:
    """Leave the name of a file out when it is that of standard output."""
    return None if file in NAMES else file_name(file)


def named(file: str | None) -> str | None:
    """Rename standard output as a file: it is where results go, no longer descriptor 1."""
    try:
        return f"/dev/fd/{sys.stdout.fileno()}" if file in NAMES else file
    except OSError:  # results go to a stream without a descriptor
        return file


def whole_numbers(text: str) -> tuple[int, ...]:
    """Read numbers with commas between them; a type for argparse."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 0:
        raise argparse.ArgumentTypeError(f"expected whole numbers, with commas; got {text!r}")
    return numbers
