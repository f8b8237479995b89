"""Figures of matplotlib: that they draw the numbers."""

import builtins
import io

import pytest

from placer import plot
from placer.errors import UsageError
from placer.formats.files import load
from placer.instance.cluster import DeviceClass
from placer.pages.performance_profiles import Entry
from placer.solving.solve import solve
from tests.pages.test_sentence import pair
from tests.support.plans import DATA, result_of


@pytest.fixture(scope="module")
def result():
    """acc0 computes 3 ms and sends 1 ms; acc1 receives 1 ms and computes 4 ms; the bound is 4 ms."""
    instance, plan = pair()
    return result_of(instance, plan, 4.0)


def test_loads(result):
    (axes,) = plot.loads(result).axes
    bars = [(round(b.get_x(), 9), b.get_width()) for b in axes.patches]
    assert bars == [(0, 3), (3, 0), (3, 1), (0, 4), (4, 1), (5, 0)]
    assert [line.get_xdata()[0] for line in axes.lines] == [5.0, 4.0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["acc0", "acc1"]


def test_a_notebook_shows_a_figure_that_ends_a_cell(result):
    assert plot.loads(result)._repr_png_().startswith(b"\x89PNG")


def test_memory(result):
    (axes,) = plot.memory(result).axes
    assert max(b.get_width() for b in axes.patches) == pytest.approx(1e9 / 1024**3)


def test_convergence(result):
    (axes,) = plot.convergence(result).axes
    objective, bound = axes.lines
    assert objective.get_ydata()[-1] == 5.0
    assert bound.get_ydata()[-1] == 4.0


def test_timeline():
    instance = load(DATA / "textbook.json")
    planned = solve(instance, objective="latency", method="greedy")
    (axes,) = plot.timeline(planned, instance).axes
    assert axes.dataLim.x1 == pytest.approx(planned.objective)


def test_timeline_refuses_a_plan_that_does_not_hold(result):
    with pytest.raises(UsageError, match="another instance"):
        plot.timeline(result, load(DATA / "textbook.json"))


def test_performance_profile():
    entries = [Entry("a", m, "a", "proven", objective=o) for m, o in (("m", 2.0), ("n", 3.0))]
    (axes,) = plot.performance_profile(entries).axes
    assert [line.get_ydata()[-1] for line in axes.lines] == [100.0, 100.0]
    assert axes.lines[1].get_xdata()[1] == 1.5


def test_nothing_to_draw():
    none = solve(load(DATA / "infeasible.json"))
    for figure in (plot.loads, plot.memory, plot.convergence):
        with pytest.raises(UsageError, match="this result h"):
            figure(none)
    with pytest.raises(UsageError, match="no job has"):
        plot.performance_profile([])


def test_names_are_no_mathematics():
    instance, plan = pair()
    classes = (DeviceClass("$x^$", "acc", 2, memory_limit_bytes=1e9),)
    figure = plot.loads(result_of(instance.replace(classes=classes), plan))
    figure.savefig(io.BytesIO())


def test_without_matplotlib(result, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match="pip install matplotlib"):
        plot.loads(result)
