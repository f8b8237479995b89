"""The version of whatever can change a result: the sources of the solver and the libraries below it."""

from __future__ import annotations

import functools
import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["code_version"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("placer", "formulations")
NO_INFLUENCE = ("placer/batch/", "placer/cli/")
"""What runs and shows solves, but takes no part in them."""
LIBRARIES = ("highspy", "pulp", "numba", "numpy", "pymetis")


@functools.cache
def code_version() -> str:
    """Hash (16 hexadecimal digits) of the sources of the solver and the versions of its libraries."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(NO_INFLUENCE):
                digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    for library in LIBRARIES:
        try:
            digest.update(f"{library}={version(library)}\0".encode())
        except PackageNotFoundError:
            digest.update(f"{library} is missing\0".encode())
    return digest.hexdigest()[:16]
