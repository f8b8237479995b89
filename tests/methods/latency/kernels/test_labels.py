"""Labels that are kept at a downset against comparing all pairs of those that came."""

from typing import NamedTuple

import numpy as np
import pytest

from placer.methods.latency.kernels.arrays import DROPPED, Labels
from placer.methods.latency.kernels.labels import insert
from placer.methods.latency.kernels.views import LabelsView, LatticeView, SlotsView
from placer.methods.latency.lattice_tables import ROOT, empty_labels
from tests.methods.latency.kernels.test_tables import bounds_of, model_of, slots_of

NO_BEAM = 2**40
CANDIDATE = 0
"""The row in which new labels are built."""


class Label(NamedTuple):
    makespan: float
    bound: float
    finish: tuple[float, ...]
    left: tuple[int, ...]
    free: tuple[float, ...]
    busy: tuple[float, ...]
    where: tuple[int, ...]


class Shelf:
    """A downset of a random model, and room for its labels."""

    def __init__(self, seed: int) -> None:
        model = model_of(seed, 2)
        self.slots = slots_of(model, 2, serial=True)
        bounded = bounds_of(model, slots_of(model, 2, serial=False))
        self.lattice = bounded.lattice
        live = np.diff(self.lattice.live_start) + 2 * np.diff(self.lattice.open_start)
        self.state = int(np.argmax(live[:-1]))
        self.live = int(np.diff(self.lattice.live_start)[self.state])
        self.open = int(np.diff(self.lattice.open_start)[self.state])
        self.labels: Labels = empty_labels(bounded, self.slots, 400, np.inf)
        if self.state == 0:
            self.labels.head[0], self.labels.length[0] = -1, 0

    def put(self, label: Label, beam: int = NO_BEAM) -> None:
        for name in ("makespan", "bound"):
            getattr(self.labels, name)[CANDIDATE] = getattr(label, name)
        for name in ("finish", "left", "free", "busy", "where"):
            value = getattr(label, name)
            getattr(self.labels, name)[CANDIDATE, : len(value)] = value
        self.labels.name[CANDIDATE] = np.arange(len(self.slots.kind))
        self.labels.parent[CANDIDATE], self.labels.level[CANDIDATE] = ROOT, 0
        views = LabelsView(self.labels), LatticeView(self.lattice), SlotsView(self.slots)
        insert(*views, self.state, beam)

    def kept(self) -> list[Label]:
        out, row = [], int(self.labels.head[self.state])
        while row >= 0:
            rows = {name: getattr(self.labels, name)[row].tolist() for name in Label._fields}
            rows["finish"], rows["where"] = rows["finish"][: self.live], rows["where"][: self.open]
            out.append(Label(*(tuple(x) if isinstance(x, list) else x for x in rows.values())))
            row = int(self.labels.follow[row])
        return out

    def random_label(self, rng: np.random.Generator) -> Label:
        """Few different numbers, so that one label is often as good as another in most things."""
        slots = len(self.slots.kind)
        left = rng.integers(0, 2, size=slots)
        finish, makespan = rng.integers(0, 3, size=self.live), int(rng.integers(2, 4))
        return Label(
            float(makespan),
            float(makespan + rng.integers(1, 4)),
            tuple(finish.astype(float).tolist()),
            tuple(left.tolist()),
            tuple(np.where(left > 0, rng.integers(0, 2, size=slots), -1.0).tolist()),
            tuple(np.where(left > 0, rng.integers(0, 2, size=slots), np.inf).tolist()),
            tuple(rng.integers(0, max(1, slots), size=self.open).tolist()),
        )


def no_worse(a: Label, b: Label) -> bool:
    """Whether whatever can follow b can follow a, and ends no later than it may after b."""
    usable = np.array(b.left) > 0
    return (
        max(a.bound, a.makespan) <= b.bound
        and bool((np.array(a.finish) <= b.finish).all())
        and bool((np.array(a.left) >= b.left)[usable].all())
        and bool((np.array(a.free) >= b.free)[usable].all())
        and bool((np.array(a.busy) <= b.busy)[usable].all())
        and a.where == b.where
    )


@pytest.mark.parametrize("seed", range(20))
def test_only_labels_that_no_other_makes_superfluous_are_kept(seed):
    shelf, rng = Shelf(seed), np.random.default_rng(seed)
    came: list[Label] = []
    for _ in range(120):
        label = shelf.random_label(rng)
        expected = shelf.kept()
        if not any(no_worse(old, label) for old in expected):
            expected = [label, *(old for old in expected if not no_worse(label, old))]
        shelf.put(label)
        came.append(label)
        assert shelf.kept() == expected
    kept = shelf.kept()
    assert all(any(no_worse(a, b) for a in kept) for b in came)
    assert len(kept) < len(came)
    assert shelf.labels.values[DROPPED] == np.inf


@pytest.mark.parametrize("seed", range(20))
def test_a_beam_keeps_the_best_of_each_rank_and_says_what_it_gave_up(seed):
    shelf, rng, beam = Shelf(seed), np.random.default_rng(seed), 2
    given_up = np.inf
    for _ in range(60):
        label = shelf.random_label(rng)
        expected = shelf.kept()
        if not any(no_worse(old, label) for old in expected):
            expected = [label, *(old for old in expected if not no_worse(label, old))]
        rank = [old for old in expected if sum(old.left) == sum(label.left)]
        if label in expected and len(rank) > beam:
            worst = max((old.bound, old.makespan) for old in rank)
            given_up = min(given_up, worst[0])
            expected.remove(next(old for old in rank if (old.bound, old.makespan) == worst))
        shelf.put(label, beam)
        assert shelf.kept() == expected
        assert shelf.labels.values[DROPPED] == given_up
