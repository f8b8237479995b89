"""What each device does when: the slices that the timeline of a page draws."""

from __future__ import annotations

from dataclasses import dataclass

from placer.check import plan_of
from placer.evaluate import latency_schedule
from placer.instance import Instance
from placer.options import Objective
from placer.plan import with_host_pools
from placer.result import Result

__all__ = ["Slice", "timeline"]


@dataclass(frozen=True)
class Slice:
    """Something that a device does from ``start_ms`` to ``end_ms``.

    ``lane`` is ``compute``, ``receive`` or ``send``; ``label`` says what (a sample, a piece, a node).
    """

    device: str
    lane: str
    label: str
    start_ms: float
    end_ms: float


def timeline(instance: Instance, result: Result) -> list[Slice]:
    """Slices of a verified plan: of the one sample for latency.

    Parameters
    ----------
    instance
        The instance that the result is about.
    result
        A verified result with a plan.
    """
    if result.options.objective is Objective.LATENCY:
        return _latency(with_host_pools(instance), result)
    return []


def _latency(instance: Instance, result: Result) -> list[Slice]:
    plan = plan_of(instance, result)
    schedule = latency_schedule(instance, plan)
    out = []
    for piece in schedule.pieces:
        device = instance.devices[piece.device].name
        now = piece.start_ms
        for lane, ms in (
            ("receive", piece.receive_ms),
            ("compute", piece.compute_ms),
            ("send", piece.send_ms),
        ):
            if ms > 0:
                out.append(Slice(device, lane, f"piece {piece.order + 1}", now, now + ms))
            now += ms
    for v in range(instance.n):
        d = int(plan.device[v])
        ms = float(instance.class_time_ms[v, instance.device_class[d]])
        if instance.devices[d].is_host and ms > 0:
            end = float(schedule.available_ms[v])
            out.append(Slice(instance.devices[d].name, "compute", instance.names[v], end - ms, end))
    return out
