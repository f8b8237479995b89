"""Plans with virtual stages, against brute force, simulation and cases by hand."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from placer.errors import UsageError
from placer.formats.files import load
from placer.instance.cluster import DeviceClass
from placer.instance.instance import Instance
from placer.options import Communication, Options
from placer.plans.check import check
from placer.plans.interleaved import interleaved_ms, states_in_flight
from placer.plans.result import Result, Status
from placer.simulation import simulate
from placer.solving.solve import solve
from tests.support.brute_virtual import Virtual, makespan, order_of, peak
from tests.support.feature_instances import case
from tests.support.level import first, seeds

FEATURES = (
    "classes", "reserves", "host limits", "order", "in flight", "recompute", "servers", "pins", "apart",
    "max devices", "use devices",
)  # fmt: skip
LARGEST = 4000
"""Plans to try."""
CASES = Path(__file__).parents[3] / "shared" / "cases"


def drawn(seed: int) -> tuple[Instance, Options] | None:
    """Draw an instance with some features, and options for it; None where it is too large or no such."""
    rng = np.random.default_rng([seed, 117])
    features = set(rng.choice(FEATURES, int(rng.integers(0, 4)), replace=False).tolist())
    made = case(features, seed)
    instance, chunks = made.instance, int(rng.integers(2, 4))
    if not instance.is_training:
        return None
    tried = Virtual(instance, chunks, 1, "sequential")
    hosts = np.array([d.is_host for d in instance.devices])
    if not instance.allowed[:, ~hosts].any(axis=1).all() or tried.size() > LARGEST:
        return None
    options = Options(
        objective="step",
        virtual_stages=chunks,
        microbatches=tried.ranks * int(rng.integers(1, 4)),
        communication=str(rng.choice(["sequential", "sequential", "overlap", "duplex"])),
        recompute=made.recompute,
        gap=0.0,
    )
    return instance, options


def brute(instance: Instance, options: Options) -> float:
    count = options.microbatches or 1
    instance = instance.replace(training=replace(instance.training, microbatches=count))
    every = Virtual(instance, options.virtual_stages, count, options.communication.value)
    return every.shortest(options.recompute.value)


@pytest.mark.parametrize("seed", seeds(3000))
def test_plans_are_the_shortest_there_are(seed: int) -> None:
    instance, options = first(drawn, seed)
    expected = brute(instance, options)
    result = solve(instance, options)
    if expected == np.inf:
        assert result.status is Status.INFEASIBLE
        return
    assert result.objective == pytest.approx(expected, rel=1e-9)
    assert result.status is Status.OPTIMAL
    assert check(instance, result) == []


@pytest.mark.parametrize("seed", seeds(400, start=70_000))
def test_a_search_that_cannot_try_all_is_not_far_off_and_its_bound_holds(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all plans are looked at, the optimum is known; then the same without."""
    instance, options = first(drawn, seed)
    known = solve(instance, options)
    monkeypatch.setattr(import_module("placer.methods.step.virtual_plans"), "FEW", 0)
    result = solve(instance, options)
    if known.objective is None:
        assert result.objective is None
        return
    assert result.bound is None or result.bound <= known.objective * (1 + 1e-9)
    if result.objective is not None:
        assert result.objective >= known.objective * (1 - 1e-9)
        assert check(instance, result) == []


@pytest.mark.parametrize("seed", seeds(300, start=50_000))
def test_simulation_takes_as_long_and_as_much_memory(seed: int) -> None:
    instance, options = first(drawn, seed)
    result = solve(instance, options.model_copy(update={"communication": Communication.SEQUENTIAL}))
    if result.objective is not None:
        run = simulate(instance, result)
        assert run.objective_ms == pytest.approx(result.objective, rel=1e-9)
        # A pass that takes no time holds nothing for any time in the simulation.
        lasting = all(s.forward_ms and s.backward_ms for s in result.virtual_stages or [] if s.nodes)
        for told, use in zip(result.devices, run.devices, strict=True):
            assert use.peak_bytes <= told.memory_bytes * (1 + 1e-9)
            assert not lasting or use.peak_bytes == pytest.approx(told.memory_bytes, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", seeds(400))
def test_rounds_and_counts_are_those_of_the_order(seed: int) -> None:
    """Time of a step, also a long one whose rounds repeat, and memory, against the order itself."""
    rng = np.random.default_rng(seed)
    ranks, chunks = (int(x) for x in rng.integers(1, 5, 2))
    count = ranks * int(rng.integers(1, 9 if seed % 2 else 40))
    loads = rng.integers(0, 9, (2, chunks, ranks)).astype(float) * rng.random()
    expected = makespan(loads[0], loads[1], count)
    assert interleaved_ms(loads[..., None], count)[0] == pytest.approx(expected, rel=1e-9)
    held, received = rng.random((2, chunks))
    for rank in range(ranks):
        tasks, states = (
            order_of(rank, ranks, chunks, count),
            states_in_flight(rank, ranks, chunks, count),
        )
        assert states.peak(held) == pytest.approx(peak(tasks, held, received, recompute=False))
        assert states.peak(received, held) == pytest.approx(peak(tasks, held, received, recompute=True))
        assert states.least * held.sum() <= peak(tasks, held, received, recompute=False) * (1 + 1e-9)


def chain(layers: np.ndarray, devices: int, memory: float = np.inf) -> Instance:
    """Make layers of the given times, twice that backward, on equal devices; each keeps 1 byte."""
    n = len(layers)
    return Instance.build(
        ids=[*(f"f{i}" for i in range(n)), *(f"b{i}" for i in range(n))],
        types=("gpu",),
        time_ms=np.concatenate([layers, 2 * layers])[:, None],
        output_bytes=np.zeros(2 * n),
        activation_bytes=np.array([1.0] * n + [0.0] * n),
        edges=[(i, i + 1) for i in range(n - 1)]
        + [(n - 1, 2 * n - 1)]
        + [(n + i + 1, n + i) for i in range(n - 1)],
        backward=[False] * n + [True] * n,
        colocate=[f"g{i}" for i in range(n)] * 2,
        classes=(DeviceClass("gpu", "gpu", devices, memory_limit_bytes=memory),),
    )  # fmt: skip


def step(instance: Instance, **options: object) -> Result:
    result = solve(instance, objective="step", **options)
    assert check(instance, result) == []
    return result


@pytest.mark.parametrize(
    ("layers", "devices", "chunks", "count"), [(8, 4, 2, 8), (24, 4, 3, 16), (16, 2, 4, 2)]
)
def test_equal_layers_on_equal_devices(layers: int, devices: int, chunks: int, count: int) -> None:
    """With k layers in each virtual stage: m L and a bubble of (P - 1) L / V."""
    result = step(chain(np.ones(layers), devices), virtual_stages=chunks, microbatches=count, time_limit=5.0)
    load = 3.0 * layers / devices
    assert result.objective <= (count * load + (devices - 1) * load / chunks) * (1 + 1e-9)
    assert count * load <= result.bound


def test_virtual_stages_shorten_a_step_and_take_more_memory() -> None:
    """Of unequal layers, in a case that is small enough to be proven for both."""
    instance = chain(np.array([1.0, 2, 1, 1, 2, 1]), 2)
    plain = step(instance, microbatches=4)
    round_twice = step(instance, microbatches=4, virtual_stages=2)
    assert plain.status is Status.OPTIMAL
    assert round_twice.status is Status.OPTIMAL
    assert round_twice.objective < plain.objective
    peaks = [max(d.memory_bytes for d in result.devices) for result in (plain, round_twice)]
    assert peaks[1] > peaks[0]
    tight = step(
        chain(np.array([1.0, 2, 1, 1, 2, 1]), 2, memory=peaks[1] - 1), microbatches=4, virtual_stages=2
    )
    assert tight.objective > round_twice.objective


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"microbatches": 3}, "no multiple of 2"),
        ({"objective": "throughput"}, "objective step"),
        ({"schedule": "gpipe"}, "1f1b"),
        ({"method": "dp"}, "virtual stages"),
        ({"virtual_stages": 0}, "virtual_stages"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(changes: dict[str, object], message: str) -> None:
    asked = {"objective": "step", "virtual_stages": 2, "microbatches": 4, **changes}
    with pytest.raises(UsageError, match=message):
        solve(chain(np.ones(4), 2), **asked)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the shared cases")
def test_shared_case() -> None:
    """Of 82 layers on 8 devices, 33 ms is the least largest load."""
    result = step(load(CASES / "interleaved_8.json"), virtual_stages=5, time_limit=8.0)
    assert result.objective <= 1080.0
    assert result.bound == pytest.approx(1056.0)
