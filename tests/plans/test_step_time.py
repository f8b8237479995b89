"""The time of a step: closed forms, cases by hand, and an evaluation that goes from task to task."""

import numpy as np
import pytest

from placer.methods.step.pipeline_search import suffix_times
from placer.methods.step.suffix_labels import Rules
from placer.options import Schedule
from placer.plans.step_time import longest_path, makespan_ms
from tests.support.brute_step import makespan
from tests.support.level import seeds


@pytest.mark.parametrize("schedule", Schedule)
@pytest.mark.parametrize(("stages", "count"), [(1, 1), (1, 7), (4, 1), (4, 3), (4, 4), (4, 9), (8, 32)])
def test_equal_stages_take_the_closed_form(schedule: Schedule, stages: int, count: int) -> None:
    """(P + m - 1) L: the bubble is that of P - 1 stages."""
    found = makespan_ms([1.0] * stages, [2.0] * stages, count, schedule)
    assert found == pytest.approx((stages + count - 1) * 3.0)


def test_two_microbatches_where_no_formula_holds() -> None:
    """F = (0, 1, 0), B = (1, 0, 0): 4, and Σ L + (m - 1) max L says 3."""
    assert makespan_ms([0.0, 1.0, 0.0], [1.0, 0.0, 0.0], 2, Schedule.ONE_F_ONE_B) == 4.0


def test_a_heavy_first_stage_hurts_less_than_a_heavy_last_one() -> None:
    first = makespan_ms([2.0, 1.0], [4.0, 2.0], 8, Schedule.ONE_F_ONE_B)
    last = makespan_ms([1.0, 2.0], [2.0, 4.0], 8, Schedule.ONE_F_ONE_B)
    assert first < last == 3.0 + 8 * 6.0


def test_inference_is_a_flow_shop() -> None:
    assert makespan_ms([3.0, 5.0, 2.0], [0.0] * 3, 10, Schedule.ONE_F_ONE_B) == 10.0 + 9 * 5.0


@pytest.mark.parametrize("seed", seeds(200))
def test_every_way_to_compute_it_agrees_and_bounds_hold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stages, count = int(rng.integers(1, 8)), int(rng.integers(1, 20))
    forward = rng.integers(0, 9, stages) / 4
    backward = 1.0 + rng.integers(0, 9, stages) / 4
    for schedule in Schedule:
        expected = makespan(forward.tolist(), backward.tolist(), count, schedule.value)
        assert makespan_ms(forward.tolist(), backward.tolist(), count, schedule) == pytest.approx(expected)
        rules = Rules(count, flow=schedule is Schedule.GPIPE)
        figures = rules.empty
        for place in range(1, stages + 1):
            load = np.array([[forward[-place]], [backward[-place]]])
            figures = rules.grown(figures, load, place)
        bound = float(rules.time_ms(figures)[0])
        assert bound <= expected * (1 + 1e-12)
        assert bound == pytest.approx(expected) or schedule is Schedule.ONE_F_ONE_B
    times = suffix_times(np.stack([forward, backward])[:, None, :], count)
    assert times[0] == pytest.approx(makespan(forward.tolist(), backward.tolist(), count, "1f1b"))


def test_the_bound_of_labels_is_exact_for_nearly_balanced_pipelines() -> None:
    """With loads within a tenth and a usual ratio of backward to forward work, in all of 200 pipelines."""
    rng = np.random.default_rng(5)
    for _ in range(200):
        stages = int(rng.integers(2, 9))
        count = int(rng.integers(2 * stages, 8 * stages))
        forward = 1 - 0.1 * rng.random(stages)
        backward = 2 * forward * (1 - 0.02 * rng.random(stages))
        rules = Rules(count, flow=False)
        figures = rules.empty
        for place in range(1, stages + 1):
            figures = rules.grown(figures, np.array([[forward[-place]], [backward[-place]]]), place)
        expected = makespan(forward.tolist(), backward.tolist(), count, "1f1b")
        assert float(rules.time_ms(figures)[0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", seeds(100))
def test_the_longest_path_of_some_loads_bounds_the_time_of_others(seed: int) -> None:
    rng = np.random.default_rng([seed, 3])
    stages, count = int(rng.integers(1, 7)), int(rng.integers(1, 15))
    own, other = (1.0 + rng.integers(0, 9, (2, stages)) for _ in range(2))
    path = np.array(longest_path(*own.tolist(), count))
    assert (path * own).sum() == makespan(*own.tolist(), count, "1f1b")
    assert (path * other).sum() <= makespan(*other.tolist(), count, "1f1b")
