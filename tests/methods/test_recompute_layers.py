"""Nodes that choose by themselves whether they recompute: brute force, replay, and what is refused."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from placer.errors import UsageError
from placer.formats.files import load
from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.check import check
from placer.plans.plan import Plan
from placer.plans.recompute_choice import Choices, Output, fewest_recomputed
from placer.plans.verify import violations
from placer.simulation import simulate
from placer.solving.solve import solve
from tests.support.brute_features import Modes, _Grouped
from tests.support.brute_step import shortest_step
from tests.support.feature_instances import case
from tests.support.level import seeds
from tests.support.machines import machines
from tests.support.replay import peaks

DATA = Path(__file__).resolve().parents[2] / "data"


def random_choices(rng: np.random.Generator) -> Choices:
    """Up to seven units; outputs have any producer, also one after its readers, or none here."""
    size = int(rng.integers(1, 8))
    outputs = []
    for _ in range(int(rng.integers(0, 6))):
        producer = int(rng.integers(-1, size))
        others = [g for g in range(size) if g != producer]
        if others:
            readers = rng.choice(others, int(rng.integers(1, len(others) + 1)), replace=False)
            outputs.append(Output(float(rng.integers(1, 6)), producer, tuple(sorted(readers.tolist()))))
    times, freed = rng.integers(0, 6, size), rng.integers(0, 9, size)
    return Choices(times.astype(float).tolist(), freed.astype(float).tolist(), outputs)


def freed(choices: Choices, units: tuple[int, ...]) -> float:
    kept = 0.0
    for output in choices.outputs:
        if any(g in units for g in output.readers) and output.producer not in units:
            kept += output.size
    return sum(choices.freed_bytes[g] for g in units) - kept


@pytest.mark.parametrize("seed", seeds(40))
def test_the_knapsack_of_a_device_is_that_of_all_subsets(seed: int) -> None:
    rng = np.random.default_rng([seed, 171])
    for _ in range(20):
        choices = random_choices(rng)
        size = len(choices.time_ms)
        subsets = [s for k in range(size + 1) for s in itertools.combinations(range(size), k)]
        need = float(rng.integers(1, 25))
        times = [sum(choices.time_ms[g] for g in s) for s in subsets if freed(choices, s) >= need]
        start = subsets[int(rng.integers(len(subsets)))]
        found, exact = fewest_recomputed(choices, need, start)
        assert exact
        assert (found is None) == (not times)
        if found is not None:
            assert freed(choices, found) >= need
            assert sum(choices.time_ms[g] for g in found) == min(times)


def test_with_many_units_an_answer_is_found_though_not_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("placer.plans.recompute_choice.MOST_PAIRS", 8)
    rng = np.random.default_rng(5)
    choices = Choices(rng.uniform(1, 2, 30).tolist(), rng.uniform(1, 2, 30).tolist(), [])
    found, exact = fewest_recomputed(choices, 20.0)
    assert not exact
    assert found is not None
    assert freed(choices, found) >= 20.0
    assert sum(choices.time_ms[g] for g in found) < 1.2 * sum(choices.time_ms) * 20.0 / sum(
        choices.freed_bytes
    )


@pytest.mark.parametrize("seed", seeds(16))
def test_rules_are_those_of_brute_force(seed: int) -> None:
    """A plan holds iff some order of its stages keeps all limits, whatever its nodes choose."""
    made = case({"layers"}, seed)
    instance, rng = made.instance, np.random.default_rng([seed, 172])
    groups = [((d,), 1) for d in range(len(instance.devices))]
    for schedule in ("1f1b", "gpipe"):
        brute = _Grouped(instance, machines(instance), groups, ("ordered", schedule, "sequential"), Modes())
        choices = brute.choices("layers")
        options = Options(schedule=schedule, recompute="layers")
        for again in [choices[int(k)] for k in rng.integers(len(choices), size=4)]:
            memory = brute.memory(again)
            fits = np.zeros(len(brute.plans), dtype=bool)
            for ok, flights in brute._orders():
                fits |= ok & brute.fits(memory, flights)
            for p in rng.permutation(len(brute.plans))[:10].tolist():
                device = brute.plans[p]
                nodes = np.flatnonzero(again[np.arange(instance.n), device])
                plan = Plan(device, again=tuple(nodes.tolist()))
                assert (violations(instance, plan, options) == []) == bool(fits[p])


@pytest.mark.parametrize("method", ["milp", "dp", "auto"])
@pytest.mark.parametrize("seed", seeds(8))
def test_step_is_that_of_brute_force(method: str, seed: int) -> None:
    rng = np.random.default_rng([seed, 173])
    instance = case({"layers"}, seed).instance
    schedule = str(rng.choice(["1f1b", "gpipe"]))
    communication = str(rng.choice(["sequential", "overlap", "duplex"]))
    optimum = shortest_step(instance, schedule, communication, instance.training.microbatches, "layers")
    result = solve(
        instance,
        objective="step",
        method=method,
        schedule=schedule,
        communication=communication,
        recompute="layers",
        gap=1e-6,
    )
    if np.isinf(optimum):
        assert result.status == "infeasible"
        return
    assert result.status == "optimal"
    assert result.objective == pytest.approx(optimum, rel=2e-6)
    assert check(instance, result) == []
    if communication == "sequential":
        assert simulate(instance, result).objective_ms == pytest.approx(result.objective, rel=1e-9)


@pytest.fixture(scope="module")
def pipeline() -> Instance:
    return load(DATA / "gpt_pipeline.json")


def test_steps_of_single_layers_are_proven_at_once(pipeline: Instance) -> None:
    """By the dynamic program over stages, each of which is a knapsack; the program comes to the same."""
    stages, layers = (solve(pipeline, objective="step", method="dp", recompute=x) for x in ("auto", "layers"))
    assert layers.status == "optimal"
    assert layers.objective < 0.96 * stages.objective
    assert check(pipeline, layers) == []
    assert simulate(pipeline, layers).objective_ms == pytest.approx(layers.objective, rel=1e-9)


def test_single_layers_of_a_transformer_beat_whole_stages(pipeline: Instance) -> None:
    """Each replayed step by step: memory peaks where it was promised."""
    stages, layers = (solve(pipeline, recompute=x, method="milp") for x in ("auto", "layers"))
    assert layers.status == "optimal"
    assert layers.objective < 0.95 * stages.objective
    assert layers.recompute == []
    replayed, uses = peaks(pipeline, layers), {use.name: use for use in simulate(pipeline, layers).devices}
    for device in layers.devices:
        assert device.memory_bytes == pytest.approx(replayed.get(device.name, 0.0), rel=1e-12)
        if device.nodes:
            assert uses[device.name].peak_bytes == pytest.approx(device.memory_bytes, rel=1e-9)
        again = set(layers.recomputed_nodes).intersection(device.nodes)
        assert len(again) < len(device.nodes)
    assert check(pipeline, layers) == []


def test_altered_results_are_noticed(pipeline: Instance) -> None:
    result = solve(pipeline, recompute="layers", method="first-fit")
    assert result.recomputed_nodes
    kept = result.model_copy(update={"recomputed_nodes": []}).sealed()
    assert any("more than its limit" in line for line in check(pipeline, kept))
    half = result.model_copy(update={"recomputed_nodes": result.recomputed_nodes[1:]}).sealed()
    assert any("recompute, and others of it do not" in line for line in check(pipeline, half))
    unknown = result.model_copy(update={"recomputed_nodes": ["nowhere"]}).sealed()
    assert check(pipeline, unknown) == ["a recomputing node is called 'nowhere', which is no node"]


def test_rules_of_plans(pipeline: Instance) -> None:
    plan = Plan(np.zeros(pipeline.n, dtype=np.int64), again=tuple(range(pipeline.n)))
    free = pipeline.replace(classes=tuple(replace(c, memory_limit_bytes=np.inf) for c in pipeline.classes))
    layers = Options(recompute="layers")
    assert violations(free, plan, layers) == []
    assert "options do not allow" in violations(free, plan, Options(recompute="auto"))[0]
    whole = replace(plan, again=(), recompute=(0,))
    assert violations(free, whole, layers) == [
        "devices recompute as a whole where nodes choose by themselves"
    ]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"method": "dp"}, "method dp cannot plan which nodes recompute; choose from auto, milp, first-fit"),
        ({"objective": "memory"}, "planned for throughput and step, not for memory"),
        ({"objective": "step", "virtual_stages": 2}, "with virtual stages choose auto"),
        ({"contiguous": False}, "only contiguous throughput plans recompute"),
    ],
)
def test_refusals(changes: dict[str, object], text: str, pipeline: Instance) -> None:
    with pytest.raises(UsageError, match=text):
        solve(pipeline, recompute="layers", **changes)
