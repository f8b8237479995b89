"""Split points for ``torch.distributed.pipelining``: where each stage after the first begins.

PyTorch traces the model and cuts the trace at marks before (``BEGINNING``) or after (``END``) the call of a
submodule.  Stage i runs on rank i, or on rank i mod P where each of P ranks has several virtual stages.
Source: PyTorch documentation, "Pipeline Parallelism".
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from placer.arrays import BoolArray, IntArray
from placer.errors import InputError, UsageError
from placer.exports.modules import ancestors, is_within
from placer.exports.placement import Placement
from placer.formats.text import parse_json, read_text
from placer.instance.instance import Instance
from placer.options import Schedule
from placer.plans.step_time import microbatches_of

if TYPE_CHECKING:
    from torch.distributed.pipelining import SplitPoint

__all__ = ["load_split_spec", "split_spec", "write"]

FORMAT = "placer-torch-split"
NAMED = 6
"""Nodes that a remark names at most."""
BEGINNING, END = "BEGINNING", "END"


def write(placement: Placement, path: Path) -> list[str]:
    """Write split points, the device of each stage, and what a schedule is made of as JSON."""
    spec, remarks = split_spec(placement)
    instance, options = placement.instance, placement.result.options
    devices = [instance.devices[d].name for d in _devices(placement)]
    document: dict[str, object] = {"format": FORMAT, "version": 1, "split_spec": spec, "stages": devices}
    if instance.is_training:
        one = "1F1B" if placement.plan.chunk is None else "Interleaved1F1B"
        document["schedule"] = "GPipe" if options.schedule is Schedule.GPIPE else one
        document["microbatches"] = microbatches_of(instance, options)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return remarks


def load_split_spec(path: str | Path) -> dict[str, SplitPoint]:
    """Read split points as ``torch.distributed.pipelining.pipeline`` takes them.

    Raises
    ------
    InputError
        When the file is no split made by ``placer export --to torch-split``.
    """
    from torch.distributed.pipelining import SplitPoint

    document = parse_json(read_text(path), str(path))
    spec = document.get("split_spec") if isinstance(document, dict) else None
    if not isinstance(spec, dict) or document.get("format") != FORMAT:
        raise InputError("not a split written by `placer export --to torch-split`", source=str(path))
    wrong = [name for name, point in spec.items() if point not in (BEGINNING, END)]
    if wrong:
        raise InputError(f"{spec[wrong[0]]!r} is no split point", source=str(path), place=wrong[0])
    return {name: SplitPoint[point] for name, point in spec.items()}


def _devices(placement: Placement) -> list[int]:
    """Device of each stage, in pipeline order."""
    if placement.plan.chunk is None:
        return [placement.part_device(part).index for part in placement.parts]
    return [*(placement.plan.stages or ())] * placement.result.options.virtual_stages


def split_spec(placement: Placement) -> tuple[dict[str, str], list[str]]:
    """Find the split points.

    The nodes of the instance are listed in the order of the trace.  A stage begins with its first node that
    has parameters; nodes without parameters are cut where the marks allow and may change sides, which is
    said in a remark.

    Returns
    -------
    (dict, list of str)
        ``"BEGINNING"`` or ``"END"`` by module, in order; and remarks.

    Raises
    ------
    UsageError
        When the stages form no chain, are interleaved in the trace, meet inside one module, or one is empty.
    """
    parts = placement.stages("torch-split")
    instance, devices = placement.instance, _devices(placement)
    on = [instance.devices[d].name for d in devices]
    if not all(parts):
        empty = next(s for s, nodes in enumerate(parts) if not nodes)
        raise UsageError(
            f"torch-split cannot express this plan: virtual stage {empty + 1}, on {on[empty]}, is empty"
        )
    order = _trace(placement)
    modules = [origin.module if (origin := instance.origin[v]) is not None else None for v in order]
    if all(module is None for module in modules):
        raise UsageError(
            "torch-split needs to know the model's modules, and no node names one "
            "(import the model with `placer import torch`)"
        )
    stage_of = {v: s for s, nodes in enumerate(parts) for v in nodes}
    stage = np.array([stage_of[v] for v in order])
    fixed = np.array([bool((o := instance.origin[v]) is not None and o.parameters) for v in order])
    spec: dict[str, str] = {}
    cuts = []
    for s in range(1, len(parts)):
        name, point, cut = _point(on[s - 1 : s + 1], s, stage, fixed, modules, taken=spec)
        spec[name] = point
        cuts.append(cut)
    real = np.searchsorted(np.array(cuts), np.arange(len(order)), side="right")
    at = dict(zip(order, real.tolist(), strict=True))
    ranks = len(set(devices))
    remarks = placement.run_elsewhere(
        {v: devices[s] for v, s in at.items()},
        "torch-split",
        "stages begin and end with modules",
        {v: s // ranks for v, s in at.items()},
    )
    if placement.plan.recompute:
        names = ", ".join(instance.devices[d].name for d in placement.plan.recompute)
        remarks.append(
            f"the plan recomputes activations on {names}: wrap these stages in torch.utils.checkpoint"
        )
    if again := [instance.names[v] for v in placement.plan.again if not instance.backward[v]]:
        named = ", ".join(again[:NAMED]) + (", ..." if len(again) > NAMED else "")
        remarks.append(f"the plan recomputes activations of {named}: wrap these in torch.utils.checkpoint")
    return spec, remarks + _copies(instance, order, real) + _skips(instance, order, real)


def _trace(placement: Placement) -> list[int]:
    """List the forward nodes in the order of the trace; what only passes on a node's output follows it."""
    instance = placement.instance
    sent: dict[int, list[int]] = {}
    own: list[int] = []
    for v in placement.forward.tolist():
        before = instance.predecessors[v].tolist()
        passes_on = instance.origin[v] is None and len(before) == 1 and instance.origin[before[0]] is not None
        (sent.setdefault(before[0], []) if passes_on else own).append(v)
    return [w for v in own for w in (v, *sent.get(v, ()))]


def _point(
    devices: Sequence[str],
    s: int,
    stage: IntArray,
    fixed: BoolArray,
    modules: Sequence[str | None],
    taken: Container[str],
) -> tuple[str, str, int]:
    """Find the mark between two stages: module, kind, and position in the trace of the first node after."""
    here, there = devices
    low = int(np.max(np.flatnonzero(fixed & (stage < s)), initial=-1)) + 1
    high = int(np.min(np.flatnonzero(fixed & (stage >= s)), initial=len(stage)))
    if low > high:
        raise UsageError(
            f"torch-split cannot express this plan: {modules[high]!r} comes before {modules[low - 1]!r} in "
            f"the model, but runs on {there} after {here}"
        )
    # The cut that sends as few nodes as possible to another stage; the plan's own where it has a mark.
    candidates = sorted(
        range(low, high + 1), key=lambda cut: (stage[:cut] >= s).sum() + (stage[cut:] < s).sum()
    )
    for cut in candidates:
        for name, point in _marks(modules, cut):
            if name not in taken:
                return name, point, cut
    raise UsageError(
        f"torch-split cannot express this plan: {here} and {there} meet inside the module "
        f"{modules[min(high, len(modules) - 1)]!r} (import the model with --by module)"
    )


def _marks(modules: Sequence[str | None], cut: int) -> Iterator[tuple[str, str]]:
    """Modules that begin or end at a position of the trace, and are called once."""
    for module in ancestors(modules[cut] or "") if cut < len(modules) else ():
        if _run(modules, module)[0] == cut and not _is_list(modules, module):
            yield module, BEGINNING
    for module in ancestors(modules[cut - 1] or "") if cut else ():
        if _run(modules, module)[1] == cut and not _is_list(modules, module):
            yield module, END


def _is_list(modules: Sequence[str | None], module: str) -> bool:
    """Whether all that is in a module has numbers: a list of modules is never called itself."""
    inside = [m for m in modules if m is not None and is_within(m, module)]
    return all(m[len(module) + 1 :].partition(".")[0].isdecimal() for m in inside)


def _run(modules: Sequence[str | None], module: str) -> tuple[int, int]:
    """Positions where a module's nodes begin and end; (-1, -1) when others come between: two calls."""
    inside = [i for i, m in enumerate(modules) if m is not None and is_within(m, module)]
    whole = inside[-1] - inside[0] + 1 == len(inside)
    return (inside[0], inside[-1] + 1) if whole else (-1, -1)


def _copies(instance: Instance, order: Sequence[int], real: IntArray) -> list[str]:
    """Say which weights are needed on several stages, and what to do before PyTorch splits the model."""
    readers: dict[str, list[int]] = {}
    for i, v in enumerate(order):
        origin = instance.origin[v]
        for name in () if origin is None else origin.parameters:
            readers.setdefault(name, []).append(i)
    tied: dict[tuple[int, ...], list[str]] = {}
    for name, at in readers.items():
        if len({int(real[i]) for i in at}) > 1:
            tied.setdefault(tuple(at), []).append(name)
    sums = ", and sum the gradients of the copies in each step" if instance.is_training else ""
    return [
        f"{' and '.join(names)} lie on several stages: give each a copy before pipeline(...), "
        f"model.{names[1]} = torch.nn.Parameter(model.{names[0]}.detach().clone()){sums}"
        if len(names) > 1
        else f"{names[0]} is read on several stages, and lies on each{sums}"
        for names in tied.values()
    ]


def _skips(instance: Instance, order: Sequence[int], real: IntArray) -> list[str]:
    """Warn of tensors that skip a stage: PyTorch runs them forward only."""
    if not instance.is_training:
        return []
    stage = dict(zip(order, real.tolist(), strict=True))
    skipping = sum(stage[w] - stage[u] > 1 for u, w in instance.forward_edges.tolist())
    if not skipping:
        return []
    return [f"{skipping} tensors skip a stage; torch.distributed.pipelining has no backward pass for them"]
