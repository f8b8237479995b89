"""Programs of single sequences of devices find the best plan of all sequences, and prove it."""

from dataclasses import replace

import numpy as np
import pytest

from placer.instance.instance import Instance
from placer.methods.milp.device_sequences import are_few
from placer.methods.milp.sequence_search import SequenceSearch, solve
from placer.options import Options
from placer.plans.figures import objective_of
from placer.plans.in_flight import settled
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.plans.verify import violations
from placer.search.run import Run
from tests.support.brute import KINDS, throughput_optima
from tests.support.brute_memory import Brute
from tests.support.level import seeds
from tests.support.random_instances import random_cluster_memory, random_instance

ORDERED = [kind for kind in KINDS if kind[0] == "ordered"]
GAP = 1e-5


def some_plan(instance: Instance, options: Options, seed: int) -> Plan | None:
    """A random valid plan."""
    rng = np.random.default_rng(seed)
    tries = (Plan(rng.integers(0, len(instance.devices), instance.n)) for _ in range(300))
    return next((plan for plan in tries if not violations(instance, plan, options)), None)


def check(instance: Instance, options: Options, optimum: float, seed: int) -> None:
    """Compare with an optimum, from a start that is nothing special."""
    start = some_plan(instance, options, seed)
    if start is None or not are_few(instance, options):
        return
    outcome = solve(instance, options, Run(start=start))
    value = objective_of(instance, outcome.plan, options)
    assert violations(instance, outcome.plan, options) == []
    assert optimum * (1 - 1e-9) <= value <= optimum * (1 + GAP) + 1e-9
    assert value == 0 or optimum * (1 - GAP) - 1e-9 <= outcome.bound_ms <= optimum * (1 + 1e-9)


@pytest.mark.parametrize("seed", seeds(24))
def test_the_best_sequence_holds_the_best_plan(seed: int) -> None:
    """All schedules and communication models, with hosts and without, two kinds of accelerators, pins."""
    instance = random_instance(
        seed, nodes=6, training=bool(seed & 1), heterogeneous=bool(seed & 2), overrides=bool(seed & 4)
    )
    kind = ORDERED[seed % len(ORDERED)]
    optimum = throughput_optima(instance)[kind]
    if np.isfinite(optimum):
        check(instance, Options(schedule=kind[1], communication=kind[2], gap=GAP), optimum, seed)


@pytest.mark.parametrize("seed", seeds(24))
def test_memory_by_stage(seed: int) -> None:
    """Unused devices come first in some sequence, which then asks for no more memory than a plan needs."""
    instance = random_cluster_memory(seed, nodes=5)
    m = instance.training.microbatches
    choice = ("1f1b" if seed % 4 else "gpipe", ("sequential", "overlap", "duplex")[seed % 3], "none", m)
    for (schedule, communication, *_), optimum in Brute(instance).optima([choice]).items():
        options = Options(schedule=schedule, communication=communication, gap=GAP)
        if np.isfinite(optimum):
            check(settled(instance, options), options, optimum, seed)


def test_ends_where_the_margin_of_bounds_hides_the_gap() -> None:
    """Asked for no gap at all it solves each sequence once, and ends."""
    instance, options = random_instance(3, nodes=6, heterogeneous=True), Options(gap=0.0)
    start = some_plan(instance, options, 3)
    assert start is not None
    outcome = solve(instance, options, Run(start=start, time_limit=60))
    assert outcome.stop is Stop.FINISHED


def test_wide_graphs_have_too_many_sequences() -> None:
    """Where devices are many and of two kinds, programs of the sequences are left alone."""
    instance = random_instance(3, nodes=6, heterogeneous=True)
    assert are_few(instance, Options())
    many = instance.replace(classes=tuple(c if c.is_host else replace(c, count=12) for c in instance.classes))
    assert not are_few(many, Options())
    assert not are_few(instance, Options(contiguous=False))


@pytest.mark.parametrize("seed", seeds(12))
def test_goes_on_where_it_was_stopped(seed: int) -> None:
    """In slices of growing work it proves the optimum, from starts that get better meanwhile."""
    instance = random_instance(seed, nodes=6, training=bool(seed & 1), heterogeneous=bool(seed & 2))
    options = Options(schedule="gpipe" if seed & 1 else "1f1b", gap=GAP)
    optimum = throughput_optima(instance)["ordered", options.schedule.value, "sequential"]
    start = some_plan(instance, options, seed)
    if start is None or not np.isfinite(optimum) or not are_few(instance, options):
        return
    search, work_s = SequenceSearch(instance, options), 1e-6
    for _ in range(60):
        outcome = search.go_on(Run(start=start, work_limit=work_s))
        start, work_s = outcome.plan, 1.5 * work_s
        if outcome.stop is Stop.FINISHED:
            break
    assert outcome.stop is Stop.FINISHED
    assert objective_of(instance, outcome.plan, options) == pytest.approx(optimum, rel=GAP, abs=1e-9)
    assert optimum * (1 - GAP) - 1e-9 <= outcome.bound_ms <= optimum * (1 + 1e-9)
