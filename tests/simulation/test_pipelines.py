"""Simulated steady states equal the objective: any plan, schedule and communication model."""

import ast
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import placer
from placer.formats.files import load
from placer.instance.training import Training
from placer.options import Communication, Options, Schedule
from placer.plans.plan import Plan, Team
from placer.simulation import simulate
from tests.support.graphs import parallel_branches, skip_chain
from tests.support.level import count, seeds
from tests.support.random_instances import random_cluster, random_instance
from tests.support.simulation import simulated, some_plan
from tests.support.workloads import THROUGHPUT, known, needs_workloads, workload

DATA = Path(__file__).resolve().parents[2] / "data"
COLGEN_SECONDS = 1.0


def models(training: bool) -> list[Options]:
    schedules = Schedule if training else [Schedule.ONE_F_ONE_B]
    return [Options(communication=c, schedule=s) for c, s in itertools.product(Communication, schedules)]


@settings(max_examples=count(100), deadline=None)
@given(seed=st.integers(0, 10**6), nodes=st.integers(2, 14), training=st.booleans())
def test_random_plans(seed: int, nodes: int, training: bool):
    instance = random_instance(seed, nodes=nodes, training=training, heterogeneous=seed % 3 == 0)
    plan = some_plan(instance, seed)
    for options in models(instance.is_training) if plan is not None else ():
        simulated(instance, plan, options)


@pytest.mark.parametrize("seed", seeds(12))
def test_optima_of_random_clusters(seed: int):
    instance = random_cluster(seed)
    for options, contiguous in itertools.product(models(instance.is_training), (True, False)):
        result = placer.solve(instance, options, method="milp", contiguous=contiguous)
        if result.assignment is not None:
            simulated(instance, result)


@pytest.mark.parametrize("seed", seeds(12))
def test_replicated_stages(seed: int):
    """Each replica takes its part of a sample; in training they synchronise their weights."""
    instance = random_instance(seed, nodes=6, training=seed % 3 != 0, heterogeneous=seed % 2 == 1)
    instance = instance.replace(
        weight_bytes=np.arange(instance.n) / 4,
        training=Training(microbatches=1 + seed % 3),
        classes=tuple(
            replace(c, count=2 * c.count, link=replace(c.link, bandwidth_bytes_per_s=500.0))
            for c in instance.classes
        ),
    )
    accelerators = [d.index for d in instance.devices if not d.is_host]
    groups = tuple((d, d + 1) for d in accelerators[::2])
    plan = some_plan(instance, seed)
    if plan is None:
        return
    first = {b: a for a, b in groups}
    plan = Plan(np.array([first.get(d, d) for d in plan.device.tolist()]), teams=tuple(map(Team, groups)))
    for options in models(instance.is_training):
        simulation = simulated(instance, plan, options)
        for a, b in groups:
            assert simulation.devices[a].busy_ms == simulation.devices[b].busy_ms
            shown = [[s for s in simulation.slices if s.device == instance.devices[d].name] for d in (a, b)]
            assert len(shown[0]) == len(shown[1])


@pytest.mark.parametrize(
    "instance",
    [parallel_branches(4, 5, 3, transfer=1.0), skip_chain(24, 4, transfer=3.0)],
    ids=["branches", "chain"],
)
def test_many_stages_per_device(instance):
    """Neighbours alternate between devices, so that a device serves many stages in each round."""
    plan = Plan(np.arange(instance.n) % 3)
    for options in models(training=False):
        simulation = simulated(instance, plan, options)
        assert len(simulation.slices) > 10 * simulation.samples


def known_cases() -> list[tuple[str, dict[str, object]]]:
    """Contiguous optima that the dynamic program finds; recomputation is in ``test_memory``."""
    entries = json.loads((DATA / "known.json").read_text())["known"]
    return [(e["instance"], e["options"]) for e in entries if e["options"].get("contiguous")]


@pytest.mark.parametrize(("name", "options"), known_cases(), ids=str)
def test_contiguous_optima_of_data(name, options):
    instance = load(DATA / f"{name}.json")
    simulated(instance, placer.solve(instance, method="dp", **options))


@pytest.mark.parametrize("name", ["textbook", "gpt_training", "inception", "heterogeneous"])
@pytest.mark.parametrize("communication", Communication)
def test_other_plans_of_data(name, communication):
    instance = load(DATA / f"{name}.json")
    result = placer.solve(
        instance, method="local-search", contiguous=False, communication=communication, time_limit=0.5
    )
    simulated(instance, result)


@needs_workloads
@pytest.mark.workload
@pytest.mark.parametrize("name", THROUGHPUT)
def test_contiguous_optima_of_workloads(name):
    instance = workload("throughput", name)
    simulation = simulated(instance, placer.solve(instance, method="dp"))
    optimum = known()["throughput"][name]["contiguous"]["optimum"]
    assert simulation.steady_ms == pytest.approx(optimum, rel=1e-9)


@needs_workloads
@pytest.mark.workload
@pytest.mark.parametrize("name", THROUGHPUT)
def test_non_contiguous_plans_of_workloads(name):
    instance = workload("throughput", name)
    result = placer.solve(instance, method="colgen", contiguous=False, time_limit=COLGEN_SECONDS)
    if result.assignment is None:
        pytest.skip(f"colgen found no plan within {COLGEN_SECONDS:g} s")
    simulation = simulate(instance, result)
    assert simulation.periodic
    assert simulation.steady_ms == pytest.approx(result.objective, rel=1e-9)


def test_it_shares_nothing_with_the_evaluation():
    allowed = {
        "arrays",
        "errors",
        "options",
        "instance",
        "plans.plan",
        "plans.result",
        "serving.serving_plan",  # what an answer is, without its costs
        "formats.text",  # files of requests
    }
    derived = {"class_time_ms", "class_transfer_ms", "resident_bytes", "allowed", "order_edges"}
    files = sorted(Path(placer.simulation.__file__).parent.glob("*.py"))
    assert len(files) > 5
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("placer."):
                module = node.module.removeprefix("placer.")
                only_names = (module, [a.name for a in node.names]) == ("plans.check", ["plan_of"])
                known = {module, module.split(".")[0]} & (allowed | {"simulation"})
                assert known or only_names, (path.name, node.module)
            elif isinstance(node, ast.Import):
                assert not any(a.name.startswith(("placer", "formulations")) for a in node.names)
            elif isinstance(node, ast.Attribute):
                assert node.attr not in derived, (path.name, node.attr)
