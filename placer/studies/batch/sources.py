"""Where instances come from: files, folders, globs and archives, of which nothing is ever unpacked to disk.

Members of archives are read into memory, within limits; links, devices and paths that leave the archive are
refused.
"""

from __future__ import annotations

import glob
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from placer.errors import InputError, UsageError
from placer.formats.text import unpacked

__all__ = ["Limits", "Source", "find"]

ZIP = (".zip",)
TAR = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class Limits:
    """How much is read: members of an archive, bytes of one file, bytes of one archive unpacked."""

    members: int = 20_000
    file_bytes: int = 256 * 2**20
    archive_bytes: int = 4 * 2**30


@dataclass(frozen=True)
class Source:
    """A candidate for an instance.

    Parameters
    ----------
    where
        File, or archive and member, for people.
    name
        Name of the file without its ending.
    data
        Its bytes; None when it cannot be read.
    problem
        Why it cannot.
    explicit
        Whether the file was named itself, so that it must be an instance.
    """

    where: str
    name: str
    data: bytes | None
    problem: str = ""
    explicit: bool = False


def find(
    paths: Iterable[str | Path], *, without: Path | None = None, limits: Limits | None = None
) -> Iterator[Source]:
    """Read all candidates behind files, folders (``.json`` and archives, recursively), globs and archives.

    Parameters
    ----------
    paths
        What to look at, in order.
    without
        A folder to leave out (the output of the batch).
    limits
        How much is read at most; the defaults when None.

    Raises
    ------
    UsageError
        When a path or a glob leads to nothing.
    """
    limits = limits or Limits()
    seen: set[str] = set()
    for path in paths:
        files = [(p, e) for p, e in _files(str(path)) if not _inside(p, without)]
        if not files:
            raise UsageError(f"{path}: no .json file or archive is there")
        for file, explicit in files:
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                yield from _read(file, explicit, limits)


def _files(path: str) -> list[tuple[Path, bool]]:
    """List the files behind a path, and whether each was named itself."""
    if os.path.isdir(path):
        return [(p, False) for p in _within(path)]
    if os.path.lexists(path):
        return [(Path(path), True)]
    if glob.has_magic(path):
        found: list[tuple[Path, bool]] = []
        for match in sorted(glob.glob(path, recursive=True)):
            inside = _within(match) if os.path.isdir(match) else [Path(match)]
            found += [(p, False) for p in inside]
        return found
    raise UsageError(f"{path}: there is no such file or folder")


def _within(folder: str) -> list[Path]:
    """List instance files and archives in a folder and its folders; links to folders are not followed."""
    endings = (".json", ".json.gz", *ZIP, *TAR)
    found: list[Path] = []
    for at, folders, names in os.walk(folder):
        folders.sort()  # in place: in this order the walk goes on
        wanted = [n for n in sorted(names) if n.lower().endswith(endings) and not n.startswith(".")]
        found += [Path(at) / name for name in wanted]
    return found


def _inside(path: Path, folder: Path | None) -> bool:
    return folder is not None and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _read(path: Path, explicit: bool, limits: Limits) -> Iterator[Source]:
    name = path.name.lower()
    try:
        if name.endswith(ZIP):
            yield from _zip(path, limits)
        elif name.endswith(TAR):
            yield from _tar(path, limits)
        else:
            yield _file(path, explicit, limits)
    except OSError as error:
        yield Source(str(path), path.stem, None, error.strerror or "it cannot be read", explicit)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, ValueError, RuntimeError) as error:
        reason = f"not a readable archive: {' '.join(str(error).split())}"
        yield Source(str(path), path.stem, None, reason, True)


def _file(path: Path, explicit: bool, limits: Limits) -> Source:
    if not stat.S_ISREG(os.stat(path).st_mode):
        return Source(str(path), path.stem, None, "it is no regular file", explicit)
    with path.open("rb") as file:
        data = file.read(limits.file_bytes + 1)
    if len(data) > limits.file_bytes:
        return Source(str(path), path.stem, None, _too_large(limits), explicit)
    try:
        data = unpacked(data, str(path), limits.file_bytes)
    except InputError as error:
        return Source(str(path), path.stem, None, error.rule, explicit)
    return Source(str(path), path.name.removesuffix(".gz").removesuffix(".json"), data, "", explicit)


def _zip(path: Path, limits: Limits) -> Iterator[Source]:
    with zipfile.ZipFile(path) as archive:
        reader = _Members(path, limits)
        for member in archive.infolist():
            if reader.full_with(0):
                yield reader.refused("", reader.full)
                return
            mode = member.external_attr >> 16
            if member.is_dir():
                continue
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                yield reader.refused(member.filename, "it is a link or a device")
            elif member.flag_bits & 1:
                yield reader.refused(member.filename, "it is encrypted")
            elif reader.wants(member.filename):
                with archive.open(member) as file:
                    yield reader.read(member.filename, file)


def _tar(path: Path, limits: Limits) -> Iterator[Source]:
    with tarfile.open(path, "r:*") as archive:
        reader = _Members(path, limits)
        for member in archive:
            wanted = reader.wants(member.name)
            if reader.full_with(0 if wanted else member.size):  # to skip a member is to unpack it
                yield reader.refused("", reader.full)
                return
            if member.isdir():
                continue
            if not member.isreg():
                yield reader.refused(member.name, "it is a link or a device")
            elif wanted and (file := archive.extractfile(member)) is not None:
                with file:
                    yield reader.read(member.name, file)


class _Members:
    """Reads the members of one archive and keeps count."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._count = self._bytes = 0

    @property
    def full(self) -> str:
        """Why no more members are read, if so."""
        if self._count > self._limits.members:
            return f"it has more than {self._limits.members} members; the others are left out"
        if self._bytes > self._limits.archive_bytes:
            size = self._limits.archive_bytes // 2**20
            return f"it unpacks to more than {size} MiB; the rest is left out"
        return ""

    def wants(self, name: str) -> bool:
        """Whether a member may be an instance."""
        return name.lower().endswith(".json") and not PurePosixPath(name).name.startswith(".")

    def full_with(self, size: int) -> bool:
        """Count one more member, of which ``size`` bytes are passed over; return whether it is too many."""
        self._count += 1
        self._bytes += size
        return bool(self.full)

    def read(self, name: str, file: IO[bytes]) -> Source:
        """Read a member, never more than the limit, whatever size it claims to have."""
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
            return self.refused(name, "its path leads out of the archive")
        data = file.read(self._limits.file_bytes + 1)
        self._bytes += len(data)
        if len(data) > self._limits.file_bytes:
            return self.refused(name, _too_large(self._limits))
        return Source(f"{self._path}/{name}", path.stem, data)

    def refused(self, name: str, why: str) -> Source:
        """Report a member, or the archive itself, that is not read."""
        where = f"{self._path}/{name}" if name else str(self._path)
        return Source(where, PurePosixPath(name).stem or self._path.name, None, why, True)


def _too_large(limits: Limits) -> str:
    return f"it is larger than {limits.file_bytes // 2**20} MiB"
