"""Labels: what is known of the stages from a downset to the end of a pipeline, and how one more changes it.

Let the stages of a suffix be numbered σ = 1, 2, ... from the end, with loads F and B, L = F + B.  The time of
m microbatches is the longest path through the graph of their tasks (`placer.plans.step_time`).  A stage in
front only makes paths longer, and some paths are the same whatever the loads:

``1f1b``  With T the time of the suffix and R = Σ L its round trip, the suffix with one stage more, the σ-th,
    takes at least each of
        L + T                            down through the new stage and back up
        m L                              the new stage serves all microbatches
        R + (m − σ + 1) F + m B          the first one comes back, and all that is left follows
        R + m F + (m − σ + 1) B          the last one goes down when all else was served
        2 R + (m − σ + 1) L              both
    (with m for σ where m < σ, and the last one for m > σ only).  All rise with T and R, so that labels (T, R)
    which no other is below are enough to find the least value that these paths allow.  It is a bound, and
    most often the true time.
``gpipe``, and inference (without B)  Σ L + (m − 1) (max F + max B) exactly; labels (Σ L, max F, max B).

A label is dropped when it cannot lead to a better time than a known plan: what is left of the graph takes at
least its least load in front, and n more devices pass at most the share 1 − (1 − 1/m)^n of T (since
L_1 ≤ T / m, L_1 + m L_2 ≤ T, ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from placer.arrays import BoolArray, FloatArray, IntArray

__all__ = ["Labels", "Rules", "joined", "undominated"]

NEIGHBOURS = (1, 2, 3, 5, 8, 13, 21, 34)
"""With more than two figures, a label is compared with those that precede it by so many places."""


@dataclass(frozen=True, eq=False)
class Labels:
    """C labels of suffixes of equally many stages.

    Parameters
    ----------
    downset
        What is left in front, ``(C,)``.
    used
        Devices used, by kind, as one number, ``(C,)``.
    run
        Those of the first stage's server in its run, ``(C,)``; 0 where a stage in front is in another.
    figures
        ``(C, 2)`` T and R, or ``(C, 3)`` Σ L, max F, max B; behind them A where gradients are summed.
    parent
        The label without the first stage, ``(C,)``.
    stage
        The first stage, ``(C,)``.
    """

    downset: IntArray
    used: IntArray
    run: IntArray
    figures: FloatArray
    parent: IntArray
    stage: IntArray

    def __len__(self) -> int:
        return len(self.downset)

    def only(self, kept: BoolArray | IntArray) -> Labels:
        """Return some of the labels."""
        return Labels(*(getattr(self, field.name)[kept] for field in fields(self)))


@dataclass(frozen=True)
class Rules:
    """How labels grow for m microbatches.

    ``flow`` says that forward and backward passes are apart, ``synced`` that some stages sum the gradients of
    replicas after all microbatches: the longest such time A is added to that of the pipeline.
    """

    microbatches: int
    flow: bool
    synced: bool = False

    @property
    def empty(self) -> FloatArray:
        """Figures without any stage, ``(1, ·)``."""
        return np.zeros((1, (3 if self.flow else 2) + self.synced))

    def grown(
        self, figures: FloatArray, load_ms: FloatArray, place: int, sync_ms: FloatArray | float = 0.0
    ) -> FloatArray:
        """Figures with one more stage in front, of loads ``(2, C)``; it is the ``place``-th from the end."""
        if self.synced:
            longest = np.maximum(figures[:, -1], sync_ms)
            return np.column_stack([self._passed(figures[:, :-1], load_ms, place), longest])
        return self._passed(figures, load_ms, place)

    def _passed(self, figures: FloatArray, load_ms: FloatArray, place: int) -> FloatArray:
        """Return the figures of the pipeline alone."""
        forward, backward = load_ms
        both = forward + backward
        if self.flow:
            total, most_f, most_b = figures.T
            return np.stack([total + both, np.maximum(most_f, forward), np.maximum(most_b, backward)], axis=1)
        m = self.microbatches
        time, trip = figures.T
        time = np.maximum(both + time, m * both)
        rest = m - min(place, m) + 1
        time = np.maximum(time, trip + rest * forward + m * backward)
        time = np.maximum(time, trip + m * forward + rest * backward)
        if m > place:
            time = np.maximum(time, 2 * trip + rest * both)
        return np.stack([time, trip + both], axis=1)

    def time_ms(self, figures: FloatArray) -> FloatArray:
        """Return what the figures say about the time of the suffix, ``(C,)``."""
        behind = figures[:, -1] if self.synced else 0.0
        if not self.flow:
            return np.asarray(figures[:, 0] + behind)
        return np.asarray(figures[:, 0] + (self.microbatches - 1) * (figures[:, 1] + figures[:, 2]) + behind)

    def at_least(self, figures: FloatArray, left_ms: FloatArray, devices: IntArray) -> FloatArray:
        """Return a bound on the time of all pipelines that a label leads to, ``(C,)``.

        Parameters
        ----------
        figures
            Of the labels.
        left_ms
            Least load of what is left, ``(C,)``.
        devices
            How many may share it, ``(C,)``.
        """
        own = self.time_ms(figures) + left_ms
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.flow:  # some device left has a mean share, in both directions together
                rest = figures[:, 0] + left_ms + (self.microbatches - 1) * left_ms / devices
            else:
                rest = left_ms / -np.expm1(devices * np.log1p(-1.0 / self.microbatches))
        if self.synced:
            rest = rest + figures[:, -1]
        return np.where(left_ms > 0, np.maximum(own, np.where(np.isnan(rest), np.inf, rest)), own)


def joined(parts: Sequence[Labels]) -> Labels:
    """Return the labels of all parts."""
    columns = ([getattr(part, field.name) for part in parts] for field in fields(Labels))
    return Labels(*map(np.concatenate, columns))


def undominated(labels: Labels) -> BoolArray:
    """Whether no other label with the same downset and devices is below, ``(C,)``; of three figures: most."""
    size = len(labels)
    key = labels.downset * (int(labels.used.max(initial=0)) + 1) + labels.used
    key = key * (int(labels.run.max(initial=0)) + 1) + labels.run
    order = np.lexsort((*labels.figures.T[::-1], key))
    key, figures = key[order], labels.figures[order]
    kept = np.ones(size, dtype=np.bool_)
    if figures.shape[1] == 2:
        # Within a group the first figure rises, so the second has to fall below all before it.
        rank = np.unique(figures[:, 1], return_inverse=True)[1].reshape(-1).astype(np.int64)
        group = np.cumsum(np.concatenate([[0], key[1:] != key[:-1]]))[:size]
        falling = rank - group * (size + 1)
        kept[1:] = falling[1:] < np.minimum.accumulate(falling)[:-1]
    else:
        for step in NEIGHBOURS:
            if step < size:
                below = (figures[:-step] <= figures[step:]).all(axis=1) & (key[:-step] == key[step:])
                kept[step:] &= ~below
    out = np.empty(size, dtype=np.bool_)
    out[order] = kept
    return out
