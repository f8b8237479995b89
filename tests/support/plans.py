"""Plans made by hand as result documents, without a solver."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.instance.order import topological_position
from placer.options import Options
from placer.plans.plan import Plan, Team
from placer.plans.result import Result
from placer.plans.status import Stop
from placer.search.run import Outcome, Run
from placer.solving.request import make_options
from placer.solving.to_result import to_result

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


def gpus(count: int, **more) -> tuple[DeviceClass, ...]:
    """Return ``count`` accelerators ``gpu0``, ``gpu1``, ... and one host ``cpu0``."""
    return (
        DeviceClass("gpu", "gpu", count, **more),
        DeviceClass("cpu", "cpu", 1, Kind.HOST),
    )


def planned(
    instance: Instance,
    devices: Sequence[str],
    order: Sequence[int] | None = None,
    shared: Sequence[Sequence[str]] = (),
    **options,
) -> Result:
    """Return the result of placing the i-th node on the i-th device.

    Orders of pieces make it a latency plan; the devices of a group in ``shared`` share a stage.
    """
    plan = Plan(
        np.array([instance.device_index[name] for name in devices]),
        None if order is None else np.array(order),
        teams=tuple(Team(tuple(instance.device_index[name] for name in group)) for group in shared),
    )
    chosen = make_options(method="expert", objective="throughput" if order is None else "latency", **options)
    return to_result(instance, instance, chosen, Outcome(Stop.FINISHED, plan), Run())
