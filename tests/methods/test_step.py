"""Plans for the shortest step, against brute force, simulation and cases by hand."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from placer.errors import UsageError
from placer.formats.files import load
from placer.instance.cluster import DeviceClass, Link, Server
from placer.instance.instance import Instance
from placer.options import Communication, Options
from placer.plans.check import check
from placer.plans.figures import objective_of
from placer.plans.plan import Plan
from placer.plans.result import Result, Status
from placer.simulation import simulate
from placer.solving.solve import solve
from tests.support.brute_features import Modes
from tests.support.brute_step import shortest_step
from tests.support.feature_instances import case
from tests.support.level import first, seeds

FEATURES = (
    "classes", "reserves", "host limits", "order", "in flight", "recompute", "servers", "pins", "apart",
    "max devices", "use devices", "replicas", "shards", "zero", "uniform",
)  # fmt: skip
LARGEST = 300
"""Assignments to try."""
FAST = Link(bandwidth_bytes_per_s=1e10)
CASES = Path(__file__).parents[3] / "shared" / "cases"


def drawn(seed: int) -> tuple[Instance, Options] | None:
    """Draw an instance with some features, and options for it; None where it is too large."""
    rng = np.random.default_rng([seed, 77])
    features = set(rng.choice(FEATURES, int(rng.integers(0, 4)), replace=False).tolist())
    made = case(features, seed)
    count = int(rng.integers(1, 7))
    instance = made.instance
    asked = {"microbatches": count} if instance.is_training else {"samples": count}
    options = Options(
        objective="step",
        schedule=str(rng.choice(["1f1b", "1f1b", "gpipe"])),
        communication=str(rng.choice(["sequential", "sequential", "overlap", "duplex"])),
        recompute=made.recompute,
        replicas=made.replicas,
        shards=made.shards,
        zero=made.zero,
        uniform=made.uniform,
        gap=0.0,
        **asked,
    )
    return (instance, options) if len(instance.devices) ** instance.n <= LARGEST else None


def brute(instance: Instance, options: Options) -> float:
    count = options.microbatches or options.samples or 1
    schedule = options.schedule.value
    if instance.is_training:
        instance = instance.replace(training=replace(instance.training, microbatches=count))
    else:
        schedule = "gpipe"
    degrees = options.degrees([some.degree for some in instance.shards])
    modes = Modes(options.replicas, degrees, options.zero, options.uniform)
    communication, recompute = options.communication.value, options.recompute.value
    return shortest_step(instance, schedule, communication, count, recompute, modes)


@pytest.mark.parametrize("seed", seeds(3000))
def test_plans_are_the_shortest_there_are(seed: int) -> None:
    instance, options = first(drawn, seed)
    expected = brute(instance, options)
    gap = 1e-6 if instance.servers else 0.0  # whose costs the dynamic program knows on chains only
    result = solve(instance, options.model_copy(update={"gap": gap}))
    if expected == np.inf:
        assert result.status is Status.INFEASIBLE
        return
    assert result.bound is not None
    assert result.bound <= expected * (1 + 1e-9)
    assert result.objective == pytest.approx(expected, rel=gap + 1e-9)
    assert result.status is Status.OPTIMAL
    assert check(instance, result) == []


def test_no_team_is_made_of_devices_of_two_classes() -> None:
    """Classes of two devices and of one whose shards cost the same: not two teams of three devices."""
    instance, options = drawn(8718)
    result = solve(instance, options)
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(brute(instance, options)) == pytest.approx(39.19)


def test_a_pipeline_that_costs_more_than_its_label_says_hides_no_better_one() -> None:
    """On two servers, the label of a plan of 30.25 ms says 24 and is below that of the best plan, 28.25."""
    instance = case({"classes", "order", "servers"}, 1172).instance
    options = Options(objective="step", communication="duplex", samples=2, gap=0.0)
    result = solve(instance, options)
    assert result.bound <= brute(instance, options) == pytest.approx(28.25)
    assert result.objective == pytest.approx(28.25)


@pytest.mark.parametrize("seed", seeds(300, start=50_000))
def test_simulation_takes_as_long_and_no_more_memory(seed: int) -> None:
    instance, options = first(drawn, seed)
    result = solve(instance, options.model_copy(update={"communication": Communication.SEQUENTIAL}))
    if result.objective is not None:
        run = simulate(instance, result)
        assert run.objective_ms == pytest.approx(result.objective, rel=1e-9)
        assert not any(use.exceeds_limit for use in run.devices)


def chain(layers: int, devices: int, *, memory: float = np.inf, servers: tuple[Server, ...] = ()) -> Instance:
    """Make equal layers of 1 and 2 ms on equal devices; a layer keeps 1 byte for each microbatch."""
    forward = [(i, i + 1) for i in range(layers - 1)]
    turned = [(layers + i + 1, layers + i) for i in range(layers - 1)]
    return Instance.build(
        ids=[*(f"f{i}" for i in range(layers)), *(f"b{i}" for i in range(layers))],
        types=("gpu",),
        time_ms=np.array([[1.0]] * layers + [[2.0]] * layers),
        output_bytes=np.array([1e6] * 2 * layers) if servers else np.zeros(2 * layers),
        activation_bytes=np.array([1.0] * layers + [0.0] * layers),
        edges=[*forward, (layers - 1, 2 * layers - 1), *turned],
        backward=[False] * layers + [True] * layers,
        colocate=[f"g{i}" for i in range(layers)] * 2,
        classes=(
            DeviceClass(
                "gpu", "gpu", devices, memory_limit_bytes=memory, link=Link(bandwidth_bytes_per_s=1e10)
            ),
        ),
        servers=servers,
    )


def step(instance: Instance, **options: object) -> Result:
    result = solve(instance, objective="step", **options)
    assert result.status is Status.OPTIMAL
    assert check(instance, result) == []
    return result


@pytest.mark.parametrize(("layers", "devices", "count"), [(8, 4, 1), (8, 4, 6), (12, 3, 32), (32, 8, 16)])
def test_equal_layers_on_equal_devices(layers: int, devices: int, count: int) -> None:
    """With k layers each, (P + m - 1) k L where that is best; one device alone takes m P k L."""
    result = step(chain(layers, devices), microbatches=count)
    even = (devices + count - 1) * layers / devices * 3.0
    assert result.objective <= even * (1 + 1e-9)
    if count >= 16:
        assert result.objective == pytest.approx(even, rel=0.02)
    assert result.stats["bubble"] == pytest.approx(
        1 - count * layers * 3.0 / len(result.stages or []) / result.objective
    )


def test_fewer_microbatches_in_flight_cost_time_where_memory_is_short() -> None:
    """Where the first stage cannot keep as many as its place asks for, it holds fewer layers."""
    roomy, tight = (step(chain(8, 4, memory=limit), microbatches=8) for limit in (np.inf, 5.0))
    assert tight.objective > roomy.objective
    assert all(d.memory_bytes <= 5.0 for d in tight.devices)


def test_servers_are_filled_so_that_few_data_cross() -> None:
    slow = Link(bandwidth_bytes_per_s=1e9)
    servers = (Server("a", ("gpu0", "gpu2"), slow), Server("b", ("gpu1", "gpu3"), slow))
    instance = chain(8, 4, servers=servers)
    result = step(instance, microbatches=8)
    crossings = [
        {"gpu0": "a", "gpu2": "a"}.get(x, "b") != {"gpu0": "a", "gpu2": "a"}.get(y, "b")
        for x, y in itertools.pairwise(result.stages or [])
    ]
    assert sum(crossings) == 1
    assert result.objective == pytest.approx(shortest_of_chain(instance, 8), rel=1e-9)


def shortest_of_chain(instance: Instance, count: int) -> float:
    """Try all cuts of the chain into at most four stages, and all devices for them."""
    layers, best = instance.n // 2, np.inf
    for stages in range(1, 5):
        for cuts in itertools.combinations(range(1, layers), stages - 1):
            ends = [0, *cuts, layers]
            for order in itertools.permutations(range(4), stages):
                device = [
                    d for d, (a, b) in zip(order, itertools.pairwise(ends), strict=True) for _ in range(a, b)
                ]
                plan = Plan(np.array(device * 2), stages=order)
                best = min(best, objective_of(instance, plan, Options(objective="step", microbatches=count)))
    return best


def test_a_longer_step_changes_the_plan_that_is_best() -> None:
    """A step of one microbatch wants one device where transfers cost; a long one wants all."""
    instance = chain(8, 4, servers=(Server("a", ("gpu0", "gpu1", "gpu2", "gpu3"), FAST),))
    short, long = step(instance, microbatches=1), step(instance, microbatches=64)
    assert len(short.stages or []) == 1
    assert len(long.stages or []) == 4


def test_requests_of_several_samples() -> None:
    instance = chain(6, 3)
    inference = Instance.build(
        ids=instance.ids[:6], types=("gpu",), time_ms=np.ones((6, 1)), edges=[(i, i + 1) for i in range(5)],
        transfer_ms=np.zeros(6), classes=instance.classes,
    )  # fmt: skip
    assert step(inference, samples=10).objective == pytest.approx(6 + 9 * 2)
    assert step(inference).objective == pytest.approx(6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contiguous": False}, "contiguous"),
        ({"replicas": 2, "virtual_stages": 2}, "replicas"),
        ({"balance": True}, "secondary"),
        ({"max_ms": 3.0}, "max_ms"),
        ({"samples": 3}, "microbatches"),
        ({"method": "colgen"}, "colgen"),
    ],
)
def test_what_has_no_meaning_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        solve(chain(3, 2), objective="step", **changes)
    with pytest.raises(UsageError, match="samples"):
        solve(chain(3, 2), samples=2)


def test_many_devices_in_servers_have_a_plan_as_good_as_uniform_stages() -> None:
    """Eighteen devices in three servers: free modes are never worse, and all work counts in the bound."""
    servers = tuple(Server(f"s{k}", tuple(f"gpu{6 * k + i}" for i in range(6)), FAST) for k in range(3))
    instance = chain(4, 18, servers=servers)
    asked = {"objective": "step", "microbatches": 8, "replicas": 2}
    free, alike = (solve(instance, **asked, uniform=uniform) for uniform in (False, True))
    assert free.objective <= alike.objective * (1 + 1e-9)
    assert 8 * 12.0 / 18 <= free.bound <= free.objective
    assert check(instance, free) == []


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the shared cases")
@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("microbatches", 2, 2191.966667),
        ("microbatches", 16, 11632.246667),
        ("forty_on_sixteen", None, 3371.773583),
    ],
)
def test_shared_cases(name: str, count: int | None, expected: float) -> None:
    result = step(load(CASES / f"{name}.json"), microbatches=count)
    assert result.objective == pytest.approx(expected, rel=1e-6)
