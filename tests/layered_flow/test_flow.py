"""Layered flow: all plans of small cases, the bound, what is verified, and the published programs."""

import highspy
import pytest

import placer
from placer.errors import UsageError
from placer.layered_flow.flow_check import violations
from placer.layered_flow.flow_file import load_flow
from placer.plans.result import Status
from placer.plans.status import Stop
from tests.support.flows import (
    HELIX,
    complete,
    document,
    largest,
    needs_helix,
    passes,
    published,
    random_flow,
)


@pytest.mark.parametrize("block", [0, *(pytest.param(b, marks=pytest.mark.slow) for b in range(1, 10))])
def test_all_plans_of_small_flows(block):
    statuses = []
    for seed in range(50 * block, 50 * block + 50):
        flow = random_flow(seed)
        best, result = largest(flow), placer.flow(flow)
        statuses.append(result.status)
        if best == 0:
            assert result.status is Status.INFEASIBLE, seed
            assert result.message, seed
            assert result.tokens_per_s is None, seed
        else:
            assert result.status is Status.OPTIMAL, seed
            assert result.tokens_per_s == pytest.approx(best, rel=1e-4), seed
            assert result.tokens_per_s <= best * (1 + 1e-9), seed
            assert result.bound >= best * (1 - 1e-9), seed
            assert violations(load_flow(flow), result) == [], seed
    assert {Status.OPTIMAL, Status.INFEASIBLE} <= set(statuses)


def test_slow_devices_share_what_a_fast_one_does_alone():
    """Two layers: a alone on the first, b and c together on the second."""
    rates = {"a": [100.0], "b": [50.0], "c": [50.0]}
    result = placer.flow(document(2, rates, complete(rates, 1e3)))
    assert result.status is Status.OPTIMAL
    assert result.tokens_per_s == pytest.approx(100.0)
    assert sorted(result.ranges["b"] + result.ranges["c"]) == sorted(2 * result.ranges["b"])
    assert result.ranges["a"] != result.ranges["b"]


def test_ranges_that_overlap_do_not_meet():
    """A device enters at the layer at which it starts: there is no way from [0, 2) to [1, 3)."""
    flow = document(3, {"a": [0.0, 9.0], "b": [0.0, 9.0]}, complete("ab", 100.0))
    assert placer.flow(flow).status is Status.INFEASIBLE


@pytest.mark.parametrize(
    ("rates", "links", "reason"),
    [
        ({}, {}, "no devices"),
        ({"a": [5.0]}, {("a", "sink"): 1.0}, "no link from the source"),
        ({"a": [5.0]}, {("source", "a"): 1.0}, "no link to the sink"),
        ({"a": [5.0, 3.0], "b": [5.0]}, {("source", "a"): 1.0, ("b", "sink"): 1.0}, "no way along the links"),
        ({"a": [5.0]}, complete("a", 1.0), "at most 1 layers, of 2"),
        (
            {"a": [5.0], "b": [5.0]},
            complete("ab", 9.0) | {("a", "b"): 0.0, ("b", "a"): 0.0},
            "no chain of linked devices",
        ),
    ],
)
def test_why_there_is_no_plan(rates, links, reason):
    result = placer.flow(document(2, rates, links))
    assert (result.status, result.stop) == (Status.INFEASIBLE, Stop.INFEASIBLE)
    assert reason in result.message
    assert (result.tokens_per_s, result.bound, result.ranges, result.flows) == (None, None, {}, [])


def test_limits_that_make_no_sense():
    for name in ("time_limit", "gap", "threads"):
        with pytest.raises(UsageError, match=name):
            placer.flow(document(1, {"a": [1.0]}, complete("a", 1.0)), **{name: -1})


def test_no_time_still_gives_a_result():
    result = placer.flow(document(2, {"a": [9.0, 4.0]}, complete("a", 9.0)), time_limit=0)
    assert result.stop is Stop.TIME_LIMIT
    assert result.status in (Status.UNKNOWN, Status.FEASIBLE)


@pytest.fixture(scope="module")
def planned():
    rates = {"a": [90.0, 50.0], "b": [60.0, 30.0]}
    flow = document(2, rates, complete(rates, 70.0))
    return load_flow(flow), placer.flow(flow)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"tokens_per_s": 99.0}, "not 99.0"),
        ({"bound": 10.0}, "below what the ranges pass"),
        ({"ranges": {"x": (0, 2)}}, "no device 'x'"),
        ({"ranges": {"a": (0, 3)}}, "no layers \\[0, 3\\)"),
        ({"ranges": {"a": (1, 2), "b": (1, 2)}}, "one does not start where the other ends"),
        ({"flows": []}, "flows from the source are 0.0"),
    ],
)
def test_what_does_not_hold_is_found(planned, changes, found):
    problem, result = planned
    assert violations(problem, result) == []
    assert result.tokens_per_s == pytest.approx(80.0)  # both hold both layers
    with pytest.raises(AssertionError, match=found):
        assert violations(problem, result.model_copy(update=changes)) == []


def checked_in_the_program(name, result):
    """Solve the published program with its placement fixed to ours; return its tokens per second.

    A device that holds nothing here holds one layer there, for which it gets no tokens.
    """
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    assert highs.readModel(str(HELIX / f"{name}.lp")) == highspy.HighsStatus.kOk
    names = {highs.getColName(j)[1]: j for j in range(highs.getNumCol())}
    devices = [column.removeprefix("start_") for column in names if column.startswith("start_")]
    for device in devices:
        first, end = result.ranges.get(device, (0, 1))
        highs.changeColBounds(names[f"start_{device}"], first, first)
        k = 1
        while f"hold_{device}_{k}" in names:
            held = float(k == end - first)
            highs.changeColBounds(names[f"hold_{device}_{k}"], held, held)
            k += 1
    highs.setOptionValue("mip_rel_gap", 1e-9)
    highs.run()
    assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return highs.getObjectiveValue()


@needs_helix("single_24")
def test_the_published_single_cluster():
    """Published: 1289.56 tokens/s, with a bound of 78,062."""
    flow = published("single_24")
    result = placer.flow(flow)
    assert result.seconds < 10
    assert result.status is Status.OPTIMAL
    assert result.tokens_per_s == pytest.approx(2045.641, abs=1e-3)
    assert checked_in_the_program("single_24", result) == pytest.approx(result.tokens_per_s, rel=1e-6)
    rates = {device["name"]: device["tokens_per_s"] for device in flow["devices"]}
    links = {(link["from"], link["to"]): link["tokens_per_s"] for link in flow["links"]}
    assert passes(80, rates, links, result.ranges) == pytest.approx(result.tokens_per_s, rel=1e-9)


@needs_helix("distributed_24")
@pytest.mark.slow
def test_the_published_distributed_clusters():
    """Three clusters, slow links between them.  Published: 1212.18 tokens/s, with a bound of 46,520."""
    result = placer.flow(published("distributed_24"), time_limit=120)
    assert result.tokens_per_s >= 1.3 * 1212.18
    assert result.gap <= 0.05
    assert checked_in_the_program("distributed_24", result) == pytest.approx(result.tokens_per_s, rel=1e-6)


def test_a_weak_link_is_crossed_by_a_group():
    """The link from a to either of b and c carries half of what a passes, both together all of it."""
    rates = {"a": [100.0], "b": [60.0], "c": [60.0]}
    links = {("source", "a"): 1e3, ("a", "b"): 50.0, ("a", "c"): 50.0, ("b", "sink"): 1e3, ("c", "sink"): 1e3}
    result = placer.flow(document(2, rates, links))
    assert result.status is Status.OPTIMAL
    assert result.tokens_per_s == pytest.approx(100.0)
    assert result.ranges == {"a": (0, 1), "b": (1, 2), "c": (1, 2)}
