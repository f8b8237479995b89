"""Place the operators of a neural network on several devices, with a proven bound.

``placer.load`` reads an instance, ``placer.solve`` plans it, ``placer.check`` verifies a result,
``placer.simulate`` runs its plan event by event.
Solvers and compiled kernels are imported only by the methods that use them.
"""

import logging

from placer.batch import solve_batch
from placer.check import check
from placer.cluster import Device, DeviceClass, Kind, Link
from placer.compare import Comparison, compare
from placer.errors import InputError, PlacerError, UsageError, VerificationError
from placer.export import export
from placer.formats.files import load
from placer.imports.api import import_onnx, import_pipedream, import_torch
from placer.instance import Instance
from placer.options import Communication, Formulation, Objective, Options, Schedule
from placer.plan import Plan
from placer.result import Result, Status
from placer.run import Stop
from placer.simulation import Simulation, simulate
from placer.solve import solve
from placer.sweep import Sweep, sweep

# Without a handler Python prints warnings to standard error: what a solver says is for those who ask for it.
logging.getLogger(__name__).addHandler(logging.NullHandler())

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
    "simulate",
    "solve",
    "solve_batch",
    "sweep",
]
