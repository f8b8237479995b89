"""The version of whatever can change a result: the sources of the solver and the libraries below it."""

from __future__ import annotations

import functools
import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["code_version"]

ROOT = Path(__file__).resolve().parents[3]
SOLVER = (
    "formulations",
    "placer/instance",
    "placer/objectives",
    "placer/plans",
    "placer/reductions",
    "placer/search",
    "placer/methods",
    "placer/solvers",
    "placer/solving",
    "placer/kernels.py",
    "placer/options.py",
    "placer/processes.py",
    "placer/tolerances.py",
)
"""What takes part in a solve, from the instance to the result; all else reads, runs and shows."""
LIBRARIES = ("highspy", "numpy", "networkx", "pymetis")


@functools.cache
def code_version() -> str:
    """Hash (16 hexadecimal digits) of the sources of the solver and the versions of its libraries."""
    digest = hashlib.sha256()
    for part in SOLVER:
        path = ROOT / part
        for file in [path] if path.suffix else sorted((*path.rglob("*.py"), *path.rglob("*.pxd"))):
            digest.update(f"{file.relative_to(ROOT).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    for library in LIBRARIES:
        try:
            digest.update(f"{library}={version(library)}\0".encode())
        except PackageNotFoundError:
            digest.update(f"{library} is missing\0".encode())
    return digest.hexdigest()[:16]
