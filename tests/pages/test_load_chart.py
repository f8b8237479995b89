"""Bars of the load chart: their lengths, their marks, and when passes are kept apart."""

import numpy as np
import pytest

from placer.formats.files import load
from placer.pages.load_chart import by_direction, load_chart
from placer.solving.solve import solve
from tests.pages.test_sentence import pair
from tests.support.plans import DATA, result_of


def test_segments_add_up_to_the_load_and_share_one_scale():
    """acc0: 3 computing, 1 sending; acc1: 1 receiving, 4 computing; the objective 5 is the longest."""
    instance, plan = pair()
    chart = load_chart(result_of(instance, plan, 4.0))
    assert [[(s.kind, s.ms) for s in row.bars[0].segments] for row in chart.rows] == [
        [("compute", 3.0), ("receive", 0.0), ("send", 1.0)],
        [("compute", 4.0), ("receive", 1.0), ("send", 0.0)],
    ]
    assert [row.heaviest for row in chart.rows] == [False, True]
    objective, bound = chart.marks
    last = chart.rows[1].bars[0].segments[1]
    assert last.start + last.width == pytest.approx(objective.position)
    assert bound.position == pytest.approx(objective.position * 4 / 5)


def test_bound_and_objective_that_agree_are_one_mark():
    instance, plan = pair()
    (mark,) = load_chart(result_of(instance, plan, 5.0)).marks
    assert mark.label == "objective = proven bound"


@pytest.mark.parametrize(("communication", "bars"), [("sequential", 1), ("overlap", 2), ("duplex", 3)])
def test_what_runs_side_by_side_has_bars_of_its_own(communication, bars):
    instance, plan = pair(transfer=9.0)
    chart = load_chart(result_of(instance, plan, communication=communication))
    for row in chart.rows:
        assert len(row.bars) == bars
        assert max(bar.ms for bar in row.bars) == pytest.approx(row.device.load_ms)


@pytest.mark.parametrize("communication", ["sequential", "overlap"])
def test_passes_of_gpipe_are_apart_and_add_up_to_the_objective(communication):
    instance = load(DATA / "gpt_training.json")
    result = solve(instance, method="milp", schedule="gpipe", communication=communication)
    direction = by_direction(result, instance)
    chart = load_chart(result, direction)
    assert chart.split
    assert sum(mark.ms for mark in chart.marks) == pytest.approx(result.objective)
    for row in chart.rows:
        forward = [bar.ms for bar in row.bars if bar.label.startswith("forward")]
        assert max(forward) == pytest.approx(row.forward_ms)
        assert row.forward_ms + row.backward_ms == pytest.approx(row.device.load_ms)


def test_gpipe_without_the_instance_marks_no_objective():
    """The objective is then a sum over two devices, which no single bar reaches."""
    instance = load(DATA / "gpt_training.json")
    result = solve(instance, method="milp", schedule="gpipe")
    assert by_direction(result, None) is None
    assert load_chart(result).marks == ()


def test_idle_devices_are_never_the_heaviest():
    instance, plan = pair(first=(0.0,), second=(0.0,), transfer=0.0)
    chart = load_chart(result_of(instance, plan))
    assert not any(row.heaviest for row in chart.rows)
    assert np.isfinite([s.width for row in chart.rows for bar in row.bars for s in bar.segments]).all()


def test_synchronising_weights_is_a_part_of_its_own():
    """Two of acc0's 3 ms of computing, to be told apart; the bar keeps its length."""
    instance, plan = pair()
    result = result_of(instance, plan)
    devices = [d.model_copy(update={"sync_ms": 2.0 * (d.name == "acc0")}) for d in result.devices]
    first, second = load_chart(result.model_copy(update={"devices": devices})).rows
    assert [(s.kind, s.ms) for s in first.bars[0].segments] == [
        ("compute", 1.0),
        ("sync", 2.0),
        ("receive", 0.0),
        ("send", 1.0),
    ]
    assert len(second.bars[0].segments) == 3
