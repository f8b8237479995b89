"""Hugging Face ``device_map``: which device each module or parameter of a torch model is loaded to.

A key covers a name if it is the name or a prefix of it up to a dot.  Accelerators are numbered by their
position in the cluster, hosts are ``"cpu"``.  Accelerate moves the inputs of every module that has a key to
that module's device; whatever runs between such modules (a residual sum, say) runs where its inputs are.
Source: accelerate, ``dispatch_model`` and ``check_device_map``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from placer.errors import UsageError
from placer.exports.modules import is_within, parent
from placer.exports.placement import Placement
from placer.instance.order import topological_position

__all__ = ["Target", "cover", "device_map", "write"]

Target = int | str
"""Number of an accelerator, or ``"cpu"``."""


def write(placement: Placement, path: Path) -> list[str]:
    """Write the map as JSON."""
    mapping, remarks = device_map(placement)
    path.write_text(json.dumps(mapping, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return remarks


def device_map(placement: Placement) -> tuple[dict[str, Target], list[str]]:
    """Make the map.

    Returns
    -------
    (dict, list of str)
        Device by module or parameter, keys disjoint and in order of execution; and remarks.

    Raises
    ------
    UsageError
        When the plan splits what only a whole module can do.
    """
    tensors = _tensors(placement)
    points = defaultdict(set, {name: {device} for name, device in tensors.items()})
    for v, origin in placement.origins():
        if origin.module is not None:
            points[origin.module].add(_target(placement, v))
    if not tensors:
        raise UsageError(
            "device-map needs to know the model's parameters, and no node names any "
            "(import the model with `placer import torch`)"
        )
    keys: dict[str, Target] = {}
    cover("", dict(points), keys)
    _check_own_tensors(tensors, keys)
    return keys, _remarks(placement, keys)


def _target(placement: Placement, node: int) -> Target:
    device = placement.device(node)
    return "cpu" if device.is_host else placement.accelerator_number[device.index]


def _shown(target: Target) -> str:
    return target if isinstance(target, str) else f"accelerator {target}"


def _tensors(placement: Placement) -> dict[str, Target]:
    """Device of every parameter and buffer that an operator reads, in order of execution."""
    out: dict[str, Target] = {}
    position = topological_position(placement.instance)
    for v, origin in sorted(placement.origins(), key=lambda pair: position[pair[0]]):
        for name in origin.parameters:
            target = _target(placement, v)
            if out.setdefault(name, target) != target:
                raise UsageError(
                    f"device-map cannot express this plan: the parameter {name!r} is read on "
                    f"{_shown(out[name])} and on {_shown(target)}, and a map gives each tensor one device "
                    "(import the model with --tied colocate)"
                )
    return out


def cover(module: str, points: dict[str, set[Target]], keys: dict[str, Target]) -> None:
    """Give a module one key if all of it is on one device, or else go into its children."""
    devices = set().union(*points.values())
    if len(devices) == 1:
        keys[module] = devices.pop()
        return
    children: dict[str, dict[str, set[Target]]] = {}
    start = len(module) + 1 if module else 0
    for name, at in points.items():
        if name != module:  # what the module computes itself has no key: it runs where its inputs are
            child = name[: start + len(name[start:].partition(".")[0])]
            children.setdefault(child, {})[name] = at
    for child, inside in children.items():
        cover(child, inside, keys)


def _check_own_tensors(tensors: dict[str, Target], keys: dict[str, Target]) -> None:
    """Tensors that one module holds directly are used together and must be on one device."""
    first: dict[str, str] = {}
    for name, target in tensors.items():
        if name in keys and tensors[other := first.setdefault(parent(name), name)] != target:
            raise UsageError(
                f"device-map cannot express this plan: {other!r} and {name!r} belong to one module, "
                f"and are on {_shown(tensors[other])} and {_shown(target)}"
            )


def _key(name: str, keys: dict[str, Target]) -> str | None:
    """Find the key that covers a module or a tensor; there is none for a module that is split."""
    return next((key for key in keys if is_within(name, key)), None)


def _remarks(placement: Placement, keys: dict[str, Target]) -> list[str]:
    """Follow the data as accelerate moves it, and say what differs from the plan.

    Raises
    ------
    UsageError
        When an operator between modules would read tensors of several devices.
    """
    instance = placement.instance
    position = topological_position(instance)
    forward = sorted(placement.forward.tolist(), key=lambda v: position[v])
    real: dict[int, Target | None] = {}
    moved = 0
    for v in forward:
        origin = instance.origin[v]
        module = None if origin is None else origin.module
        if module is not None and (key := _key(module, keys)) is not None:
            real[v] = keys[key]
            continue
        tensors = () if origin is None else origin.parameters
        own = [name for name in tensors if module is None or parent(name) == module]
        found = {real[u] for u in instance.predecessors[v].tolist()} - {None}
        found |= {keys[key] for name in own if (key := _key(name, keys)) is not None}
        if len(found) > 1:
            where = " and ".join(sorted(_shown(t) for t in found if t is not None))
            raise UsageError(
                f"device-map cannot express this plan: {instance.names[v]!r} reads tensors on {where}, and "
                f"data moves only into modules that are whole on one device (plan with larger nodes, "
                "such as whole blocks, --by module)"
            )
        inner = {keys[key] for name in set(tensors) - set(own) if (key := _key(name, keys)) is not None}
        real[v] = max(inner or found, key=str, default=None)
        moved += real[v] not in (None, _target(placement, v))
    remarks = []
    if moved:
        remarks.append(
            f"{moved} operators between modules run where their inputs are, not where the plan says"
        )
    if "cpu" in keys.values() and len(set(keys.values())) > 1:
        remarks.append(
            "accelerate keeps the modules on 'cpu' in host memory and computes them on its main device"
        )
    return remarks
