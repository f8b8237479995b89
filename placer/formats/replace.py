"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from placer.errors import InputError

__all__ = ["is_special", "replaced_file", "replaced_folder", "write_text"]


def write_text(path: str | Path, text: str) -> None:
    """Write a file whole or not at all: into a temporary file beside it, then renamed over it.

    Raises
    ------
    InputError
        When it cannot be written.
    """
    with replaced_file(path) as temporary, _said_of(path):
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replaced_file(path: str | Path) -> Iterator[Path]:
    """Hand out a temporary file, and rename it to ``path`` when all went well.

    Raises
    ------
    InputError
        When it cannot be written.
    """
    with _said_of(path):
        target = os.path.realpath(path)
        if os.path.isdir(target):
            raise InputError("cannot be written: it is a directory", source=str(path))
        special = is_special(path)
        handle, temporary = tempfile.mkstemp(
            dir=None if special else os.path.dirname(target), prefix=".placer-", suffix=".tmp"
        )
        os.close(handle)
    try:
        yield Path(temporary)
        with _said_of(path):
            if special:
                Path(path).write_bytes(Path(temporary).read_bytes())
                return
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.chmod(temporary, _mode(target))
            os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def is_special(path: str | Path) -> bool:
    """Whether a path is that of a device or a pipe, which stays one (a pipe has no real path)."""
    return os.path.exists(path) and not os.path.isfile(path)


@contextlib.contextmanager
def replaced_folder(path: str | Path) -> Iterator[Path]:
    """Hand out a temporary folder, and rename it to ``path`` when all went well.

    Raises
    ------
    InputError
        When it cannot be written, or is there already and not empty.
    """
    with _said_of(path):
        target = os.path.realpath(path)
        if os.path.exists(target) and not os.path.isdir(target):
            raise InputError("cannot be written: there is a file of this name", source=str(path))
        if os.path.isdir(target) and os.listdir(target):
            raise InputError("cannot be written: the folder is not empty; name a new one", source=str(path))
        temporary = tempfile.mkdtemp(dir=os.path.dirname(target), prefix=".placer-", suffix=".tmp")
    try:
        yield Path(temporary)
        with _said_of(path):
            os.chmod(temporary, 0o777 & ~_umask())
            os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _said_of(path: str | Path) -> Iterator[None]:
    """Turn what the system says into one line about ``path``."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", source=str(path)) from None
    except ValueError as error:  # a NUL character in the path
        raise InputError(f"not a path: {error}", source=str(path)) from None


def _mode(target: str) -> int:
    """Permissions for a new file: those of the file it replaces, or the usual ones."""
    if os.path.exists(target):
        return os.stat(target).st_mode & 0o777
    return 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
