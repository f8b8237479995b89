"""Plans of known shape as result documents, without a solver."""

from pathlib import Path

import numpy as np

from placer.instance import Instance
from placer.options import Options
from placer.plan import Plan
from placer.report import to_result
from placer.result import Result
from placer.run import Outcome, Run, Stop
from placer.structure import topological_position

DATA = Path(__file__).resolve().parents[2] / "data"


def result_of(instance: Instance, plan: Plan, bound_ms: float | None = None, **options: object) -> Result:
    """Write a plan down as a solver would."""
    return to_result(
        instance, instance, Options.model_validate(options), Outcome(Stop.FINISHED, plan, bound_ms), Run()
    )


def cut_evenly(instance: Instance, **options: object) -> Result:
    """Cut the topological order of an inference graph into equally many nodes per device."""
    devices = len(instance.devices)
    device = (topological_position(instance) * devices // instance.n).astype(np.int64)
    return result_of(instance, Plan(device), **options)
