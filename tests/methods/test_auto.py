"""Auto runs methods in a row, hands plan and bound on, and loses neither."""

import numpy as np
import pytest

from placer.instance.instance import Instance
from placer.methods import auto as module
from placer.methods.auto import Phase, phases, solve
from placer.methods.registry import METHODS, MethodInfo
from placer.options import Options
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.search.run import Outcome, Run
from placer.solving.solve import solve as solve_verified
from tests.methods.test_baselines import chain, mixed
from tests.support.brute import throughput_optima

HERE = __name__
SEEN: list[Run] = []
MADE: list["Counting"] = []


def all_on_first(instance: Instance, options: Options, run: Run) -> Outcome:
    """A plan of 6 ms for `chain`, no bound."""
    SEEN.append(run)
    return Outcome(Stop.FINISHED, Plan(np.zeros(instance.n, dtype=np.int64)))


def bound_alone(instance: Instance, options: Options, run: Run) -> Outcome:
    SEEN.append(run)
    return Outcome(Stop.TIME_LIMIT, None, 2.5, "out of time")


def best_plan(instance: Instance, options: Options, run: Run) -> Outcome:
    """The optimum of `chain`, 3 ms, with a poor bound."""
    SEEN.append(run)
    return Outcome(Stop.FINISHED, Plan(np.array([0, 0, 1])), 1.0)


def invalid_plan(instance: Instance, options: Options, run: Run) -> Outcome:
    return Outcome(Stop.FINISHED, Plan(np.array([0, 1, 0])))


def refuses(instance: Instance, options: Options, run: Run) -> Outcome:
    return Outcome(Stop.INFEASIBLE, message="nothing fits")


def exhausts(instance: Instance, options: Options, run: Run) -> Outcome:
    raise MemoryError


@pytest.fixture
def row(monkeypatch):
    """Replace the phases by these functions, by name."""
    SEEN.clear()

    def install(*names: str, narrower: tuple[str, ...] = ()) -> None:
        for name in names:
            monkeypatch.setitem(METHODS, name, MethodInfo(name, "for tests", throughput=f"{HERE}:{name}"))
        chosen = [Phase(name, 0.5, 10.0, narrower=name in narrower) for name in names]
        monkeypatch.setattr(module, "phases", lambda instance, options: chosen)

    return install


def test_keeps_the_best_plan_and_the_best_bound_of_different_phases(row):
    row("bound_alone", "best_plan", "all_on_first")
    outcome = solve(chain(), Options(), Run())
    assert outcome.plan.device.tolist() == [0, 0, 1]
    assert outcome.bound_ms == 2.5
    assert outcome.message == (
        "bound_alone: bound 2.5 ms, no plan (out of time); best_plan: 3 ms, bound 1 ms; all_on_first: 6 ms"
    )
    assert (outcome.stats["plan_from"], outcome.stats["bound_from"]) == ("best_plan", "bound_alone")


def test_hands_plan_and_bound_on(row):
    row("all_on_first", "bound_alone", "best_plan")
    solve(chain(), Options(), Run(time_limit=8))
    assert SEEN[0].start is None
    assert SEEN[1].start.device.tolist() == [0, 0, 0]
    assert SEEN[2].bound_ms == 2.5
    assert SEEN[0].work_limit == 4.0


def test_stops_as_soon_as_the_gap_is_proven(row):
    row("best_plan", "bound_alone", "all_on_first")
    outcome = solve(chain(), Options(gap=0.2), Run())
    assert len(SEEN) == 2
    assert outcome.stop is Stop.FINISHED


def test_takes_no_bound_from_a_narrower_problem(row):
    row("bound_alone", "refuses", "best_plan", narrower=("bound_alone", "refuses"))
    run = Run()
    outcome = solve(chain(), Options(contiguous=False), run)
    assert outcome.bound_ms == 1.0
    assert outcome.plan is not None
    assert max(point.bound_ms or 0.0 for point in run.history) == 1.0


def test_narrower_phases_start_from_plans_of_narrower_ones(row):
    row("all_on_first", "best_plan", "bound_alone", narrower=("all_on_first", "bound_alone"))
    solve(chain(), Options(contiguous=False), Run())
    assert [run.start.device.tolist() for run in SEEN[1:]] == [[0, 0, 0], [0, 0, 0]]


def test_drops_a_plan_that_does_not_hold_and_says_so(row, caplog):
    row("invalid_plan", "best_plan")
    outcome = solve(chain(), Options(), Run())
    assert outcome.plan.device.tolist() == [0, 0, 1]
    assert "invalid_plan: a plan that does not hold (not contiguous" in outcome.message
    assert "does not hold" in caplog.text


def test_survives_a_phase_without_memory(row):
    row("exhausts", "best_plan")
    outcome = solve(chain(), Options(), Run())
    assert outcome.message.startswith("exhausts: no plan (out of memory); best_plan: 3 ms")


def test_believes_a_proof_of_infeasibility_but_not_against_a_plan(row):
    row("refuses")
    assert solve(chain(), Options(), Run()).stop is Stop.INFEASIBLE
    row("best_plan", "refuses")
    outcome = solve(chain(), Options(), Run())
    assert outcome.plan.device.tolist() == [0, 0, 1]
    assert outcome.stop is Stop.FINISHED


def wrong_bound(instance: Instance, options: Options, run: Run) -> Outcome:
    """A bound above the optimum of `chain`."""
    return Outcome(Stop.TIME_LIMIT, None, 4.0)


def test_a_plan_refutes_a_bound_above_it(row):
    row("bound_alone", "wrong_bound", "best_plan")
    outcome = solve(chain(), Options(), Run())
    assert outcome.plan.device.tolist() == [0, 0, 1]
    assert outcome.bound_ms == 2.5
    assert outcome.stats["bound_from"] == "bound_alone"


def test_keeps_the_start(row):
    row("bound_alone")
    outcome = solve(chain(), Options(), Run(start=Plan(np.array([0, 0, 1]))))
    assert outcome.plan.device.tolist() == [0, 0, 1]


def test_builds_no_program_for_a_large_instance():
    small, large = chain((1.0,) * 10), chain((1.0,) * 40, accelerators=10_000)
    assert "milp" in [phase.method for phase in phases(small, Options())]
    assert "milp" not in [phase.method for phase in phases(large, Options())]


def test_finds_the_optimum_of_contiguous_kinds():
    for seed in range(8):
        instance = mixed(seed)
        optima = throughput_optima(instance)
        for schedule in ("1f1b", "gpipe"):
            optimum = optima["ordered", schedule, "overlap"]
            result = solve_verified(instance, schedule=schedule, communication="overlap")
            if np.isfinite(optimum):
                assert result.status == "optimal"
                assert result.objective == pytest.approx(optimum, rel=1e-4, abs=1e-9)
            else:
                assert result.status == "infeasible"


class Counting:
    """A search that counts how often it goes on."""

    def __init__(self, instance: Instance, options: Options) -> None:
        self.times = 0
        MADE.append(self)

    def go_on(self, run: Run) -> Outcome:
        self.times += 1
        return Outcome(Stop.WORK_LIMIT)


@pytest.mark.parametrize(("kept", "times"), [(True, [3]), (False, [1, 1, 1])])
def test_goes_on_with_the_search_of_an_earlier_phase(monkeypatch, kept, times):
    MADE.clear()
    monkeypatch.setitem(module.SEARCHES, "dp", f"{HERE}:Counting")
    chosen = [Phase("dp", 0.5, 10.0, kept=kept), Phase("dp", 0.5, 10.0, kept=kept), Phase("dp", 1.0, 10.0)]
    monkeypatch.setattr(module, "phases", lambda instance, options: chosen)
    solve(chain((1.0, 1.0, 1.0)), Options(), Run(time_limit=10.0))
    assert [search.times for search in MADE] == times
