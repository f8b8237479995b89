"""The page of an answer of ``placer serve``."""

import re

import pytest

from placer.cli import main
from placer.pages.serving_page import memory_rows, serving_page
from placer.serving.serving_plan import FrontPoint, Limit, Resource
from tests.pages.test_plan_page import policy_of
from tests.support.served import DENSE, answer, nodes_of, served

NAME = "<script>alert(1)</script>"


def some(**changes):
    nodes = nodes_of(DENSE)
    devices = ["a"] * 10 + ["b"] * (len(nodes) - 10)
    plan = served(nodes, devices)
    first, second = plan.stages
    first = first.model_copy(
        update={"layers": (0, 5), "weight_bytes": 5e9, "cache_bytes": 1e9, "free_bytes": 4e9}
    )
    second = second.model_copy(update={"devices": (NAME,), "layers": (4, 12)})
    front = tuple(
        FrontPoint(
            tpot_ms=t,
            tokens_per_s=r,
            ttft_ms=None,
            batch=b,
            microbatches=2,
            concurrency=2 * b,
            stages=(("gpu", 10), ("gpu", 16)),
        )
        for t, r, b in ((2.5, 400.0, 1), (5.0, 1200.0, 3), (20.0, 2400.0, 24))
    )
    plan = plan.model_copy(update={"stages": (first, second)})
    return answer(plan, model=NAME).model_copy(update={"front": front, **changes})


def test_memory_is_on_one_scale():
    """Both may use 10 GB: 5 + 1 of it and 6 + 2."""
    rows = memory_rows(some().plan)
    assert [(r.weights, r.cache, r.room) for r in rows] == [(50, 10, 100), (60, 20, 100)]
    assert [r.reserve for r in rows] == [0, 0]
    assert [r.layers for r in rows] == ["0 to 4", "4 to 11"]


def test_all_is_shown():
    page = serving_page(some())
    for title in ("front", "memory", "loads", "question"):
        assert f'<section class="card" id="{title}"' in page
    places = re.findall(r'<svg class="point" x="([\d.]+)%" y="([\d.]+)%"', page)
    # Axes from 0 to 20 ms and 0 to 2500 tokens/s.
    assert [(float(x), float(y)) for x, y in places] == [(12.5, 84.0), (25.0, 52.0), (100.0, 4.0)]
    assert page.count('<span class="tag">answer</span>') == 1
    assert page.count('fill-opacity="0.25"') == 2
    assert "1200 tokens/s" in page


def test_the_reserve_is_beyond_what_may_be_used():
    """10 GB of 12.5 may be used: four fifths of the bar, and the reserve after it."""
    plan = some().plan
    first = plan.stages[0].model_copy(update={"reserve_bytes": 2.5e9})
    plan = plan.model_copy(update={"stages": (first, *plan.stages[1:])})
    rows = memory_rows(plan)
    assert [(r.weights, r.cache, r.room, r.reserve) for r in rows] == [(40, 8, 80, 20), (48, 16, 80, 0)]
    page = serving_page(some(plan=plan))
    assert re.findall(r'seg sync" x="([\d.]+)%" y="0.5" width="([\d.]+)%"', page) == [("80.0000", "20.0000")]
    assert "reserve" not in serving_page(some())


def test_what_more_would_bring():
    given = {"device_class": "gpu", "more": "one more"}
    more = Limit(resource=Resource.DEVICE, value=1500.0, gain=300.0, binding=True, **given)
    none = Limit(resource=Resource.LINK, value=1200.0, gain=0.0, binding=False, **given)
    page = serving_page(some(limits=(more, none)))
    assert '<td class="num" data-value="1500.0">1500</td><td class="num" data-value="300.0">300</td>' in page
    assert 'data-value="0.0">nothing</td>' in page
    assert 'id="limits"' not in serving_page(some())


def test_names_are_text_and_nothing_is_asked_for():
    page = serving_page(some())
    assert NAME not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert policy_of(page).startswith("default-src 'none'; style-src 'sha256-")
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_without_a_plan():
    page = serving_page(some(plan=None, front=(), value=None, bound=None, message="nothing fits"))
    assert "nothing fits" in page
    assert 'id="memory"' not in page
    assert 'id="front"' not in page


@pytest.mark.parametrize("extra", [[], ["--instance", "x.json"]])
def test_command(tmp_path, capsys, extra):
    source, out = tmp_path / "served.json", tmp_path / "served.html"
    source.write_text(some().to_json())
    if extra:
        assert main(["report", str(source), "--out", str(out), *extra]) == 2
        assert "leave out --instance" in capsys.readouterr().err
        return
    assert main(["report", str(source), "--out", str(out)]) == 0
    assert out.read_text() == serving_page(some())
