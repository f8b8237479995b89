"""The bound by capacity: never above an optimum, and as large as memory makes it."""

import itertools

import numpy as np
import pytest

from formulations.bulk import ProgramBuilder
from formulations.capacity import packings
from placer.instance.cluster import DeviceClass, Kind, Link
from placer.instance.instance import Instance
from placer.methods.capacity_bound import bound_ms
from placer.options import Options
from placer.plans import infeasible
from placer.plans.in_flight import settled
from placer.reductions import teams
from placer.search.run import Run
from placer.solvers.highs import LinearMaster
from placer.solving.solve import solve
from tests.support.brute import COMMUNICATIONS, SCHEDULES, latency_optimum, throughput_optima
from tests.support.brute_features import candidates
from tests.support.feature_instances import FEATURES, case
from tests.support.level import seeds
from tests.support.random_instances import in_short_supply, random_cluster, random_instance

ROUNDING = 1 + 1e-9
GB = 1e9


def bound_of(instance: Instance, **options: object) -> float | None:
    made = Options.model_validate(options)
    return bound_ms(settled(instance, made), made, Run())


@pytest.mark.parametrize("seed", seeds(400))
def test_no_plan_is_faster(seed):
    instance = in_short_supply(random_cluster(seed), seed)
    optima = throughput_optima(instance)
    for schedule, communication in itertools.product(SCHEDULES, COMMUNICATIONS):
        bound = bound_of(instance, schedule=schedule, communication=communication, contiguous=False)
        assert bound is None or bound <= optima["free", schedule, communication] * ROUNDING
        bound = bound_of(instance, schedule=schedule, communication=communication)
        assert bound is None or bound <= optima["ordered", schedule, communication] * ROUNDING


@pytest.mark.parametrize("seed", seeds(200))
@pytest.mark.parametrize("pieces", [1, 2])
def test_no_sample_is_done_earlier(seed, pieces):
    instance = random_instance(seed, nodes=5, latency=True, heterogeneous=seed % 2 == 0)
    instance = in_short_supply(instance, seed)
    bound = bound_of(instance, objective="latency", pieces=pieces)
    assert bound is None or bound <= latency_optimum(instance, pieces) * ROUNDING


@pytest.mark.parametrize("features", list(itertools.combinations(FEATURES, 2)), ids=" + ".join)
def test_no_plan_with_other_rules_is_faster(features):
    for seed in range(2):
        made = case(set(features), seed)
        kind = ("free" if "recompute" not in features and seed else "ordered", "1f1b", "sequential")
        best = candidates(made.instance, kind, replicas=made.replicas, recompute=made.recompute)
        options = {"contiguous": kind[0] == "ordered", "recompute": made.recompute}
        ways = [made.instance]
        if made.replicas > 1 and infeasible.simple_cause(made.instance) is None:
            asked = Options(replicas=made.replicas)
            ways = [smaller for smaller, _ in teams.apply(made.instance, asked, pooled=False)]
        bounds = [bound_of(way, **options) for way in ways]
        found = [x for x in bounds if x is not None]
        if len(found) == len(ways):
            assert min(found) <= best.optimum() * ROUNDING


def without_transfers(seed: int) -> Instance:
    """Build nodes of few kinds without edges, and one device of each of three classes."""
    rng = np.random.default_rng([seed, 7])
    kinds = rng.integers(0, 3, 7)
    time, memory = rng.uniform(1, 5, (3, 3)), rng.uniform(1, 4, 3)
    total = float(memory[kinds].sum())
    return Instance.build(
        name="loose",
        ids=[f"v{i}" for i in range(7)],
        types=("a", "b", "cpu"),
        time_ms=(time * [1, 1.5, 6])[kinds],
        memory_bytes=memory[kinds],
        transfer_ms=np.zeros(7),
        edges=[],
        classes=(
            DeviceClass("a", "a", 1, Kind.ACCELERATOR, 0.35 * total),
            DeviceClass("b", "b", 1, Kind.ACCELERATOR, 0.3 * total),
            DeviceClass("cpu", "cpu", 1, Kind.HOST),
        ),
    )


@pytest.mark.parametrize("seed", seeds(160))
def test_is_the_optimum_where_nothing_else_counts(seed):
    instance = without_transfers(seed)
    assert bound_of(instance) == pytest.approx(
        throughput_optima(instance)["free", "1f1b", "sequential"], 1e-4
    )


def experts(layers: int) -> Instance:
    """Build a mixture of experts whose experts exceed two accelerators, on a host without a limit."""
    names = [f"{part}{i}" for i in range(layers) for part in ("attention", "experts")]
    return Instance.build(
        name="experts",
        ids=names,
        types=("gpu", "cpu"),
        time_ms=[[0.1, 1.3], [0.09, 1.0]] * layers,
        memory_bytes=[0.06 * GB, 0.98 * GB] * layers,
        transfer_ms=[0.005] * len(names),
        edges=[(i, i + 1) for i in range(len(names) - 1)],
        classes=(
            DeviceClass("big", "gpu", 1, Kind.ACCELERATOR, 0.36 * layers * GB),
            DeviceClass("small", "gpu", 1, Kind.ACCELERATOR, 0.3 * layers * GB, Link()),
            DeviceClass("cpu", "cpu", 1, Kind.HOST),
        ),
    )


def test_what_must_leave_accelerators_is_counted_whole():
    layers = 40
    instance = experts(layers)
    # 66 % of 40 GB hold the attention (2.4 GB) and 24 experts; 16 of them go to the host, or more attention.
    left = layers - int((0.66 * layers - 0.06 * layers) / 0.98)
    assert bound_of(instance, contiguous=False) == pytest.approx(left * 1.0, rel=1e-6)
    result = solve(instance, contiguous=False, time_limit=20)
    assert result.status == "optimal"
    assert result.objective == pytest.approx(left * 1.0)


def test_a_single_sample_sees_memory_as_well():
    instance = experts(10)
    result = solve(instance, objective="latency", pieces=11, method="dp", gap=0.0)
    bound = bound_of(instance, objective="latency", pieces=11)
    assert bound is not None
    assert result.objective is not None
    assert bound == pytest.approx(result.objective, rel=1e-4)


def test_there_is_none_where_memory_is_loose():
    assert bound_of(experts(10).replace(memory_bytes=np.ones(20))) is None
    assert bound_of(experts(10), objective="memory") is None


@pytest.mark.parametrize("seed", range(200))
def test_what_fits_a_device_fits_by_every_function(seed):
    rng = np.random.default_rng(seed)
    share = rng.choice([rng.uniform(0, 1, 30), rng.integers(1, 13, 30) / 12])
    together: list[int] = []
    for i in rng.permutation(30).tolist():
        if share[[*together, i]].sum() <= 1 + 1e-12:
            together.append(i)
    for packed in packings(share):
        assert packed[together].sum() <= 1 + 1e-9


def test_items_larger_than_half_a_device_take_one_each():
    shares = packings(np.array([0.6, 0.55, 0.2]))
    assert any(packed[:2].sum() == pytest.approx(2.0) for packed in shares)


@pytest.mark.parametrize("seed", range(30))
def test_any_row_values_bound_a_program(seed):
    rng = np.random.default_rng(seed)
    builder = ProgramBuilder()
    x, z = builder.columns((6,)), builder.columns((1,), 0.0, 10.0)
    builder.add((x * rng.uniform(0, 1, 6)).sum(0) >= 0.8)
    builder.add(z >= (x * rng.uniform(0, 2, 6)).sum(0))
    builder.add(z >= x * rng.uniform(0, 3, 6))
    program = builder.build(z)
    solved = LinearMaster(program).solve(Run())
    assert solved.objective is not None
    assert solved.row_dual is not None
    assert program.dual_bound(solved.row_dual) == pytest.approx(solved.objective, abs=1e-9)
    for _ in range(20):
        values = rng.normal(0, 1, program.rows)
        assert program.dual_bound(values) <= solved.objective + 1e-9
