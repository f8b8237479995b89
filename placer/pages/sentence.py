"""What limits a plan, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from placer.instance.instance import Instance
from placer.objectives import OBJECTIVES
from placer.options import Communication, Schedule
from placer.pages.load_chart import TIED, Direction
from placer.plans.result import DeviceReport, Result, Status
from placer.units import milliseconds, percent

__all__ = ["limit"]

NEGLIGIBLE = 1e-6
"""Gap that the tolerances of a solver explain."""
DOMINANT = 0.5
"""Share of the bottleneck's load from which a single node is worth naming."""


def limit(result: Result, direction: Direction | None = None, instance: Instance | None = None) -> str:
    """Say what limits a plan, or why there is none, and what would help.

    Parameters
    ----------
    result
        The result.
    direction
        Forward and backward loads of a training plan whose instance is known.
    instance
        The instance, to name a single node that makes up most of the bottleneck.

    Returns
    -------
    str
        One sentence, and one more where something was found that would help.
    """
    said = _limit(result, direction, instance)
    if result.objective is None or not result.hints:  # where there is no plan, the message holds them
        return said
    return " ".join([said, *(f"{hint[0].upper()}{hint[1:]}." for hint in result.hints)])


def _limit(result: Result, direction: Direction | None, instance: Instance | None) -> str:
    """Say what limits a plan, or why there is none."""
    if result.objective is None:
        why = f": {result.message}" if result.message else ""
        return f"{'There is no plan' if result.status is Status.INFEASIBLE else 'No plan was found'}{why}."
    proof = _proof(result)
    info = OBJECTIVES[result.options.objective]
    if not info.is_time:
        return f"{info.label}: {info.shown(result.objective, 4)}; {proof}."
    if result.objective == 0:
        return "Nothing limits this plan: every load is zero."
    if not result.options.pipelined:
        return f"{_latency(result)}; {proof}."
    more = info.more(result.stats, result.objective)
    before = f"{more[0].upper()}{more[1:]}. " if more else ""
    if direction is not None and result.options.schedule is Schedule.GPIPE:
        return f"{before}{_gpipe(result.devices, direction)}; {proof}."
    heaviest = max(d.load_ms for d in result.devices)
    tied = [d for d in result.devices if d.load_ms >= heaviest * (1 - TIED)]
    node = _dominant(tied[0], instance) if len(tied) == 1 else ""
    return f"{before}{_bottleneck(tied, result.options.communication)}{node}; {proof}."


def _bottleneck(tied: Sequence[DeviceReport], communication: Communication) -> str:
    first, several = tied[0], len(tied) > 1
    who = f"{_listed([d.name for d in tied])} {'are the bottlenecks' if several else 'is the bottleneck'}"
    load = f"{who} at {milliseconds(first.load_ms)} per sample{' each' if several else ''}"
    whose = "the load of each" if several else "its load"
    if several and not _alike(tied):
        whose = f"the load of {first.name}"
    if communication is Communication.SEQUENTIAL:
        parts = {
            "computing": first.compute_ms - first.sync_ms,
            "synchronising weights": first.sync_ms,
            "receiving": first.receive_ms,
            "sending": first.send_ms,
        }
        named = sorted((x for x in parts.items() if x[1] > 0), key=lambda x: -x[1])
        if len(named) == 1:
            return f"{load}, all of it {named[0][0]}"
        shares = [f"{percent(ms / first.load_ms)} {what}" for what, ms in named]
        largest, ms = named[0]
        shares[0] = f"{percent(ms / first.load_ms)} of {whose} is {largest}"
        return f"{load}: {_listed(shares)}"
    moved = {"receiving": first.receive_ms, "sending": first.send_ms}
    if communication is Communication.OVERLAP:
        moved = {"receiving and sending": first.receive_ms + first.send_ms}
    for what, ms in {"computing": first.compute_ms, **moved}.items():
        if ms >= first.load_ms * (1 - TIED):
            hidden = "its transfers hide" if what == "computing" else "what else it does hides"
            return f"{load}: all of {whose} is {what}, and {hidden} behind that"
    # Different parts dominate in the forward and in the backward pass.
    return f"{load}: computing in one pass, transfers in the other"


def _alike(tied: Sequence[DeviceReport]) -> bool:
    """Whether the parts of all these loads are the same."""
    first = tied[0]
    return all(
        abs(a - b) <= TIED * first.load_ms
        for d in tied
        for a, b in (
            (d.compute_ms, first.compute_ms),
            (d.receive_ms, first.receive_ms),
            (d.send_ms, first.send_ms),
        )
    )


def _gpipe(devices: Sequence[DeviceReport], direction: Direction) -> str:
    forward, backward = max(direction.forward_ms), max(direction.backward_ms)
    first = [d.name for d, x in zip(devices, direction.forward_ms, strict=True) if x >= forward * (1 - TIED)]
    second = [
        d.name for d, x in zip(devices, direction.backward_ms, strict=True) if x >= backward * (1 - TIED)
    ]
    if first == second:
        return (
            f"{_listed(first)} {'limit' if len(first) > 1 else 'limits'} both passes: "
            f"{milliseconds(forward)} forward and {milliseconds(backward)} backward"
        )
    return (
        f"{_listed(first)} {'limit' if len(first) > 1 else 'limits'} the forward pass "
        f"({milliseconds(forward)}) and {_listed(second)} the backward pass ({milliseconds(backward)})"
    )


def _latency(result: Result) -> str:
    total = result.objective or 0.0
    busiest = max(result.devices, key=lambda d: d.load_ms)
    moving = busiest.receive_ms + busiest.send_ms
    text = (
        f"One sample takes {milliseconds(total)}; {busiest.name} works during "
        f"{percent(min(1.0, busiest.load_ms / total))} of it"
    )
    if moving > 0:
        text += f", {percent(moving / busiest.load_ms)} of that moving data"
    return text


def _proof(result: Result) -> str:
    plan = "contiguous plan" if result.options.contiguous else "plan"
    better = OBJECTIVES[result.options.objective].better
    if result.status is Status.OPTIMAL:
        if result.gap is not None and result.gap > NEGLIGIBLE:
            return f"it is proven that no {plan} is more than {_small(result.gap)} {better}"
        return f"it is proven that no {plan} is {better}"
    if result.bound is not None and result.gap is not None and result.bound > 0:
        return f"a {plan} could at best be {_small(result.gap)} {better}"
    return f"how much {better} a plan could be is not known"


def _small(gap: float) -> str:
    return f"{100 * gap:.2g} %"


def _dominant(device: DeviceReport, instance: Instance | None) -> str:
    """Name the node that alone makes up most of the load of a device with several nodes."""
    if instance is None or len(device.nodes) < 2 or device.load_ms <= 0:
        return ""
    c = instance.device_class[instance.device_index[device.name]]
    times = {v: float(instance.class_time_ms[instance.index[v], c]) for v in device.nodes}
    largest = max(times, key=lambda v: times[v])
    if times[largest] < DOMINANT * device.load_ms:
        return ""
    name = instance.names[instance.index[largest]]
    return f", and node {name} alone takes {percent(times[largest] / device.load_ms)}"


def _listed(words: Sequence[str]) -> str:
    if len(words) > 5:
        return f"{', '.join(words[:3])} and {len(words) - 3} others"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
