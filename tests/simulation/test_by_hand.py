"""Timelines small enough to draw by hand."""

import numpy as np
import pytest

from placer.errors import InputError, UsageError
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.instance.training import Optimizer, Training
from placer.options import Communication, Options, Schedule
from placer.plans.plan import Plan
from placer.simulation import Lane, Slice, simulate
from tests.support.simulation import simulated

GPIPE = Options(schedule=Schedule.GPIPE)


def chain(
    times: list[float],
    *,
    transfer: float = 0.0,
    backward: int = 0,
    accelerators: int = 2,
    activation_bytes: list[float] | None = None,
    memory_bytes: list[float] | None = None,
    limit: float = np.inf,
    microbatches: int = 1,
) -> Instance:
    """Return nodes ``v0 -> v1 -> ...``, the last ``backward`` of them in the backward pass."""
    n = len(times)
    return Instance.build(
        ids=[f"v{i}" for i in range(n)],
        types=("acc", "cpu"),
        time_ms=[[t, t] for t in times],
        transfer_ms=[transfer] * n,
        edges=[(i, i + 1) for i in range(n - 1)],
        classes=(
            DeviceClass("acc", "acc", accelerators, Kind.ACCELERATOR, limit),
            DeviceClass("cpu", "cpu", 1, Kind.HOST),
        ),
        backward=[i >= n - backward for i in range(n)],
        activation_bytes=activation_bytes,
        memory_bytes=memory_bytes,
        weight_bytes=[1.0] * n,
        training=Training(Optimizer.ADAM, microbatches),
    )


def spans(
    slices: tuple[Slice, ...], device: str, lane: Lane = Lane.COMPUTE
) -> list[tuple[str, float, float]]:
    """Direction and sample ("f0"), start and end of what a device does in a lane."""
    return [
        (f"{s.direction[0]}{s.sample}", s.start_ms, s.end_ms)
        for s in slices
        if s.device == device and s.lane is lane
    ]


def test_two_stages_in_sequence():
    """v0 takes 2 + 1 to send, v1 1 to receive + 3; two buffers let the first run one sample ahead."""
    simulation = simulate(chain([2, 3], transfer=1), Plan(np.array([0, 1])), samples=3)
    assert spans(simulation.slices, "acc0") == [("f0", 0, 2), ("f1", 3, 5), ("f2", 7, 9)]
    assert spans(simulation.slices, "acc0", Lane.SEND) == [("f0", 2, 3), ("f1", 5, 6), ("f2", 9, 10)]
    assert spans(simulation.slices, "acc1", Lane.RECEIVE) == [("f0", 3, 4), ("f1", 7, 8), ("f2", 11, 12)]
    assert spans(simulation.slices, "acc1") == [("f0", 4, 7), ("f1", 8, 11), ("f2", 12, 15)]
    assert simulation.steady_ms == pytest.approx(4, rel=1e-12)
    assert (simulation.makespan_ms, simulation.fill_ms, simulation.drain_ms) == (15, 3, 5)
    assert simulation.latency_ms == (7, 8, 8)
    first, second, host = simulation.devices
    assert (first.compute_ms, first.receive_ms, first.send_ms, first.busy_ms) == (6, 0, 3, 9)
    assert (second.busy_ms, second.idle_ms, second.load_ms) == (12, 3, 4)
    assert (first.steady_utilisation, second.steady_utilisation) == pytest.approx((0.75, 1.0))
    assert (first.in_flight, second.in_flight, host.in_flight) == (1, 1, 0)
    assert simulation.critical_shares() == {
        ("acc1", "compute"): 9,
        ("acc1", "receive"): 3,
        ("acc0", "compute"): 2,
        ("acc0", "send"): 1,
    }


@pytest.mark.parametrize(
    ("communication", "steady", "makespan"),
    [(Communication.OVERLAP, 4, 20), (Communication.DUPLEX, 3, 19)],
)
def test_transfers_beside_computation(communication, steady, makespan):
    """The middle stage computes 3, receives 2 and sends 2: 4 on one link, 3 beside two.

    With two links it computes three samples at 5..14, after 1 + 2 + 2; then 2 + 2 + 1 follow.  One link
    receives at 3..5 and 5..7, sends at 8..10, receives at 10..12, sends at 12..14 and at 15..17; then 2 + 1.
    """
    instance = chain([1, 3, 1], transfer=2, accelerators=3)
    options = Options(communication=communication)
    assert simulated(instance, Plan(np.array([0, 1, 2])), options).steady_ms == pytest.approx(steady)
    simulation = simulate(instance, Plan(np.array([0, 1, 2])), options, samples=3)
    assert simulation.makespan_ms == makespan


UNBALANCED = chain(
    [1, 2, 1, 3], backward=2, activation_bytes=[10, 100, 0, 0], memory_bytes=[7, 7, 7, 7], limit=60
)
"""Forward 1 and 2 on two devices, backward 3 and 1: 4 and 3 in all."""
TWO = Plan(np.array([0, 1, 1, 0]))


def test_one_forward_one_backward():
    simulation = simulate(UNBALANCED, TWO, microbatches=3)
    assert spans(simulation.slices, "acc0") == [
        ("f0", 0, 1),
        ("f1", 1, 2),
        ("b0", 4, 7),
        ("f2", 7, 8),
        ("b1", 8, 11),
        ("b2", 11, 14),
    ]
    assert spans(simulation.slices, "acc1") == [
        ("f0", 1, 3),
        ("b0", 3, 4),
        ("f1", 4, 6),
        ("b1", 6, 7),
        ("f2", 8, 10),
        ("b2", 10, 11),
    ]
    assert simulation.steady_ms == pytest.approx(4, rel=1e-12)
    first, second, _ = simulation.devices
    assert (first.in_flight, second.in_flight) == (2, 1)
    # 2 x 7 bytes and 2 bytes of weights, times 4 under Adam, are resident.
    assert first.memory == ((0, 32), (1, 42), (7, 42), (11, 32), (14, 22))
    assert (first.peak_bytes, second.peak_bytes) == (42, 122)
    assert (first.exceeds_limit, second.exceeds_limit) == (False, True)


def test_all_forwards_first():
    simulation = simulate(UNBALANCED, TWO, GPIPE, microbatches=3)
    assert spans(simulation.slices, "acc1") == [
        ("f0", 1, 3),
        ("f1", 3, 5),
        ("f2", 5, 7),
        ("b0", 7, 8),
        ("b1", 8, 9),
        ("b2", 11, 12),
    ]
    assert spans(simulation.slices, "acc0")[3:] == [("b0", 8, 11), ("b1", 11, 14), ("b2", 14, 17)]
    assert simulation.steady_ms == pytest.approx(2 + 3, rel=1e-12)
    assert [use.in_flight for use in simulation.devices] == [3, 3, 0]
    assert [use.peak_bytes for use in simulation.devices] == [22 + 30, 22 + 300, 0]


def test_the_instance_says_how_many_microbatches():
    instance = UNBALANCED.replace(training=Training(Optimizer.NONE, 5))
    assert simulate(instance, TWO).samples == 5
    assert simulate(instance, TWO, GPIPE).samples == 5
    assert simulate(instance, TWO, GPIPE, microbatches=2).samples == 2
    assert simulate(instance, TWO, Options(microbatches=7)).samples == 7
    assert simulate(UNBALANCED, TWO).samples == 1


@pytest.mark.parametrize("microbatches", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("seed", range(5))
def test_memory_of_a_pipeline(microbatches, seed):
    """Stage s from the end keeps s microbatches under 1f1b and all under gpipe, however unbalanced."""
    stages = 4
    rng = np.random.default_rng(seed)
    activations = [*(10.0 ** np.arange(stages)), *([0.0] * stages)]
    instance = chain(
        rng.uniform(0.1, 5, 2 * stages).tolist(),
        transfer=rng.uniform(0, 3),
        backward=stages,
        accelerators=stages,
        activation_bytes=activations,
    )
    plan = Plan(np.array([0, 1, 2, 3, 3, 2, 1, 0]))
    streams = {Schedule.ONE_F_ONE_B: [4, 3, 2, 1], Schedule.GPIPE: [microbatches] * 4}
    for schedule, kept in streams.items():
        simulation = simulate(instance, plan, Options(schedule=schedule), microbatches=microbatches)
        expected = [8 + min(kept[i], microbatches) * 10.0**i for i in range(stages)]
        assert [use.peak_bytes for use in simulation.devices[:-1]] == pytest.approx(expected)


def test_a_device_with_two_stages():
    """v0 and v2 on one device, v1 on the other: per round it serves the older sample's v2, then v0."""
    simulation = simulate(chain([1, 2, 3]), Plan(np.array([0, 1, 0])), samples=3)
    assert [(s.label, s.sample, s.start_ms) for s in simulation.slices if s.device == "acc0"] == [
        ("v0", 0, 0),
        ("v0", 1, 1),
        ("v2", 0, 3),
        ("v0", 2, 6),
        ("v2", 1, 7),
        ("v2", 2, 10),
    ]
    assert simulation.makespan_ms == 13
    assert simulation.steady_ms == pytest.approx(4, rel=1e-12)


def test_data_of_an_earlier_stage_are_not_fetched_twice():
    """v0 is read by v1 and v3 on another device, with v2 elsewhere in between."""
    instance = chain([1, 1, 1, 1], transfer=1, accelerators=3)
    instance = instance.replace(edges=np.array([[0, 1], [1, 2], [2, 3], [0, 3]]))
    simulation = simulated(instance, Plan(np.array([0, 1, 2, 1])))
    assert simulation.steady_ms == pytest.approx(2 + 1 + 1 + 1)  # v1, v3; v0 and v2 in, v1 out


def test_a_forward_output_read_by_the_backward_pass_alone():
    """Its transfer counts as forward work of the receiving device, and is needed only later."""
    instance = chain([1, 1, 1, 1], transfer=5, backward=2, accelerators=2)
    instance = instance.replace(edges=np.array([[0, 1], [1, 2], [2, 3], [1, 3]]))
    # acc0: v0 | v3; acc1: v1 | v2.  Forward of acc0: 1 + 5 out + 5 in (v1, for v3).
    assert simulated(instance, TWO).steady_ms == pytest.approx((1 + 5 + 5) + (1 + 5))
    assert simulated(instance, TWO, GPIPE).steady_ms == pytest.approx((1 + 5 + 5) + (1 + 5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 3}, "microbatches, not samples"),
        ({"microbatches": 0}, "microbatches must be in 1"),
    ],
)
def test_usage_of_training(changes, message):
    with pytest.raises(UsageError, match=message):
        simulate(UNBALANCED, TWO, **changes)


def test_usage_of_inference():
    with pytest.raises(UsageError, match="use samples"):
        simulate(chain([1, 2]), Plan(np.array([0, 1])), microbatches=2)


def test_plans_that_do_not_fit():
    instance = chain([1, 2])
    with pytest.raises(InputError, match="not every node"):
        simulate(instance, Plan(np.array([0])))
    with pytest.raises(InputError, match="not every node"):
        simulate(instance, Plan(np.array([0, 7])))
    alone = instance.replace(time_ms=np.array([[1, np.inf], [2, 2]]))
    with pytest.raises(InputError, match="'v0' cannot run on a device of type 'cpu'"):
        simulate(alone, Plan(np.array([2, 0])))
