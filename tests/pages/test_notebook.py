"""Results and instances show themselves in a notebook, with every name as text."""

from html.parser import HTMLParser

import pytest

from placer.formats.files import load
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.solving.solve import solve
from tests.support.plans import DATA, cut_evenly

VOID = {"br", "img"}


class Balanced(HTMLParser):
    """Collects text and tags, and fails when tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_result():
    result = solve(load(DATA / "textbook.json"), method="milp")
    shown = Balanced(result._repr_html_())
    assert "textbook: optimal, 10.00 ms, gap " in shown.text
    assert "gpu0 is the bottleneck at 10.00 ms per sample" in shown.text
    for device in result.devices:
        assert device.name in shown.text


def test_result_without_a_plan():
    assert "There is no plan" in Balanced(solve(load(DATA / "infeasible.json"))._repr_html_()).text


def test_instance():
    shown = Balanced(load(DATA / "gpt_training.json")._repr_html_())
    assert "training" in shown.text
    assert "54" in shown.text
    assert "40 GiB" in shown.text


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '" onload="x', "</td></table><img src=x onerror=y>"]
)
def test_names_are_text(name):
    instance = Instance.build(
        name=name,
        ids=[name],
        types=("t",),
        time_ms=[[1.0]],
        edges=[],
        classes=(DeviceClass(name, "t", 1, Kind.ACCELERATOR, 1.0),),
    )
    for shown in (instance, cut_evenly(instance)):
        parsed = Balanced(shown._repr_html_())
        assert name in parsed.text
        assert not {"script", "img"} & parsed.tags


def test_many_devices_are_cut_short():
    instance = Instance.build(
        ids=["a"],
        types=("t",),
        time_ms=[[1.0]],
        edges=[],
        classes=(DeviceClass("acc", "t", 500, Kind.ACCELERATOR, 1.0),),
    )
    shown = cut_evenly(instance)._repr_html_()
    assert "468 more devices" in shown
    assert len(shown) < 40_000
