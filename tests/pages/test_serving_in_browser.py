"""The page of an answer of ``placer serve`` in a real browser."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from placer.language.configuration import language_model
from placer.pages.serving_page import serving_page
from placer.serving.serve import serve, served
from placer.serving.serving_request import Goal, ServingRequest
from tests.support.chromium import opened
from tests.support.served import DENSE


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """Twelve small layers on two cards, with a front and what more would bring."""
    asked = ServingRequest(objective=Goal.CONCURRENCY, context=65536, limits=True, gap=0.05)
    model, request = served(language_model(DENSE), "t4:1,l4:1", asked)
    result = serve(model, request)
    path = tmp_path_factory.mktemp("page") / "served.html"
    path.write_text(serving_page(result))
    return path, result


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_without_complaint_and_axe_finds_nothing(browser, answered, scheme):
    with opened(browser, answered[0], scheme) as found:
        assert found.console == []
        assert found.requests == [answered[0].as_uri()]
        assert Axe().run(found.page).response["violations"] == []


def test_memory_is_drawn_to_scale(browser, answered):
    """Weights, keys and values within what may be used, the reserve after it, in pixels."""
    path, result = answered
    with opened(browser, path) as found:
        for row, stage in zip(found.page.locator("#memory tbody tr").all(), result.plan.stages, strict=True):
            width = {
                name: row.locator(f"rect.{name}").bounding_box()["width"]
                for name in ("compute", "receive", "limit", "sync")
            }
            pixels = width["limit"] / stage.room_bytes
            assert width["compute"] == pytest.approx(pixels * stage.weight_bytes, abs=1)
            assert width["receive"] == pytest.approx(pixels * stage.cache_bytes, abs=1)
            assert width["sync"] == pytest.approx(pixels * stage.reserve_bytes, abs=1)
            edge = row.locator("rect.sync").bounding_box()["x"]
            assert edge == pytest.approx(
                row.locator("rect.limit").bounding_box()["x"] + width["limit"], abs=1
            )


def test_a_narrow_window_scrolls_tables_alone(browser, answered):
    with opened(browser, answered[0], width=390) as found:
        size = found.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert size == [390, 390]


def test_what_more_would_bring_is_sorted_by_a_click(browser, answered):
    with opened(browser, answered[0]) as found:
        table = found.page.locator("#limits table")
        table.get_by_role("columnheader", name="Better by").get_by_role("button").click()
        gains = [cell.get_attribute("data-value") for cell in table.locator("tbody td:last-child").all()]
        values = [float(gain) for gain in gains]
        assert values in (sorted(values), sorted(values, reverse=True))
        assert len(values) == len(answered[1].limits) >= 8
        assert max(values) > 0


def test_the_front_has_a_point_for_each_plan_and_the_answer(browser, answered):
    path, result = answered
    with opened(browser, path) as found:
        beaten = (result.plan.tpot_ms, result.plan.tokens_per_s) not in [
            (point.tpot_ms, point.tokens_per_s) for point in result.front
        ]
        assert found.page.locator("#front svg.point").count() == len(result.front) + beaten > 1
        assert found.page.locator("#front tbody tr").count() == len(result.front) + beaten
        assert found.page.locator("#front .tag").all_inner_texts() == ["answer"]


@pytest.mark.parametrize("width", [390, 1280])
def test_figures_are_not_cut_off(browser, answered, width):
    with opened(browser, answered[0], width=width) as found:
        cells = found.page.locator(".figures dd").all()
        assert len(cells) > 8
        assert all(cell.evaluate("d => d.scrollWidth <= d.clientWidth") for cell in cells)
