"""The bound of necks: below every optimum, above what work alone tells, and exact on chains."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.downsets.comparable import necks
from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.measures import measures, root_bound
from placer.methods.downsets.necks import neck_bound
from placer.options import Communication, Options, Schedule
from tests.support.brute import throughput_optima
from tests.support.brute_memory import Brute
from tests.support.level import seeds
from tests.support.random_instances import random_cluster, random_cluster_memory, random_instance


@pytest.mark.parametrize("seed", seeds(150))
def test_never_above_the_optimum(seed: int) -> None:
    for instance in (random_cluster(seed), random_instance(seed, training=True, overrides=True)):
        optima = throughput_optima(instance)
        for schedule in Schedule if instance.is_training else [Schedule.ONE_F_ONE_B]:
            for communication in Communication:
                optimum = optima["ordered", schedule.value, communication.value]
                lattice = Lattice.of(instance, Options(schedule=schedule, communication=communication))
                assert neck_bound(lattice) <= optimum * (1 + 1e-9)


@pytest.mark.parametrize("seed", seeds(30))
def test_never_above_the_optimum_where_stages_keep_microbatches(seed: int) -> None:
    instance = random_cluster_memory(seed, nodes=5)
    m = instance.training.microbatches
    recomputes = ("none", "auto", "all") if instance.is_training else ("none",)
    choices = [(s, "sequential", recompute, m) for s in ("1f1b", "gpipe") for recompute in recomputes]
    for (schedule, _, recompute, _), optimum in Brute(instance).optima(choices).items():
        lattice = Lattice.of(instance, Options(schedule=schedule, recompute=recompute))
        assert neck_bound(lattice) <= optimum * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(40))
def test_necks_by_reachability(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 9))
    pairs = [(u, w) for w in range(size) for u in range(w) if rng.random() < 0.5]
    edges = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    reaches = np.eye(size, dtype=bool)
    for u, w in reversed(pairs):
        reaches[u] |= reaches[w]
    for _ in range(size):
        for u, w in pairs:
            reaches[u] |= reaches[w]
    assert necks(size, edges).tolist() == (reaches | reaches.T).all(axis=1).tolist()


def lattice_of(time_ms: list[float], edges: list[tuple[int, int]], memory: list[float]) -> Lattice:
    """On two devices of 10 bytes."""
    instance = Instance.build(
        ids=[f"v{i}" for i in range(len(time_ms))],
        types=("gpu",),
        time_ms=time_ms,
        memory_bytes=memory,
        edges=edges,
        classes=(DeviceClass("gpu", "gpu", 2, Kind.ACCELERATOR, 10.0),),
    )
    return Lattice.of(instance, Options())


def test_heavy_items_are_not_cut() -> None:
    """Three of 2 ms, about, on two devices take 4 ms; what lies between two of them may be cut anywhere."""
    chain = lattice_of([2.0, np.sqrt(4.1), 2.0], [(0, 1), (1, 2)], [1.0] * 3)
    assert root_bound(measures(chain.graph), chain.graph) == pytest.approx(2.0 + np.sqrt(4.1) / 2)
    assert neck_bound(chain) == pytest.approx(2.0 + np.sqrt(4.1), rel=1e-6)
    diamond = lattice_of([2.0, 1.0, 1.0, 2.0], [(0, 1), (0, 2), (1, 3), (2, 3)], [1.0] * 4)
    assert neck_bound(diamond) == pytest.approx(3.0, rel=1e-6)


def test_memory_ends_pieces() -> None:
    """One device holds two of 4 bytes: 1, 1 | 4, 4 ms, where 1, 1, 4 | 4 would take 6 ms."""
    chain = lattice_of([1.0, 1.0, 4.0, 4.0], [(0, 1), (1, 2), (2, 3)], [4.0] * 4)
    assert neck_bound(chain) == pytest.approx(8.0, rel=1e-6)
