"""Place the operators of a neural network on several devices, with a proven bound.

``placer.load`` reads an instance, ``placer.solve`` plans it, ``placer.check`` verifies a result,
``placer.simulate`` runs its plan event by event.
All is imported when it is used first, solvers and compiled kernels only by the methods that need them.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as in typing, whose import would come before anybody can catch a signal
if TYPE_CHECKING:
    from typing import Any

    from placer.errors import InputError, PlacerError, UsageError, VerificationError
    from placer.exports.api import export
    from placer.formats.files import load, save
    from placer.imports.api import import_onnx, import_pipedream, import_torch
    from placer.imports.language_api import import_gguf, import_hf
    from placer.instance.cluster import Device, DeviceClass, Kind, Link
    from placer.instance.instance import Instance
    from placer.layered_flow.flow import flow
    from placer.layered_flow.flow_problem import FlowProblem
    from placer.layered_flow.flow_result import FlowResult
    from placer.options import Communication, Formulation, Objective, Options, Schedule
    from placer.plans.check import check
    from placer.plans.plan import Plan
    from placer.plans.result import Result, Status
    from placer.plans.status import Stop
    from placer.serving.api import serve, serve_disaggregated
    from placer.serving.disaggregated_result import DisaggregatedResult
    from placer.serving.serving_plan import ServingResult
    from placer.simulation import Simulation, simulate
    from placer.solving.solve import solve
    from placer.studies.batch import solve_batch
    from placer.studies.compare import Comparison, compare
    from placer.studies.sweep import Sweep, sweep

__version__ = "0.1.0"

__all__ = [
    "Communication",
    "Comparison",
    "Device",
    "DeviceClass",
    "DisaggregatedResult",
    "FlowProblem",
    "FlowResult",
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
    "ServingResult",
    "Simulation",
    "Status",
    "Stop",
    "Sweep",
    "UsageError",
    "VerificationError",
    "check",
    "compare",
    "export",
    "flow",
    "import_gguf",
    "import_hf",
    "import_onnx",
    "import_pipedream",
    "import_torch",
    "load",
    "save",
    "serve",
    "serve_disaggregated",
    "simulate",
    "solve",
    "solve_batch",
    "sweep",
]

_WHERE = {
    "check": "placer.plans.check",
    "Communication": "placer.options",
    "compare": "placer.studies.compare",
    "Comparison": "placer.studies.compare",
    "Device": "placer.instance.cluster",
    "DeviceClass": "placer.instance.cluster",
    "DisaggregatedResult": "placer.serving.disaggregated_result",
    "export": "placer.exports.api",
    "flow": "placer.layered_flow.flow",
    "FlowProblem": "placer.layered_flow.flow_problem",
    "FlowResult": "placer.layered_flow.flow_result",
    "Formulation": "placer.options",
    "import_gguf": "placer.imports.language_api",
    "import_hf": "placer.imports.language_api",
    "import_onnx": "placer.imports.api",
    "import_pipedream": "placer.imports.api",
    "import_torch": "placer.imports.api",
    "InputError": "placer.errors",
    "Instance": "placer.instance.instance",
    "Kind": "placer.instance.cluster",
    "Link": "placer.instance.cluster",
    "load": "placer.formats.files",
    "save": "placer.formats.files",
    "serve": "placer.serving.api",
    "serve_disaggregated": "placer.serving.api",
    "ServingResult": "placer.serving.serving_plan",
    "Objective": "placer.options",
    "Options": "placer.options",
    "PlacerError": "placer.errors",
    "Plan": "placer.plans.plan",
    "Result": "placer.plans.result",
    "Schedule": "placer.options",
    "simulate": "placer.simulation",
    "Simulation": "placer.simulation",
    "solve": "placer.solving.solve",
    "solve_batch": "placer.studies.batch",
    "Status": "placer.plans.result",
    "Stop": "placer.plans.status",
    "Sweep": "placer.studies.sweep",
    "sweep": "placer.studies.sweep",
    "UsageError": "placer.errors",
    "VerificationError": "placer.errors",
}
"""The module of each name."""


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
