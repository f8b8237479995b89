"""Results of plans made by hand."""

from collections.abc import Sequence

import numpy as np

from placer.cluster import DeviceClass, Kind
from placer.instance import Instance
from placer.plan import Plan, with_host_pools
from placer.report import to_result
from placer.result import Result
from placer.run import Outcome, Run, Stop
from placer.solve import make_options


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
    pooled = with_host_pools(instance) if order is not None else instance
    plan = Plan(
        np.array([pooled.device_index[name] for name in devices]),
        None if order is None else np.array(order),
        replicas=tuple(tuple(pooled.device_index[name] for name in group) for group in shared),
    )
    chosen = make_options(method="expert", objective="throughput" if order is None else "latency", **options)
    return to_result(pooled, instance, chosen, Outcome(Stop.FINISHED, plan), Run())
