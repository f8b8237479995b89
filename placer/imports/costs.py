"""Times of every operator on every device type, forward and backward: modelled or measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placer.arrays import BoolArray, FloatArray
from placer.imports.catalogue import Cluster
from placer.imports.gradients import Backward
from placer.imports.granularity import Part
from placer.imports.model import Kind, Model
from placer.imports.profiles import BACKWARD, Profile
from placer.imports.roofline import effective_precision, time_ms
from placer.imports.uncosted import check_costed

__all__ = ["Costs", "costs"]


@dataclass(frozen=True)
class Costs:
    """Times in ms.

    Parameters
    ----------
    types
        Device types, length T.
    forward, backward
        ``(operators, T)``; inf where an operator cannot run.
    notes
        What the user should know about them.
    """

    types: tuple[str, ...]
    forward: FloatArray
    backward: FloatArray
    notes: tuple[str, ...]

    def shares(self, parts: Sequence[Part]) -> list[float]:
        """Forward time of each part, on the device types that can run the model."""
        times = np.where(np.isfinite(self.forward), self.forward, 0.0).sum(axis=1)
        return [float(times[list(part.operators)].sum()) for part in parts]


def costs(
    model: Model,
    backward: Backward,
    cluster: Cluster,
    profiles: Sequence[Profile] = (),
    allow_uncosted: Sequence[str] = (),
) -> Costs:
    """Cost every operator.

    Parameters
    ----------
    model, backward
        The model and its backward pass.
    cluster
        Its device types are costed.
    profiles
        Measured times, which win over modelled ones; a backward pass that was not measured is scaled from the
        measured forward pass.
    allow_uncosted
        Operator types that may do without operations, though they may be products.

    Raises
    ------
    UsageError
        When a device has no peak for the precision, or a profile fits nothing.
    InputError
        When operators without a rule may be a share of the model that matters, and were not measured.
    """
    types = tuple(cluster.types)
    ahead = np.zeros((len(model.operators), len(types)))
    behind = np.zeros_like(ahead)
    notes: list[str] = []
    factor = np.array([f or 0.0 for f in backward.factor])
    if any(o.forward_ms is not None for o in model.operators):
        _from_source(model, cluster, types, ahead, behind)
        modelled = np.zeros(ahead.shape, dtype=bool)
    else:
        notes += _modelled(model, cluster, types, factor, ahead, behind)
        modelled = np.ones(ahead.shape, dtype=bool)
    for profile in profiles:
        notes.append(_measured(model, types, factor, profile, ahead, behind, modelled))
    check_costed(model, np.flatnonzero(modelled.any(axis=1)).tolist(), allow_uncosted)
    return Costs(types, ahead, behind, tuple(notes))


def _from_source(
    model: Model, cluster: Cluster, types: tuple[str, ...], ahead: FloatArray, behind: FloatArray
) -> None:
    """Take the times that the source measured for every accelerator; a host has none."""
    accelerators = {cls.type for cls in cluster.classes if not cls.is_host}
    for t, name in enumerate(types):
        if name not in accelerators:
            ahead[:, t] = behind[:, t] = np.inf
            continue
        ahead[:, t] = [o.forward_ms or 0.0 for o in model.operators]
        behind[:, t] = [o.backward_ms or 0.0 for o in model.operators]


def _modelled(
    model: Model,
    cluster: Cluster,
    types: tuple[str, ...],
    factor: FloatArray,
    ahead: FloatArray,
    behind: FloatArray,
) -> list[str]:
    precision = model.precision or "fp32"
    notes = [f"precision {precision}"]
    for t, name in enumerate(types):
        entry = cluster.types[name]
        used = effective_precision(name, entry, precision)
        if used != precision:
            notes.append(f"{name} has no peak for {precision} and computes in {used}")
        for i, o in enumerate(model.operators):
            if o.kind is Kind.VIEW:
                continue
            flops, moved = o.flops or 0.0, o.moved_bytes
            more = (o.kernels - 1) * entry.launch_ms
            ahead[i, t] = time_ms(entry, used, flops, moved) + more
            if factor[i]:
                behind[i, t] = time_ms(entry, used, factor[i] * flops, factor[i] * moved) + more
    without = Counter(o.op for o in model.operators if o.flops is None)
    if without:
        listed = ", ".join(f"{op} ({count})" for op, count in sorted(without.items()))
        notes.append(f"no FLOP rule, bytes over bandwidth instead: {listed}")
    return notes


def _measured(
    model: Model,
    types: tuple[str, ...],
    factor: FloatArray,
    profile: Profile,
    ahead: FloatArray,
    behind: FloatArray,
    modelled: BoolArray,
) -> str:
    t = types.index(profile.type)
    hits = 0
    used: set[str] = set()
    for i, o in enumerate(model.operators):
        name = profile.key(o)
        if name is None:
            continue
        hits += 1
        used.add(name)
        ahead[i, t] = profile.ms[name]
        modelled[i, t] = False
        own = profile.ms.get(name + BACKWARD)
        behind[i, t] = own if own is not None else factor[i] * profile.ms[name]
    for name, parts in profile.by_module(model.operators).items():
        hits += len(parts)
        used.add(name)
        shares = np.where(np.isfinite(ahead[parts, t]), ahead[parts, t], 0.0)
        ahead[parts, t] = _split(shares, profile.ms[name])
        own = profile.ms.get(name + BACKWARD)
        behind[parts, t] = (
            factor[parts] * ahead[parts, t] if own is None else _split(factor[parts] * shares, own)
        )
        modelled[parts, t] = False
    profile.check_used(hits)
    unknown = sum(1 for key in profile.ms if key.removesuffix(BACKWARD) not in used)
    rest = f"; {unknown} measured names are not in the model" if unknown else ""
    return f"measured times of {hits} of {len(model.operators)} operators on {profile.type}{rest}"


def _split(shares: FloatArray, total: float) -> FloatArray:
    """Divide a measured time in proportion to modelled ones."""
    whole = float(shares.sum())
    return shares * (total / whole) if whole > 0 else np.full(len(shares), total / len(shares))
