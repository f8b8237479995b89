"""Microbatches in flight, reserves, wanted orders and recomputation: rules, figures, and who knows them."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from placer.errors import UsageError
from placer.formats.files import load
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.check import check
from placer.plans.figures import objective_ms, stages_of
from placer.plans.in_flight import in_flight, settled
from placer.plans.plan import Plan
from placer.plans.verify import violations
from placer.solving.solve import solve
from tests.support.brute import latency_optimum
from tests.support.brute_memory import Brute, assignments
from tests.support.level import first, seeds
from tests.support.random_instances import random_cluster_memory, random_instance, with_single_hosts
from tests.support.replay import peaks

DATA = Path(__file__).resolve().parents[2] / "data"


def with_plans(seed: int) -> Instance | None:
    """A random instance that allows some assignment."""
    instance = random_cluster_memory(seed, nodes=4)
    return instance if any(True for _ in assignments(instance)) else None


@pytest.mark.parametrize("seed", seeds(40))
def test_rules_are_those_of_brute_force(seed: int) -> None:
    """A plan breaks no rule iff some order of its devices keeps all limits, for every option."""
    instance = first(with_plans, seed)
    brute = Brute(instance)
    training = instance.is_training
    for plan in itertools.islice(assignments(instance), 60):
        for schedule, m in itertools.product(("1f1b", "gpipe"), (None, 1, 3)):
            count = m or instance.training.microbatches
            for recompute in ("none", "auto", "all") if training else ("none",):
                options = Options(schedule=schedule, microbatches=m, recompute=recompute)
                feasible = brute.feasible(plan, schedule, recompute, count)
                used = [d for d in sorted(set(plan)) if not instance.devices[d].is_host]
                for size in range(len(used) + 1):
                    for again in itertools.combinations(used, size):
                        wanted = tuple((d, d in again) for d in sorted(set(plan)))
                        made = Plan(np.array(plan), recompute=again)
                        assert (violations(instance, made, options) == []) == (wanted in feasible)


@pytest.mark.parametrize("seed", seeds(40))
def test_settled_instances_have_the_same_plans(seed: int) -> None:
    instance = random_cluster_memory(seed, nodes=4)
    for changes in (
        {},
        {"contiguous": False},
        {"schedule": "gpipe"},
        {"method": "milp", "formulation": "paper"},
    ):
        options = Options(**changes)
        simple = settled(instance, options)
        assert simple.activation_bytes.any() <= in_flight(instance, options).by_stage
        for device in itertools.islice(assignments(instance), 40):
            plan = Plan(np.array(device))
            assert (violations(instance, plan, options) == []) == (violations(simple, plan, options) == [])


def test_every_order_is_judged_as_given() -> None:
    for seed in seeds(30):
        instance = random_cluster_memory(seed, nodes=4)
        brute, options = Brute(instance), Options()
        for device in itertools.islice(assignments(instance), 20):
            allowed = brute.orders(device)
            for order in itertools.permutations(sorted(set(device))):
                fits = order in allowed and all(
                    brute.costs.host[d]
                    or brute.bytes(
                        device, d, brute.in_flight(s, "1f1b", instance.training.microbatches), False
                    )
                    <= brute.room[d] * (1 + 1e-9)
                    for s, d in enumerate(reversed(order), start=1)
                )
                plan = Plan(np.array(device), stages=order)
                assert (violations(instance, plan, options) == []) == fits


@pytest.mark.parametrize("seed", seeds(15))
def test_objective_of_what_recomputes(seed: int) -> None:
    instance = first(with_plans, seed)
    brute = Brute(instance)
    for device in itertools.islice(assignments(instance), 20):
        used = [d for d in sorted(set(device)) if not instance.devices[d].is_host]
        plan = Plan(np.array(device), recompute=tuple(used))
        for communication in ("sequential", "overlap", "duplex"):
            loads = brute.loads(device, communication)
            load = np.array([loads[d, int(d in used)] for d in sorted(set(device))])
            options = Options(communication=communication)
            assert objective_ms(instance, plan, options) == pytest.approx(load.sum(axis=1).max())
            options = Options(communication=communication, schedule="gpipe")
            assert objective_ms(instance, plan, options) == pytest.approx(load.max(axis=0).sum())


def test_stages_are_listed_for_pipelines_only() -> None:
    instance = random_cluster_memory(3)
    device = next(d for d in assignments(instance) if Brute(instance).orders(d))
    plan = Plan(np.array(device))
    assert sorted(stages_of(instance, plan, Options())) == sorted(set(device))
    assert stages_of(instance, plan, Options(contiguous=False)) is None
    assert stages_of(instance, plan, Options(objective="latency")) is None


@pytest.mark.parametrize("recompute", ["none", "auto", "all"])
@pytest.mark.parametrize("schedule", ["1f1b", "gpipe"])
@pytest.mark.parametrize("microbatches", [1, 3, 8])
def test_replayed_step_by_step_the_plan_of_a_transformer_peaks_where_promised(
    schedule, recompute, microbatches
):
    instance = load(DATA / "gpt_pipeline.json")
    result = solve(
        instance, method="dp", schedule=schedule, recompute=recompute, microbatches=microbatches, gap=0.01
    )
    total = instance.resident_bytes.sum() + microbatches * instance.activation_bytes.sum()
    if schedule == "gpipe" and recompute == "none" and total > 4 * instance.devices[0].memory_limit_bytes:
        assert microbatches > 1
        assert result.status == "infeasible"
        return
    replayed = peaks(instance, result)
    assert set(replayed) == set(result.stages)
    for device in result.devices:
        assert device.memory_bytes == pytest.approx(replayed.get(device.name, 0.0), rel=1e-12)
        assert device.memory_bytes <= device.memory_limit_bytes


def test_recomputing_is_chosen_where_it_pays() -> None:
    """1F1B: the stages at the front recompute, which beats recomputing nowhere as well as everywhere."""
    instance = load(DATA / "gpt_pipeline.json")
    none, some, every = (solve(instance, method="dp", recompute=x) for x in ("none", "auto", "all"))
    assert some.recompute == some.stages[: len(some.recompute)]
    assert 0 < len(some.recompute) < len(every.recompute) == 4
    assert some.objective < min(none.objective, every.objective)


def test_what_cannot_be_planned_is_said_before_the_start() -> None:
    instance = load(DATA / "gpt_pipeline.json")
    for changes, text in (
        (
            {"method": "local-search"},
            "local-search cannot plan what recomputes; choose from auto, milp, dp, dpl",
        ),
        ({"contiguous": False}, "only contiguous throughput plans recompute"),
        ({"objective": "latency"}, "only contiguous throughput plans recompute"),
    ):
        with pytest.raises(UsageError, match=text):
            solve(instance, recompute="auto", **changes)
    with pytest.raises(UsageError, match="no backward nodes"):
        solve(load(DATA / "textbook.json"), recompute="auto")
    ordered = load(DATA / "textbook.json").replace(order=("gpu1", "gpu0"))
    with pytest.raises(UsageError, match="knows no order of the devices"):
        solve(ordered, method="milp", formulation="paper")


def test_tampered_stages_are_noticed() -> None:
    instance = load(DATA / "gpt_pipeline.json")
    result = solve(instance, method="dp", recompute="auto")
    assert check(instance, result) == []
    for changes, text in (
        ({"stages": result.stages[::-1]}, "the stages are the other way round"),
        ({"stages": result.stages[:-1]}, "not the devices that hold nodes"),
        ({"stages": None}, "list their stages"),
        ({"stages": [*result.stages[:-1], "gpu9"]}, "'gpu9', which is no device"),
        ({"recompute": result.recompute[:1]}, "more than its limit"),
        ({"recompute": ["gpu7"]}, "'gpu7', which is no device"),
    ):
        found = check(instance, result.model_copy(update=changes).sealed())
        assert any(text in line for line in found), (changes, found)


def two_gpus(**changes) -> Instance:
    """A chain of two nodes pinned to two GPUs, the first to gpu0."""
    data = {
        "ids": ["a", "b"],
        "types": ["gpu"],
        "time_ms": [1, 1],
        "edges": [(0, 1)],
        "memory_bytes": [4, 4],
        "pin": [["gpu0"], ["gpu1"]],
        "classes": [DeviceClass("gpu", "gpu", 2, Kind.ACCELERATOR, 10)],
    }
    return Instance.build(**data | changes)


def test_an_order_that_cannot_hold_is_named() -> None:
    assert solve(two_gpus(order=["gpu0", "gpu1"])).stages == ["gpu0", "gpu1"]
    result = solve(two_gpus(order=["gpu1", "gpu0"]))
    assert result.status == "infeasible"
    assert "the order of the devices" in result.message


def test_a_reserve_is_taken_from_the_limit() -> None:
    classes = [DeviceClass("gpu", "gpu", 2, Kind.ACCELERATOR, 10, memory_reserve_bytes=(0.0, 6.0))]
    assert [d.memory_limit_bytes for d in solve(two_gpus(classes=classes)).devices] == [10, 4]
    classes = [replace(classes[0], memory_reserve_bytes=6.5)]
    result = solve(two_gpus(classes=classes))
    assert result.status == "infeasible"
    assert (
        "needs 4 B; the largest device it may use, gpu0, has 3.5 B (10 B less a reserve of 6.5 B"
        in result.message
    )


@pytest.mark.parametrize("seed", seeds(40))
@pytest.mark.parametrize("method", ["dp", "milp"])
def test_latency_with_reserves_on_unequal_devices(seed: int, method: str) -> None:
    """Reserves tell members of a class apart; activations and orders mean nothing for a single sample."""
    rng = np.random.default_rng(seed)
    instance = with_single_hosts(random_instance(seed, nodes=4, heterogeneous=True, latency=True))
    need = instance.memory_bytes.sum()
    instance = instance.replace(
        classes=tuple(
            c
            if c.is_host
            else replace(
                c,
                memory_limit_bytes=float(need),
                memory_reserve_bytes=tuple((need * rng.uniform(0.2, 1.0, size=c.count)).tolist()),
            )
            for c in instance.classes
        )
    )
    optimum = latency_optimum(instance, 1)
    spoiled = instance.replace(
        activation_bytes=np.full(instance.n, 9.0), order=[d.name for d in instance.devices[::-1]]
    )
    result = solve(spoiled, objective="latency", method=method, gap=1e-4)
    assert (result.objective is None) == (optimum == np.inf)
    if result.objective is not None:
        assert result.objective == pytest.approx(optimum, rel=1e-6, abs=1e-9)
        assert result.status == "optimal"
