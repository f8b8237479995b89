"""Boxes of forward and backward loads: bounds below every optimum under gpipe, and the optimum itself."""

import numpy as np
import pytest

from placer.instance.instance import Instance
from placer.methods.downsets import peak_boxes
from placer.methods.downsets.dpl import improve
from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.peak_boxes import PeakBoxes
from placer.options import Communication, Options, Schedule
from placer.search.incumbent import Incumbent
from placer.search.run import Run
from tests.support.brute import throughput_optima
from tests.support.level import first, seeds
from tests.support.random_instances import random_cluster, random_instance
from tests.support.transformer import transformer_training

GAP = 3e-3


def boxed(instance: Instance, options: Options, work_s: float | None = None) -> Incumbent:
    lattice = Lattice.of(instance, options)
    best = Incumbent(instance, options, Run())
    improve(lattice, best, best.run, options, orders=2)
    if best.plan is not None:
        PeakBoxes(lattice, best, options, memory_mb=500.0).go_on(best.run.part(work=work_s))
    return best


def questions(seed: int) -> list[tuple[Instance, Options, float]] | None:
    """Random training instances, some with limits that bind, and their optima; None where there are none."""
    instance = random_instance(seed, training=True) if seed % 2 else random_cluster(seed)
    if not instance.is_training:
        return None
    optima, found = throughput_optima(instance), []
    for communication in Communication:
        optimum = optima["ordered", "gpipe", communication.value]
        if 0 < optimum < np.inf:
            options = Options(schedule=Schedule.GPIPE, communication=communication, gap=GAP)
            found.append((instance, options, optimum))
    return found or None


@pytest.mark.parametrize("seed", seeds(80))
def test_brackets_the_optimum(seed: int) -> None:
    for instance, options, optimum in first(questions, seed):
        best = boxed(instance, options)
        if best.plan is not None:
            assert best.is_within(GAP)
            assert best.bound <= optimum * (1 + 1e-12)
            assert best.value >= optimum * (1 - 1e-12)


@pytest.mark.parametrize("work_s", [0.0, 1e-5, 1e-4])
def test_stopped_anywhere_it_holds_a_bound(work_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak_boxes, "WIDEST", 0.5)
    for instance, options, optimum in first(questions, 5):
        assert boxed(instance, options, work_s).bound <= optimum * (1 + 1e-12)


def test_goes_on_where_it_stopped() -> None:
    instance = transformer_training(66, 16)
    options = Options(schedule=Schedule.GPIPE, gap=0.0)
    lattice = Lattice.of(instance, options)
    best = Incumbent(instance, options, Run())
    improve(lattice, best, best.run, options, orders=2)
    boxes = PeakBoxes(lattice, best, options, memory_mb=500.0)
    turns = 0
    while boxes.go_on(best.run.part(work=0.01)):
        turns += 1
        assert turns < 1000
    assert turns > 2
    assert best.is_within(1e-9)
