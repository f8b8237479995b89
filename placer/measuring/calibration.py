"""Fitting what the catalogue assumes of a device, efficiencies and launch time, to measured times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placer.arrays import FloatArray, IntArray
from placer.errors import InputError
from placer.imports.catalogue import DeviceEntry
from placer.imports.gradients import Backward
from placer.imports.model import Kind, Model
from placer.imports.profiles import BACKWARD, Profile
from placer.imports.roofline import effective_precision

__all__ = ["Calibration", "Deviation", "Measured", "calibrate", "measured"]

FASTEST = 16.0
"""How far above the peaks of the catalogue a device may turn out to be."""
SLOWEST = 1e-4
LEAST_LAUNCH_MS, LONGEST_LAUNCH_MS = 1e-6, 1.0
CHANGE = 1e-5
"""What a change of a figure by a factor of e costs, against deviations as shares of the measured time."""
COARSE = 25
"""Values of each figure in the grid that is tried first."""
ROUNDS, DRAWS = 150, 100
"""Then points are drawn around the best: in how many rounds, and how many."""
WIDER, NARROWER = 1.1, 0.7
"""How the distance of the draws changes after a better point, and after none."""


@dataclass(frozen=True)
class Measured:
    """What a model does on a device, and what it took; a row is a kernel, an observation the sum of its rows.

    Parameters
    ----------
    name
        The model.
    precision
        The format that the device computes in.
    flops, moved_bytes, kernels
        Of each row, ``(R,)``.
    observation
        Which observation a row belongs to, ``(R,)``.
    ms
        Measured milliseconds of each observation, ``(N,)``.
    """

    name: str
    precision: str
    flops: FloatArray
    moved_bytes: FloatArray
    kernels: FloatArray
    observation: IntArray
    ms: FloatArray


@dataclass(frozen=True)
class Deviation:
    """How far modelled times are from measured ones.

    Parameters
    ----------
    whole
        Of the sum over the model, relative; positive when modelled is slower.
    each
        Sum of the absolute deviations of all observations over the sum of the measured times.
    """

    whole: float
    each: float


@dataclass(frozen=True)
class Calibration:
    """A device as measured.

    Parameters
    ----------
    device
        The entry with fitted figures.
    before, after
        Deviations of each model, with the entry as it was and as it is.
    """

    device: DeviceEntry
    before: tuple[Deviation, ...]
    after: tuple[Deviation, ...]


def measured(model: Model, backward: Backward, device: str, entry: DeviceEntry, profile: Profile) -> Measured:
    """Bring together what a model's operators do and what they took.

    Raises
    ------
    InputError
        When the profile measures no operator of the model.
    """
    ms: list[float] = []
    rows: list[tuple[float, float, float, int]] = []
    alone = {key: [i] for i, o in enumerate(model.operators) if (key := profile.key(o)) is not None}
    for key, parts in (*alone.items(), *profile.by_module(model.operators).items()):
        for name, factors in (
            (key, [1.0] * len(parts)),
            (key + BACKWARD, [backward.factor[i] or 0.0 for i in parts]),
        ):
            if name not in profile.ms:
                continue
            work = [
                (f * (o.flops or 0.0), f * o.moved_bytes, float(o.kernels), len(ms))
                for i, f in zip(parts, factors, strict=True)
                if f and (o := model.operators[i]).kind is not Kind.VIEW
            ]
            if work:
                rows += work
                ms.append(profile.ms[name])
    if not sum(ms) > 0:
        raise InputError("it measures no operator of this model", source=profile.source)
    flops, moved, kernels, observation = (np.array(column) for column in zip(*rows, strict=True))
    precision = effective_precision(device, entry, model.precision or "fp32")
    return Measured(model.name, precision, flops, moved, kernels, observation.astype(np.int64), np.array(ms))


def calibrate(entry: DeviceEntry, models: Sequence[Measured]) -> Calibration:
    """Fit compute efficiency, bandwidth efficiency and launch time of a device.

    Minimised is, summed over models, the deviation of each observation plus that of the whole
    (`Deviation`): over a grid of the logarithms of the three figures, then by draws closing in on the best.

    Parameters
    ----------
    entry
        The device as the catalogue has it.
    models
        What was measured there.
    """
    said = np.log(
        [entry.compute_efficiency, entry.bandwidth_efficiency, max(entry.launch_ms, LEAST_LAUNCH_MS)]
    )

    def cost(logs: FloatArray) -> FloatArray:
        # What no measured time depends on stays as the catalogue says.
        changed: FloatArray = CHANGE * np.abs(logs - said).sum(axis=1)
        return sum((_cost(entry, model, np.exp(logs)) for model in models), changed)

    low = np.log([SLOWEST, SLOWEST, LEAST_LAUNCH_MS])
    high = np.log([FASTEST, FASTEST, LONGEST_LAUNCH_MS])
    axes = [np.linspace(a, b, COARSE) for a, b in zip(low, high, strict=True)]
    tried = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    rng, width = np.random.default_rng(0), (high - low) / COARSE
    best = tried[int(np.argmin(cost(tried)))]
    for _ in range(ROUNDS):
        step = width * rng.standard_normal((DRAWS, 3)) * rng.integers(0, 2, (DRAWS, 3))  # not all at once
        tried = np.vstack([best, np.clip(best + step, low, high)])
        first = int(np.argmin(cost(tried)))
        best, width = tried[first], width * (WIDER if first else NARROWER)
    figures = np.exp(best)
    return Calibration(
        device=_with(entry, {model.precision for model in models}, *map(float, figures)),
        before=tuple(_deviation(entry, model) for model in models),
        after=tuple(_deviation(entry, model, figures) for model in models),
    )


def _with(
    entry: DeviceEntry, precisions: set[str], compute: float, move: float, launch: float
) -> DeviceEntry:
    """Return the entry with these figures; what is faster than its peak gets the higher peak."""
    peaks = dict(entry.peak_tflops)
    if compute > 1:
        peaks |= {name: peaks[name] * compute for name in precisions}
    return entry.model_copy(
        update={
            "peak_tflops": peaks,
            "compute_efficiency": min(1.0, compute),
            "bandwidth_gb_per_s": entry.bandwidth_gb_per_s * max(1.0, move),
            "bandwidth_efficiency": min(1.0, move),
            "launch_ms": launch,
        }
    )


def _times(entry: DeviceEntry, model: Measured, figures: FloatArray) -> FloatArray:
    """Modelled milliseconds of each observation, ``(F, N)`` for figures ``(F, 3)``."""
    compute = 1e3 * model.flops / (entry.peak_tflops[model.precision] * 1e12)
    move = 1e3 * model.moved_bytes / (entry.bandwidth_gb_per_s * 1e9)
    rows = np.maximum(compute / figures[:, :1], move / figures[:, 1:2]) + figures[:, 2:] * model.kernels
    first = np.flatnonzero(np.diff(model.observation, prepend=-1))
    out: FloatArray = np.add.reduceat(rows, first, axis=1)
    return out


def _cost(entry: DeviceEntry, model: Measured, figures: FloatArray) -> FloatArray:
    out: list[FloatArray] = []
    step = max(1, 4_000_000 // len(model.flops))  # rows of a block: memory stays small
    for begin in range(0, len(figures), step):
        times = _times(entry, model, figures[begin : begin + step])
        out.append(np.abs(times - model.ms).sum(axis=1) + np.abs(times.sum(axis=1) - model.ms.sum()))
    whole: FloatArray = np.concatenate(out) / model.ms.sum()
    return whole


def _deviation(entry: DeviceEntry, model: Measured, figures: FloatArray | None = None) -> Deviation:
    if figures is None:
        figures = np.array([entry.compute_efficiency, entry.bandwidth_efficiency, entry.launch_ms])
    times = _times(entry, model, figures[None])[0]
    total = float(model.ms.sum())
    return Deviation(float(times.sum()) / total - 1, float(np.abs(times - model.ms).sum()) / total)
