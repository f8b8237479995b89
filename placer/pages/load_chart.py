"""The loads of a plan as bars: what each device computes, receives and sends, against objective and bound."""

from __future__ import annotations

from dataclasses import dataclass

from placer.instance.instance import Instance
from placer.objectives import OBJECTIVES
from placer.options import Communication, Options, Schedule
from placer.plans.check import plan_of
from placer.plans.evaluate import DeviceLoads, plan_loads
from placer.plans.result import DeviceReport, Result

__all__ = ["Bar", "Direction", "LoadChart", "Mark", "Row", "Segment", "by_direction", "load_chart"]

TIED = 1e-6
"""Relative difference below which two loads count as equally large."""

KINDS = {
    Communication.SEQUENTIAL: (("compute", "receive", "send"),),
    Communication.OVERLAP: (("compute",), ("receive", "send")),
    Communication.DUPLEX: (("compute",), ("receive",), ("send",)),
}
"""What shares the time of a device one after another (a bar each) and what runs side by side."""


@dataclass(frozen=True)
class Segment:
    """A part of a bar; ``start`` and ``width`` are percentages of the chart's width."""

    kind: str
    ms: float
    start: float
    width: float


@dataclass(frozen=True)
class Bar:
    """What a device does one after another."""

    label: str
    segments: tuple[Segment, ...]

    @property
    def ms(self) -> float:
        """Length of the bar in ms."""
        return sum(s.ms for s in self.segments)


@dataclass(frozen=True)
class Row:
    """One device; its bars run side by side."""

    index: int
    device: DeviceReport
    bars: tuple[Bar, ...]
    heaviest: bool
    forward_ms: float | None
    backward_ms: float | None


@dataclass(frozen=True)
class Mark:
    """A vertical line across the chart, at ``position`` percent of its width."""

    kind: str
    label: str
    ms: float
    position: float


@dataclass(frozen=True)
class LoadChart:
    """Rows and marks on one scale; ``split`` says that bars are kept apart by direction."""

    rows: tuple[Row, ...]
    marks: tuple[Mark, ...]
    split: bool


@dataclass(frozen=True)
class Direction:
    """Loads of the forward and the backward pass in ms, each of length D."""

    forward_ms: tuple[float, ...]
    backward_ms: tuple[float, ...]
    loads: DeviceLoads


def by_direction(result: Result, instance: Instance | None) -> Direction | None:
    """Separate the loads of both passes of a training plan; None for other plans or without the instance.

    Parameters
    ----------
    result
        A verified result with a plan.
    instance
        Its instance.
    """
    if instance is None or not instance.is_training or not result.options.pipelined:
        return None
    plan = plan_of(instance, result)
    loads = plan_loads(instance, plan)
    forward, backward = loads.by_direction(result.options.communication).tolist()
    return Direction(tuple(forward), tuple(backward), loads)


def load_chart(result: Result, direction: Direction | None = None) -> LoadChart:
    """Lay out the bars of all devices.

    Parameters
    ----------
    result
        A result with a plan.
    direction
        Loads of both passes, for training plans whose instance is known.

    Returns
    -------
    LoadChart
    """
    options = result.options
    gpipe = direction is not None and options.schedule is Schedule.GPIPE
    # Where transfers hide behind computing they do so within one pass, so that sums over both say little.
    split = direction is not None and (gpipe or options.communication is not Communication.SEQUENTIAL)
    heaviest = max((d.load_ms for d in result.devices), default=0.0)
    lanes = [_lanes(options, i, d, direction if split else None) for i, d in enumerate(result.devices)]
    longest = max((sum(x for _, x in parts) for bars in lanes for _, parts in bars), default=0.0)
    marks = _marks(result, direction, gpipe, split)
    scale = 1.04 * max([longest, heaviest * (not split), *(ms for _, _, ms in marks)], default=0.0)
    scale = scale or 1.0
    rows = []
    for i, (device, bars) in enumerate(zip(result.devices, lanes, strict=True)):
        rows.append(
            Row(
                index=i,
                device=device,
                bars=tuple(_bar(label, parts, scale) for label, parts in bars),
                heaviest=device.load_ms > 0 and device.load_ms >= heaviest * (1 - TIED),
                forward_ms=None if direction is None else direction.forward_ms[i],
                backward_ms=None if direction is None else direction.backward_ms[i],
            )
        )
    return LoadChart(
        tuple(rows),
        tuple(Mark(kind, label, ms, 100 * ms / scale) for kind, label, ms in marks),
        split=split,
    )


def _lanes(
    options: Options, i: int, device: DeviceReport, direction: Direction | None
) -> list[tuple[str, list[tuple[str, float]]]]:
    """Bars of one device as (label, [(kind, ms)]), apart by direction when that is given."""
    # A piece of a latency plan receives, computes and sends strictly in sequence, whatever the model.
    latency = not options.pipelined
    groups = KINDS[Communication.SEQUENTIAL if latency else options.communication]
    if direction is not None:
        parts = {
            "compute": direction.loads.compute_ms,
            "receive": direction.loads.receive_ms,
            "send": direction.loads.send_ms,
        }
        passes = [
            (f"{name} ", {kind: float(ms[row, i]) for kind, ms in parts.items()}, device.sync_ms * row)
            for row, name in enumerate(("forward", "backward"))
        ]
    else:
        ms = {"compute": device.compute_ms, "receive": device.receive_ms, "send": device.send_ms}
        passes = [("", ms, device.sync_ms)]
    return [
        (name + " + ".join(kinds), [part for kind in kinds for part in _parts(kind, ms[kind], sync)])
        for name, ms, sync in passes
        for kinds in groups
    ]


def _parts(kind: str, ms: float, sync_ms: float) -> list[tuple[str, float]]:
    """Split what synchronises the weights of replicas off the computing."""
    if kind != "compute" or sync_ms == 0:
        return [(kind, ms)]
    return [(kind, ms - sync_ms), ("sync", sync_ms)]


def _marks(
    result: Result, direction: Direction | None, gpipe: bool, split: bool
) -> list[tuple[str, str, float]]:
    """Vertical lines as (kind, label, ms); under gpipe the objective is the sum of two of them."""
    if direction is not None and gpipe:
        return [
            ("objective", "largest forward load", max(direction.forward_ms)),
            ("bound", "largest backward load", max(direction.backward_ms)),
        ]
    if split or not OBJECTIVES[result.options.objective].is_time:
        return []
    if result.options.schedule is Schedule.GPIPE and result.options.pipelined:
        # Whether backward nodes make the objective a sum of two loads is not known without the instance.
        return []
    marks = []
    if result.objective is not None:
        marks.append(("objective", "objective", result.objective))
    tight = result.bound is not None and result.bound >= (result.objective or 0.0) * (1 - TIED)
    if marks and tight:
        return [("objective", "objective = proven bound", marks[0][2])]
    if result.bound is not None:
        marks.append(("bound", "proven bound", result.bound))
    return marks


def _bar(label: str, parts: list[tuple[str, float]], scale: float) -> Bar:
    segments, start = [], 0.0
    for kind, ms in parts:
        segments.append(Segment(kind, ms, 100 * start / scale, 100 * ms / scale))
        start += ms
    return Bar(label, tuple(segments))
