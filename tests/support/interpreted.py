"""The kernels as the Python that they are, as on a machine without a C compiler."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["interpreted"]

ROOT = Path(__file__).resolve().parents[2]


class _Sources:
    """Finds the source of a kernel, whatever lies beside it."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        file = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if ".kernels." not in f"{name}." or not file.is_file():
            return None
        return importlib.util.spec_from_file_location(name, file, loader=SourceFileLoader(name, str(file)))


def _ours() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.startswith("placer.methods")}


@contextmanager
def interpreted() -> Iterator[None]:
    """Import methods and kernels afresh from their sources; what is imported within stays interpreted."""
    compiled = _ours()
    for name in compiled:
        del sys.modules[name]
    sys.meta_path.insert(0, _Sources)
    try:
        yield
    finally:
        sys.meta_path.remove(_Sources)
        for name in _ours():
            del sys.modules[name]
        sys.modules.update(compiled)
