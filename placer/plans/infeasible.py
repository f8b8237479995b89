"""Why there is no plan: simple causes found by counting, others by relaxing one family of rules at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray
from placer.instance.cluster import Device
from placer.instance.instance import Instance
from placer.options import Options, Recompute
from placer.tolerances import MEMORY_TOLERANCE
from placer.units import size

__all__ = ["simple_cause", "smallest_conflict"]


def simple_cause(instance: Instance, options: Options | None = None) -> str | None:
    """Name a cause that counting shows: pins that contradict, something too large, too much in total.

    Parameters
    ----------
    instance
        The instance, ``settled`` for the kind of plan; one microbatch is always in flight.
    options
        Say whether all that a device holds is in flight at once; by default it is.

    Returns
    -------
    str or None
        The cause in words, or None: then the instance may still be infeasible.
    """
    units = _units(instance)
    cause = _contradicting_pins(instance, units)
    if options and options.saves_memory and all(cls.mode.width == 1 for cls in instance.classes):
        return cause  # what one of several devices holds is not known yet
    cause = cause or _too_large(instance, units)
    # Virtual stages that compute their activations again do so one at a time.
    apart = options and options.virtual_stages > 1 and options.recompute is not Recompute.NONE
    held = instance.resident_bytes if apart else instance.held_bytes
    return cause or _too_much(instance, units, held)


Unit = tuple[str, IntArray]


def _units(instance: Instance) -> list[Unit]:
    """List what goes to one device as a whole: colocation groups and single nodes, with their names."""
    units = [(f"colocation group {group!r}", nodes) for group, nodes in instance.groups.items()]
    units += [
        (f"node {instance.ids[v]!r}", np.array([v]))
        for v in range(instance.n)
        if instance.colocate[v] is None
    ]
    return units


def _contradicting_pins(instance: Instance, units: list[Unit]) -> str | None:
    for v in range(instance.n):
        if not instance.allowed[v].any():
            rules = {
                "pinned to": instance.pin[v],
                "forbidden on": instance.forbid[v],
                "devices that must be used are": instance.constraints.use_devices,
            }
            said = "; ".join(f"{rule} {', '.join(names)}" for rule, names in rules.items() if names)
            return f"node {instance.ids[v]!r} has nowhere to go: no device that is left runs it ({said})"
    for name, nodes in units:
        if not instance.allowed[nodes].all(axis=0).any():
            shown = ", ".join(repr(instance.ids[v]) for v in nodes[:6]) + (", ..." if len(nodes) > 6 else "")
            return f"{name} has nowhere to go: its nodes ({shown}) share no allowed device"
    return None


def _too_large(instance: Instance, units: list[Unit]) -> str | None:
    limits = np.array([d.memory_limit_bytes for d in instance.devices])
    for name, nodes in units:
        allowed = instance.allowed[nodes].all(axis=0)
        need = float(instance.held_bytes[nodes].sum())
        room = limits[allowed].max()
        if need > room * (1 + MEMORY_TOLERANCE):
            device = instance.devices[int(np.flatnonzero(allowed)[np.argmax(limits[allowed])])]
            where = f"{device.name}, has {size(room)}{_less_reserve(instance, [device])}"
            return f"{name} needs {size(need)}; the largest device it may use, {where}"
    return None


def _less_reserve(instance: Instance, devices: list[Device]) -> str:
    """Say what reserves take of the memory of devices; empty where there are none."""
    taken = {
        (cls.memory_limit_bytes, cls.memory_limit_bytes - d.memory_limit_bytes)
        for d in devices
        for cls in (instance.classes[d.class_index],)
        if d.memory_limit_bytes < cls.memory_limit_bytes
    }
    if not taken:
        return ""
    parts = [f"{size(limit)} less a reserve of {size(reserve)}" for limit, reserve in sorted(taken)]
    return f" ({', '.join(parts[:4])}{' each' if len(devices) > 1 else ''})"


def _too_much(instance: Instance, units: list[Unit], held_bytes: FloatArray) -> str | None:
    limits = np.array([d.memory_limit_bytes for d in instance.devices])
    endless = np.isinf(limits)
    bound_to: list[tuple[IntArray, BoolArray]] = []
    for _, nodes in units:
        allowed: BoolArray = np.all(instance.allowed[nodes], axis=0)
        if not (allowed & endless).any():
            bound_to.append((nodes, allowed))
    if not bound_to:
        return None
    need = sum(float(held_bytes[nodes].sum()) for nodes, _ in bound_to)
    usable = np.logical_or.reduce([allowed for _, allowed in bound_to])
    room = float(limits[usable].sum())
    if need > room * (1 + MEMORY_TOLERANCE):
        count = sum(len(nodes) for nodes, _ in bound_to)
        devices = [instance.devices[d] for d in np.flatnonzero(usable)]
        kind = "device" if any(d.is_host for d in devices) else "accelerator"
        them = (
            f"{len(devices)} {kind}s that they may use have"
            if len(devices) > 1
            else f"{kind} that they may use has"
        )
        return (
            f"the {count} nodes that cannot run where memory has no limit need {size(need)} together; "
            f"the {them} {size(room)} in total{_less_reserve(instance, devices)}"
        )
    return None


@dataclass(frozen=True)
class Family:
    """A family of rules: whether an instance has any, and what drops them."""

    present: Callable[[Instance, Options], bool]
    relax: Callable[[Instance, Options], tuple[Instance, Options]]


def _ruled(**dropped: Any) -> Callable[[Instance, Options], tuple[Instance, Options]]:
    """Return what drops some of the rules on the whole plan."""
    return lambda i, o: (i.replace(constraints=replace(i.constraints, **dropped)), o)


def _classes(**changes: Any) -> Callable[[Instance, Options], tuple[Instance, Options]]:
    """Return what changes all classes."""
    return lambda i, o: (i.replace(classes=tuple(replace(c, **changes) for c in i.classes)), o)


def _one_microbatch(instance: Instance, options: Options) -> tuple[Instance, Options]:
    training = replace(instance.training, microbatches=1)
    return instance.replace(training=training), options.model_copy(update={"microbatches": 1})


FAMILIES: dict[str, Family] = {
    "contiguity": Family(
        lambda _, o: o.pipelined and o.contiguous,
        lambda i, o: (i, o.model_copy(update={"contiguous": False})),
    ),
    "the microbatches in flight": Family(
        lambda i, _: i.training.microbatches > 1 and bool(i.activation_bytes.any()), _one_microbatch
    ),
    "recomputation everywhere": Family(
        lambda _, o: o.recompute is Recompute.ALL,
        lambda i, o: (i, o.model_copy(update={"recompute": Recompute.AUTO})),
    ),
    "the memory reserves": Family(
        lambda i, _: any(c.reserve_bytes(k) > 0 for c in i.classes for k in range(c.count)),
        _classes(memory_reserve_bytes=0.0, memory_reserve_share=0.0),
    ),
    "the memory limits": Family(
        lambda i, _: any(np.isfinite(c.memory_limit_bytes) for c in i.classes),
        _classes(memory_limit_bytes=np.inf),
    ),
    "colocation": Family(lambda i, _: bool(i.groups), lambda i, o: (i.replace(colocate=(None,) * i.n), o)),
    "the nodes apart": Family(lambda i, _: bool(i.constraints.apart), _ruled(apart=())),
    "the limit on the number of devices": Family(
        lambda i, _: i.constraints.max_devices is not None, _ruled(max_devices=None)
    ),
    "the devices that must be used": Family(
        lambda i, _: bool(i.constraints.use_devices), _ruled(use_devices=())
    ),
    "the order of the devices": Family(
        lambda i, o: bool(i.order) and o.contiguous, lambda i, o: (i.replace(order=()), o)
    ),
    "pins and forbids": Family(
        lambda i, _: any(i.pin) or any(i.forbid),
        lambda i, o: (i.replace(pin=((),) * i.n, forbid=((),) * i.n), o),
    ),
}
"""Families of rules by name; the first ones are dropped first."""


def smallest_conflict(
    instance: Instance, options: Options, is_infeasible: Callable[[Instance, Options], bool]
) -> str:
    """Say which families of rules conflict, by dropping one after the other while no plan exists.

    Parameters
    ----------
    instance, options
        Proven infeasible.
    is_infeasible
        Proves infeasibility of a relaxed instance; False when it is feasible or stays open.

    Returns
    -------
    str
        The conflict in words: the families left form a smallest set that cannot hold together.
    """
    needed = []
    for name, family in FAMILIES.items():
        if not family.present(instance, options):
            continue
        relaxed = family.relax(instance, options)
        if is_infeasible(*relaxed):
            instance, options = relaxed
        else:
            needed.append(name)
    if not needed:
        return "proven infeasible by the solver; no single family of rules was found to cause it"
    together = " and ".join(needed)
    return f"proven infeasible: {together} cannot hold {'together' if len(needed) > 1 else 'here'}" + (
        "; dropping any one of them leaves a plan (or could not be decided in time)"
        if len(needed) > 1
        else "; without it there is a plan (or it could not be decided in time)"
    )
