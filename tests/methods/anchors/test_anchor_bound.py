"""The bound by anchors: never above an optimum, and as large as what hubs cost."""

import itertools

import pytest

from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.methods.anchors.anchor_bound import bound_ms
from placer.options import Options
from placer.plans.in_flight import settled
from placer.search.run import Run
from tests.support.brute import COMMUNICATIONS, SCHEDULES, throughput_optima
from tests.support.level import seeds
from tests.support.random_instances import in_short_supply, random_cluster

ROUNDING = 1 + 1e-6
SLACK = (1.0, 1.001, 1.3)
"""Upper bounds in terms of the optimum."""


def bound_of(instance: Instance, upper: float, **options: object) -> float | None:
    made = Options.model_validate(options)
    return bound_ms(settled(instance, made), made, Run(), upper)


@pytest.mark.parametrize("seed", seeds(60))
def test_no_plan_is_faster(seed):
    instance = in_short_supply(random_cluster(seed), seed)
    optima = throughput_optima(instance)
    slack = SLACK[seed % len(SLACK)]
    for schedule, communication in itertools.product(SCHEDULES, COMMUNICATIONS):
        for contiguous, kind in ((False, "free"), (True, "ordered")):
            optimum = optima[kind, schedule, communication]
            asked = {"schedule": schedule, "communication": communication, "contiguous": contiguous}
            bound = bound_of(instance, slack * optimum, **asked)
            assert bound is None or bound <= optimum * ROUNDING


def hub(readers: int) -> Instance:
    """Return a node whose large output many small nodes read, on three devices that hold half of them."""
    return Instance.build(
        ids=["hub", *(f"v{i}" for i in range(readers))],
        types=["acc"],
        time_ms=[[1.0]] * (readers + 1),
        transfer_ms=[float(readers), *([0.0] * readers)],
        memory_bytes=[1.0] * (readers + 1),
        edges=[(0, i + 1) for i in range(readers)],
        classes=[DeviceClass("acc", "acc", 3, Kind.ACCELERATOR, readers / 2 + 1)],
    )


@pytest.mark.parametrize("communication", COMMUNICATIONS)
def test_hubs_are_seen(communication):
    # Some device besides the hub's receives what all read, and one of the two sends it.
    instance, options = hub(5), {"communication": communication, "contiguous": False}
    optimum = throughput_optima(instance)["free", SCHEDULES[0], communication]
    bound = bound_of(instance, 1.2 * optimum, **options)
    assert bound == pytest.approx(optimum, rel=1e-4)


def sink(host_ms: float) -> Instance:
    """Return a node that reads six others, on two devices and a host where it takes so long."""
    return Instance.build(
        ids=[*(f"v{i}" for i in range(6)), "sink"],
        types=["acc", "cpu"],
        time_ms=[*[[1.0, 9.0]] * 6, [1.0, host_ms]],
        transfer_ms=[*[1.0] * 6, 0.0],
        edges=[(i, 6) for i in range(6)],
        classes=[DeviceClass("acc", "acc", 2, Kind.ACCELERATOR), DeviceClass("cpu", "cpu", 1, Kind.HOST)],
    )


@pytest.mark.parametrize("host_ms", [1.0, 30.0])
def test_others_pay_for_a_hub_on_a_host(host_ms):
    # The host pays for no transfers, but all that the sink reads does; where it is too slow, it has no sink.
    instance, options = sink(host_ms), {"communication": "sequential", "contiguous": False}
    optimum = throughput_optima(instance)["free", SCHEDULES[0], options["communication"]]
    bound = bound_of(instance, 1.2 * optimum, **options)
    assert bound == pytest.approx(optimum, rel=1e-4)
