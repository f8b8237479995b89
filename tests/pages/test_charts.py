"""Axes, step curves and performance profiles, by hand."""

import pytest

from placer.pages.chart_axes import linear, logarithmic
from placer.pages.convergence import convergence, steps
from placer.pages.performance_profiles import Entry, profiles
from placer.plans.result import Progress
from tests.pages.test_sentence import pair
from tests.support.plans import result_of


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 10.0, ["0", "2", "4", "6", "8", "10"]),
        (0.0, 0.0, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (3.0, 17.2, ["0", "5", "10", "15", "20"]),
    ],
)
def test_linear_axes_have_round_ticks_that_enclose_the_values(low, high, labels):
    axis = linear(low, high)
    assert [tick.label for tick in axis.ticks] == labels
    assert axis.place(axis.low) == 0
    assert axis.place(axis.high) == 100
    assert axis.place((axis.low + axis.high) / 2) == pytest.approx(50)


def test_a_constant_has_an_axis():
    axis = linear(34.5, 34.5)
    assert axis.low < 34.5 < axis.high


def test_logarithmic_axes():
    axis = logarithmic(0.02, 30.0)
    assert [tick.label for tick in axis.ticks] == ["0.01", "0.1", "1", "10", "100"]
    assert axis.place(1.0) == pytest.approx(50)
    assert axis.place(1e9) == 100


def test_steps_keep_each_value_until_the_next():
    assert steps([(0, 90), (50, 40)]) == "M0.000 90.000h0H50.000V40.000"


def test_convergence_ends_with_the_final_figures():
    instance, plan = pair()
    result = result_of(instance, plan, 4.0).model_copy(
        update={
            "progress": [
                Progress(seconds=0.0, incumbent=None, bound=1.0),
                Progress(seconds=1.0, incumbent=8.0, bound=1.0),
            ],
            "runtime_s": 2.0,
        }
    )
    found = convergence(result)
    assert [(p.seconds, p.incumbent, p.bound) for p in found.points] == [(0, None, 1), (1, 8, 1), (2, 5, 4)]
    objective, bound = found.curves
    assert objective.path.startswith("M50.000")
    assert objective.path.endswith(f"H100.000V{100 - found.values.place(5.0):.3f}")
    assert bound.path.startswith("M0.000")


def test_profiles_by_hand():
    """Three problems: m is best on two; n on one, 1.5 times the best on another, and fails on the third."""
    entries = [
        Entry("a", "m", "a", "proven", objective=10.0, seconds=4.0),
        Entry("a", "n", "a", "solved", objective=15.0, seconds=1.0),
        Entry("b", "m", "b", "solved", objective=8.0, seconds=9.0),
        Entry("b", "n", "b", "proven", objective=4.0, seconds=1.0),
        Entry("c", "m", "c", "infeasible", seconds=1.0),
        Entry("c", "n", "c", "failed"),
        Entry("d", "m", "d", "proven", objective=1.0, seconds=1.0),
    ]
    quality, problems = profiles(entries, "objective")
    assert problems == 3  # nobody has a plan for c
    assert [(p.method, p.points) for p in quality] == [
        ("m", ((1.0, 2 / 3), (2.0, 1.0))),
        ("n", ((1.0, 1 / 3), (1.5, 2 / 3))),
    ]
    time, problems = profiles(entries, "seconds")
    assert problems == 4  # a proof of infeasibility counts, a plan without proof does not
    assert [(p.method, p.points) for p in time] == [("m", ((1.0, 3 / 4),)), ("n", ((1.0, 1 / 4),))]


def test_rounding_breaks_no_tie():
    entries = [Entry("a", m, "a", "proven", objective=o) for m, o in (("m", 1.0), ("n", 1.0 + 1e-13))]
    found, _ = profiles(entries, "objective")
    assert [p.points for p in found] == [((1.0, 1.0),), ((1.0, 1.0),)]


def test_a_zero_objective_is_no_division():
    entries = [Entry("a", m, "a", "proven", objective=o) for m, o in (("m", 0.0), ("n", 1.0))]
    found, _ = profiles(entries, "objective")
    assert [p.points for p in found] == [((1.0, 1.0),), ((1.0, 0.0),)]
