"""Twin branches: which there are, and that looking at one of them alone loses no plan."""

from dataclasses import replace

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.measures import measures, root_bound
from placer.methods.downsets.search import Limits, attempt
from placer.methods.downsets.twin_branches import renumbered, with_twins
from placer.options import Communication, Options, Schedule
from placer.search.run import Run
from tests.support.brute import throughput_optima
from tests.support.level import seeds
from tests.support.transformer import transformer_training


def twins(seed: int, *, branches: int, items: int, devices: int, training: bool) -> Instance:
    """Blocks between necks, each of equal branches: a random order and random costs in every branch."""
    rng = np.random.default_rng(seed)
    reads: list[list[int]] = [[]]
    kind, kinds = [0], 1  # nodes of a kind cost the same
    for _ in range(1 if items * branches < 8 else 2):
        inner = [[int(u) for u in np.flatnonzero(rng.random(i) < 0.5)] for i in range(items)]
        entry, ends = len(reads) - 1, []
        for _ in range(branches):
            first = len(reads)
            reads += [[first + u for u in us] or [entry] for us in inner]
            kind += list(range(kinds, kinds + items))
            read = {u for us in inner for u in us}
            ends += [first + i for i in range(items) if i not in read]
        kinds += items + 1
        reads.append([*ends, entry] if rng.random() < 0.5 else ends)
        kind.append(kinds - 1)
    n, by = len(reads), np.array(kind)
    time = rng.choice([0.0, 1.0, 2.0, 3.0, 5.0], kinds)[by]
    memory = rng.choice([0.0, 1.0, 2.0, 3.0], kinds)[by]
    transfer = rng.choice([0.0, 0.5, 1.0, 2.0], kinds)[by]
    forward = [(u, w) for w, us in enumerate(reads) for u in us]
    limit = max(memory.max(), memory.sum() * rng.uniform(1.0, 1.6) / devices)
    if training:
        edges = forward + [(v, n + v) for v in range(n)] + [(n + w, n + u) for u, w in forward]
        time, transfer = np.concatenate([time, 2 * time]), np.concatenate([transfer, transfer])
        memory = np.concatenate([memory, np.zeros(n)])
    else:
        edges = forward
    return Instance.build(
        ids=[f"v{v}" for v in range(len(time))],
        types=("acc",),
        time_ms=time[:, None],
        memory_bytes=memory,
        transfer_ms=transfer,
        edges=edges,
        classes=(DeviceClass("acc", "acc", devices, Kind.ACCELERATOR, limit),),
        backward=[v >= n for v in range(len(time))],
        colocate=[f"c{v % n}" for v in range(len(time))] if training else [None] * n,
    )


def questions(training: bool) -> list[Options]:
    schedules = Schedule if training else [Schedule.ONE_F_ONE_B]
    return [Options(schedule=s, communication=c) for s in schedules for c in Communication]


def feasible(lattice: Lattice, target: float) -> bool:
    found = attempt(lattice, measures(lattice.graph), target, Run(), Limits())
    assert found.exhausted or found.pieces is not None
    return found.pieces is not None


@pytest.mark.parametrize("seed", seeds(60))
def test_the_search_is_exact(seed: int) -> None:
    """Against all plans: one at the optimum, none below."""
    training = seed % 2 == 1
    instance = twins(seed, branches=2 + seed % 3, items=1, devices=2 if training else 3, training=training)
    optima = throughput_optima(instance)
    for options in questions(training):
        optimum = optima["ordered", options.schedule.value, options.communication.value]
        if 0 < optimum < np.inf:
            for side in both(Lattice.of(instance, options)):
                assert feasible(side, optimum * (1 + 1e-9))
                assert not feasible(side, optimum * (1 - 1e-9))


@pytest.mark.parametrize("seed", seeds(100))
def test_twins_change_no_answer(seed: int) -> None:
    """Against the same search that knows no twins, at targets from the bound upwards."""
    branches, items = [(2, 2), (3, 2), (2, 3), (4, 1), (3, 1)][seed % 5]
    instance = twins(seed, branches=branches, items=items, devices=3 + seed % 3, training=True)
    for options in questions(True):
        lattice = Lattice.of(instance, options)
        bound = root_bound(measures(lattice.graph), lattice.graph)
        for step in (1.0, 1.2, 1.5, 2.0, 3.0):
            if bound > 0:
                plain = feasible(without(lattice), bound * step)
                for side in both(lattice):
                    assert feasible(side, bound * step) == plain


def both(lattice: Lattice) -> tuple[Lattice, Lattice]:
    return lattice, lattice.reversed()


def without(lattice: Lattice) -> Lattice:
    return replace(lattice, graph=with_twins(lattice.graph, []))


def test_the_heads_of_a_transformer_are_twins() -> None:
    lattice = Lattice.of(transformer_training(2 * 66), Options())
    for side in both(lattice):
        groups = renumbered(side.graph, np.arange(side.size))
        assert [group.shape for group in groups] == [(4, 6)] * 2


def test_far_fewer_states() -> None:
    lattice = Lattice.of(transformer_training(66, 16), Options(communication=Communication.OVERLAP))
    target = 1.1 * root_bound(measures(lattice.graph), lattice.graph)
    few, many = (
        attempt(side, measures(side.graph), target, Run(), Limits()) for side in (lattice, without(lattice))
    )
    assert few.exhausted
    assert many.exhausted
    assert 5 * few.steps < many.steps
