"""Annotations by which ONNX Runtime puts operators on an accelerator or the host.

An operator's metadata ``layer_ann`` names its group, and the session option
``session.layer_assignment_settings`` the device of each group: ``gpu(=accelerator);cpu(=host)``.  A session
has one accelerator.  Source: ONNX Runtime, "Graph partitioning with annotations and memory constraints".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from placer.errors import InputError, UsageError
from placer.exports.onnx_nodes import branch_lines, load_model
from placer.exports.placement import Placement
from placer.instance.cluster import Device
from placer.instance.instance import Instance

__all__ = ["KEY", "SETTING", "annotate", "write"]

KEY = "layer_ann"
"""Of an operator's metadata."""
SETTING = "session.layer_assignment_settings"
"""Name of the session option; the model's metadata holds its value under the same name."""
GROUPS = {"accelerator": "gpu", "host": "cpu"}
"""What operators are annotated with, and the device that ONNX Runtime is told."""


def write(placement: Placement, path: Path) -> list[str]:
    """Write the model with the annotations of a plan.

    Raises
    ------
    UsageError, InputError
        When the plan uses several accelerators, or the model is missing or another one.
    """
    where = {v: placement.device(v) for v in placement.forward.tolist()}
    return annotate(placement.instance, where, str(placement.model), path)


def annotate(instance: Instance, where: Mapping[int, Device], model: str, path: Path) -> list[str]:
    """Write a model with annotations.

    Parameters
    ----------
    instance
        The instance that was imported from the model.
    where
        Device of each node.
    model
        The model's file.
    path
        File to write; weights in files of their own stay where they are.

    Returns
    -------
    list of str
        Remarks: the session option to set, and what ONNX Runtime decides itself.

    Raises
    ------
    UsageError, InputError
        As `write`.
    """
    accelerators = sorted({device.name for device in where.values() if not device.is_host})
    if len(accelerators) > 1:
        raise UsageError(
            "onnx-runtime cannot express this plan: a session has one accelerator, the plan uses "
            f"{', '.join(accelerators)} (onnx-parts writes a model for each)"
        )
    group = {
        name: "host" if device.is_host else "accelerator"
        for v, device in where.items()
        if (origin := instance.origin[v]) is not None
        for name in origin.operators
    }
    made, called, taken = load_model(model, instance.source, set(group))
    for name, node in zip(called, made.graph.node, strict=True):
        _put(node.metadata_props, KEY, group.get(name))
    found = set(group).intersection(called)
    if missing := sorted(set(group) - found):
        raise InputError(f"the model has no operator with the output {missing[0]!r}", source=model)
    if not found:
        raise UsageError("the plan names no operator of the model (import it with `placer import onnx`)")
    used = [name for name in GROUPS if name in group.values()]
    value = ";".join(f"{GROUPS[name]}(={name})" for name in used)
    _put(made.metadata_props, SETTING, value)
    path.write_bytes(made.SerializeToString())
    remarks = [f"set the session option {SETTING} to {value} (the model's metadata has it, too)"]
    free = len(made.graph.node) - len(found)
    if free:
        remarks.append(f"{free} operators that the plan does not name go where ONNX Runtime puts them")
    return remarks + branch_lines(taken)


def _put(entries: Any, key: str, value: str | None) -> None:
    """Replace an entry of metadata; None leaves it out."""
    kept = [entry for entry in entries if entry.key != key]
    del entries[:]
    entries.extend(kept)
    if value is not None:
        entries.add(key=key, value=value)
