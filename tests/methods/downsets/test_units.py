"""Times that are multiples of a unit: loads are rounded up to it, and never beyond the optimum."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.downsets.lattice import Lattice
from placer.methods.downsets.measures import measures, root_bound
from placer.options import Communication, Options, Schedule
from tests.support.brute import throughput_optima
from tests.support.level import seeds
from tests.support.random_instances import random_cluster, random_instance


@pytest.mark.parametrize("seed", seeds(150))
def test_never_above_the_optimum(seed: int) -> None:
    """Half of the instances have times in multiples of 1/4."""
    for instance in (random_cluster(seed), random_instance(seed, training=True, heterogeneous=True)):
        optima = throughput_optima(instance)
        for schedule in Schedule if instance.is_training else [Schedule.ONE_F_ONE_B]:
            for communication in Communication:
                optimum = optima["ordered", schedule.value, communication.value]
                lattice = Lattice.of(instance, Options(schedule=schedule, communication=communication))
                bound = root_bound(measures(lattice.graph), lattice.graph)
                assert bound == np.inf or bound <= optimum * (1 + 1e-9)


def lattice_of(gpu: list[float], host: list[float] | None = None, devices: int = 3) -> Lattice:
    """A chain that sends nothing."""
    types = ("gpu",) if host is None else ("gpu", "cpu")
    classes = [DeviceClass("gpu", "gpu", devices, Kind.ACCELERATOR, 100.0)]
    if host is not None:
        classes.append(DeviceClass("cpu", "cpu", 1, Kind.HOST))
    instance = Instance.build(
        ids=[f"v{i}" for i in range(len(gpu))],
        types=types,
        time_ms=gpu if host is None else np.column_stack([gpu, host]),
        memory_bytes=[1.0] * len(gpu),
        edges=[(i, i + 1) for i in range(len(gpu) - 1)],
        classes=tuple(classes),
    )
    return Lattice.of(instance, Options(communication=Communication.OVERLAP))


def bound_of(lattice: Lattice) -> float:
    return root_bound(measures(lattice.graph), lattice.graph)


def test_loads_are_whole_units() -> None:
    """Five of 0.3 ms on three devices: 0.6, though 0.5 each would hold the work."""
    assert bound_of(lattice_of([0.3] * 5)) == pytest.approx(0.6, rel=1e-9)


def test_units_are_as_large_as_they_can_be() -> None:
    """Multiples of 0.05: 1.35 ms on three devices are 0.45 each."""
    assert bound_of(lattice_of([0.15, 0.1, 0.2, 0.4, 0.1, 0.4])) == pytest.approx(0.45, rel=1e-9)
    assert measures(lattice_of([0.3, 0.5, 0.7]).graph).unit[0] == pytest.approx([0.1])


def test_a_host_without_a_unit_takes_what_is_left() -> None:
    """Two devices hold 1 ms each below 2 ms; a host that takes pi times as long has the rest, 0.5 of one."""
    lattice = lattice_of([1.0] * 3, [np.pi, np.pi, np.sqrt(9.8)], devices=2)
    assert 1.0 < bound_of(lattice) <= 2.0
    slow = lattice_of([1.0] * 3, [50.0 * np.pi] * 2 + [50.0], devices=2)
    assert bound_of(slow) == pytest.approx(2.0, rel=1e-9)


def test_times_of_all_magnitudes_have_no_unit() -> None:
    rng = np.random.default_rng(0)
    assert not measures(lattice_of(rng.lognormal(0, 1, 40).tolist()).graph).unit.any()
    assert not measures(lattice_of([1.0, 1.0 + 1e-9]).graph).unit.any()
