"""A single sample: the simulated makespan is the latency that was promised."""

from pathlib import Path

import numpy as np
import pytest

import placer
from placer.errors import InputError, UsageError
from placer.formats.files import load
from placer.options import Objective, Options
from placer.plans.plan import Plan
from placer.simulation import simulate
from tests.simulation.test_by_hand import chain
from tests.support.level import seeds
from tests.support.random_instances import random_instance
from tests.support.simulation import simulated
from tests.support.workloads import LATENCY, known, needs_workloads, workload

DATA = Path(__file__).resolve().parents[2] / "data"
LATENCY_OPTIONS = Options(objective=Objective.LATENCY, pieces=2)


def test_two_pieces_and_a_host():
    """acc0: v0 and its transfer; the host: v1; acc0 again: v1's transfer and v2."""
    instance = chain([2, 5, 3], transfer=1)
    simulation = simulated(instance, Plan(np.array([0, 2, 0]), np.array([0, -1, 1])), LATENCY_OPTIONS)
    assert [(s.device, s.lane, s.start_ms, s.end_ms) for s in simulation.slices] == [
        ("acc0", "compute", 0, 2),
        ("acc0", "send", 2, 3),
        ("cpu0", "compute", 3, 8),
        ("acc0", "receive", 8, 9),
        ("acc0", "compute", 9, 12),
    ]
    assert (simulation.makespan_ms, simulation.steady_ms, simulation.samples) == (12, None, 1)
    assert [use.idle_ms for use in simulation.devices] == [5, 12, 7]
    assert simulation.devices[0].peak_bytes == 2 * 4


def test_a_host_runs_any_number_at_once():
    instance = chain([1, 4, 2]).replace(edges=np.zeros((0, 2), dtype=np.int64))
    simulation = simulated(instance, Plan(np.array([2, 2, 2]), np.array([-1, -1, -1])), LATENCY_OPTIONS)
    assert simulation.makespan_ms == 4
    assert sorted(s.slot for s in simulation.slices) == [0, 1, 2]
    assert simulation.devices[-1].busy_ms == 4


def test_pieces_in_the_wrong_order():
    plan = Plan(np.array([0, 2, 0]), np.array([1, -1, 0]))
    with pytest.raises(InputError, match="wait for each other and never start: 'v0', 'v1', 'v2'"):
        simulate(chain([2, 5, 3], transfer=1), plan, LATENCY_OPTIONS)


def test_a_single_sample_only():
    with pytest.raises(UsageError, match="single sample"):
        simulate(chain([2, 5]), Plan(np.array([0, 2]), np.array([0, -1])), LATENCY_OPTIONS, samples=2)


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("seed", seeds(25))
def test_random_plans(seed, pieces):
    instance = random_instance(seed, nodes=9, latency=True, heterogeneous=seed % 2 == 1)
    method = "dp" if pieces == 1 else "greedy"
    result = placer.solve(instance, objective="latency", pieces=pieces, method=method)
    if result.assignment is not None:
        simulated(instance, result)


@pytest.mark.parametrize("name", ["textbook", "latency"])
@pytest.mark.parametrize("method", ["dp", "greedy", "max-load"])
def test_data(name, method):
    instance = load(DATA / f"{name}.json")
    result = placer.solve(instance, objective="latency", method=method)
    assert result.assignment is not None
    simulated(instance, result)


@needs_workloads
@pytest.mark.workload
@pytest.mark.parametrize("name", LATENCY)
def test_workloads(name):
    instance = workload("latency", name)
    simulation = simulated(instance, placer.solve(instance, objective="latency", method="dp"))
    assert simulation.makespan_ms == pytest.approx(known()["latency_q1"][name]["optimum"], rel=1e-6)
