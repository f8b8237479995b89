"""What limits a plan, word for word."""

import numpy as np
import pytest

from placer.formats.files import load
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.options import Options
from placer.pages.load_chart import by_direction
from placer.pages.sentence import limit
from placer.plans.plan import Plan
from placer.plans.status import Stop
from placer.search.run import Outcome, Run
from placer.solving.solve import solve
from placer.solving.to_result import to_result
from tests.support.plans import DATA, result_of


def pair(first=(3.0,), second=(4.0,), transfer=1.0, backward=None):
    """A chain over two accelerators; the nodes of ``first`` go to acc0, those of ``second`` to acc1."""
    times = [*first, *second]
    n = len(times)
    return (
        Instance.build(
            ids=[f"v{i}" for i in range(n)],
            types=("acc",),
            time_ms=[[t] for t in times],
            transfer_ms=[transfer] * n,
            edges=[(i, i + 1) for i in range(n - 1)],
            backward=backward,
            classes=(DeviceClass("acc", "acc", 2, Kind.ACCELERATOR, 1e9),),
        ),
        Plan(np.array([0] * len(first) + [1] * len(second))),
    )


def sentence(instance, plan, bound=None, **options):
    result = result_of(instance, plan, bound, **options)
    return limit(result, by_direction(result, instance), instance)


def test_sequential():
    """acc1 computes 4 ms and receives 1 ms."""
    assert sentence(*pair(), bound=4.0) == (
        "acc1 is the bottleneck at 5.000 ms per sample: 80 % of its load is computing and 20 % receiving; "
        "a contiguous plan could at best be 20 % faster."
    )


def test_transfers_come_first_when_they_weigh_most():
    assert sentence(*pair(second=(1.0, 0.5), first=(1.0,), transfer=6.0), bound=7.0).startswith(
        "acc1 is the bottleneck at 7.500 ms per sample: 80 % of its load is receiving and 20 % computing;"
    )


def test_a_single_node_that_dominates_is_named():
    instance, plan = pair(second=(4.0, 1.0))
    assert "and node v1 alone takes 67 %; " in sentence(instance, plan)


def test_proven():
    assert sentence(*pair(), bound=5.0).endswith("; it is proven that no contiguous plan is faster.")
    assert sentence(*pair(), bound=4.9, gap=0.05, contiguous=False).endswith(
        "; it is proven that no plan is more than 2 % faster."
    )


def test_no_bound():
    assert sentence(*pair()).endswith("; how much faster a plan could be is not known.")


def test_ties_are_all_named():
    assert sentence(*pair(first=(4.0,), second=(4.0,), transfer=0.0)).startswith(
        "acc0 and acc1 are the bottlenecks at 4.000 ms per sample each, all of it computing;"
    )


@pytest.mark.parametrize(
    ("communication", "transfer", "expected"),
    [
        ("overlap", 1.0, "4.000 ms per sample: all of its load is computing, and its transfers hide behind"),
        ("overlap", 9.0, "9.000 ms per sample each: all of the load of acc0 is receiving and sending, and"),
        ("duplex", 9.0, "9.000 ms per sample each: all of the load of acc0 is sending, and what else"),
    ],
)
def test_hidden_parts(communication, transfer, expected):
    assert expected in sentence(*pair(transfer=transfer), communication=communication)


def test_gpipe_names_the_bottleneck_of_each_pass():
    """acc0 computes 5 ms forward and 1 ms backward, acc1 2 ms forward and 6 ms backward; no transfers."""
    instance = Instance.build(
        ids=["a", "b", "b'", "a'"],
        types=("acc",),
        time_ms=[[5.0], [2.0], [6.0], [1.0]],
        edges=[(0, 1), (1, 2), (2, 3)],
        backward=[False, False, True, True],
        colocate=["a", "b", "b", "a"],
        classes=(DeviceClass("acc", "acc", 2, Kind.ACCELERATOR, 1e9),),
    )
    plan = Plan(np.array([0, 1, 1, 0]))
    assert sentence(instance, plan, schedule="gpipe").startswith(
        "acc0 limits the forward pass (5.000 ms) and acc1 the backward pass (6.000 ms);"
    )
    mixed = sentence(instance, Plan(np.array([0, 0, 0, 0])), schedule="gpipe")
    assert mixed.startswith("acc0 limits both passes: 7.000 ms forward and 7.000 ms backward;")


def test_latency():
    result = solve(load(DATA / "textbook.json"), objective="latency", method="greedy")
    assert limit(result).startswith(f"One sample takes {result.objective:.2f} ms; ")


def test_no_plan():
    result = solve(load(DATA / "infeasible.json"))
    assert limit(result) == f"There is no plan: {result.message}."


def test_nothing_found_in_time():
    instance, _ = pair()
    result = to_result(instance, instance, Options(), Outcome(Stop.TIME_LIMIT), Run())
    assert limit(result) == "No plan was found."


def test_zero_loads():
    assert sentence(*pair(first=(0.0,), second=(0.0,), transfer=0.0)) == (
        "Nothing limits this plan: every load is zero."
    )
