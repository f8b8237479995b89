"""Place the operators of a neural network on several devices, with a proven bound.

``placer.load`` reads an instance, ``placer.solve`` plans it, ``placer.check`` verifies a result,
``placer.simulate`` runs its plan event by event.
All is imported when it is used first, solvers and compiled kernels only by the methods that need them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

TYPE_CHECKING = False  # as in typing, whose import would come before anybody can catch a signal
if TYPE_CHECKING:
    from typing import Any

    from placer.batch import solve_batch
    from placer.check import check
    from placer.cluster import Device, DeviceClass, Kind, Link
    from placer.compare import Comparison, compare
    from placer.errors import InputError, PlacerError, UsageError, VerificationError
    from placer.export import export
    from placer.formats.files import load, save
    from placer.imports.api import import_onnx, import_pipedream, import_torch
    from placer.instance import Instance
    from placer.options import Communication, Formulation, Objective, Options, Schedule
    from placer.plan import Plan
    from placer.result import Result, Status
    from placer.run import Stop
    from placer.simulation import Simulation, simulate
    from placer.solve import solve
    from placer.sweep import Sweep, sweep

__version__ = "0.1.0"

__all__ = [
    "Communication",
    "Comparison",
    "Device",
    "DeviceClass",
    "Formulation",
    "InputError",
    "Instance",
    "Kind",
    "Link",
    "Objective",
    "Options",
    "PlacerError",
    "Plan",
    "Result",
    "Schedule",
    "Simulation",
    "Status",
    "Stop",
    "Sweep",
    "UsageError",
    "VerificationError",
    "check",
    "compare",
    "export",
    "import_onnx",
    "import_pipedream",
    "import_torch",
    "load",
    "save",
    "simulate",
    "solve",
    "solve_batch",
    "sweep",
]

_WHERE = {
    "check": "placer.check",
    "Communication": "placer.options",
    "compare": "placer.compare",
    "Comparison": "placer.compare",
    "Device": "placer.cluster",
    "DeviceClass": "placer.cluster",
    "export": "placer.export",
    "Formulation": "placer.options",
    "import_onnx": "placer.imports.api",
    "import_pipedream": "placer.imports.api",
    "import_torch": "placer.imports.api",
    "InputError": "placer.errors",
    "Instance": "placer.instance",
    "Kind": "placer.cluster",
    "Link": "placer.cluster",
    "load": "placer.formats.files",
    "save": "placer.formats.files",
    "Objective": "placer.options",
    "Options": "placer.options",
    "PlacerError": "placer.errors",
    "Plan": "placer.plan",
    "Result": "placer.result",
    "Schedule": "placer.options",
    "simulate": "placer.simulation",
    "Simulation": "placer.simulation",
    "solve": "placer.solve",
    "solve_batch": "placer.batch",
    "Status": "placer.result",
    "Stop": "placer.run",
    "Sweep": "placer.sweep",
    "sweep": "placer.sweep",
    "UsageError": "placer.errors",
    "VerificationError": "placer.errors",
}
"""The module of each name."""


class _Package(ModuleType):
    """The package: names are looked up when they are used, and functions hide modules of the same name."""

    def __getattr__(self, name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_WHERE[name]), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _WHERE.get(name) == f"{__name__}.{name}":
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return [*__all__, "__version__"]


sys.modules[__name__].__class__ = _Package
