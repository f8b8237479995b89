"""The page of a batch in a real browser: filters, sorting, names as text."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from placer.pages.batch_page import batch_page
from placer.pages.folder import Folder
from placer.pages.performance_profiles import Entry
from tests.support.chromium import opened

HOSTILE = '"><script>window.hacked = 1</script>'


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """Two methods on three instances, one of them with markup for a name; one job does not apply."""
    entries = [
        Entry("alpha", "dp", "a", "proven", 10.0, 10.0, 0.0, 1.0, 0.5),
        Entry("alpha", "greedy", "a", "solved", 12.0, 10.0, 1 / 6, 1.2, 0.01),
        Entry("beta", "dp", "b", "not applicable", reason="too wide"),
        Entry("beta", "greedy", "b", "solved", 7.0, None, None, 1.0, 0.02),
        Entry(HOSTILE, "dp", "c", "proven", 2.0, 2.0, 0.0, 1.0, 100.0),
        Entry(HOSTILE, "greedy", "c", "solved", 3.0, 1.5, 0.5, 1.5, 0.03),
    ]
    summary = [
        {"method": "dp", "jobs": 3, "proven": 2, "mean_gap": 0.0},
        {"method": "greedy", "jobs": 3, "proven": 0, "mean_gap": None},
    ]
    path = tmp_path_factory.mktemp("batch") / "batch.html"
    path.write_text(batch_page(Folder("nightly", entries, summary, [], ["a.txt: no instance"])))
    return path


def shown(page) -> list[str]:
    rows = page.locator("#job-table tbody tr:visible").all()
    return [f"{row.locator('th').inner_text()} {row.locator('td').first.inner_text()}" for row in rows]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_without_complaint_or_request_and_is_accessible(browser, batch, scheme):
    with opened(browser, batch, scheme) as found:
        for fold in found.page.locator("details").all():
            fold.evaluate("d => { d.open = true }")
        assert found.console == []
        assert found.requests == [batch.as_uri()]
        violations = Axe().run(found.page).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in violations] == []


def test_names_are_text(browser, batch):
    with opened(browser, batch) as found:
        assert found.page.evaluate("window.hacked") is None
        assert found.page.locator("#job-table tbody th").nth(4).inner_text() == HOSTILE


def test_filters_reach_tables_and_charts(browser, batch):
    with opened(browser, batch) as found:
        page = found.page
        assert len(shown(page)) == 6
        page.locator("#filter-instance").fill("ALPHA")
        assert shown(page) == ["alpha dp", "alpha greedy"]
        assert page.locator(".point:visible").count() == 2
        page.locator("#filters [name=method]").nth(1).uncheck()
        assert shown(page) == ["alpha dp"]
        assert page.locator("#methods tbody tr:visible").count() == 1
        assert page.locator("path.method[data-method='1']:visible").count() == 0
        page.locator("#filter-instance").fill("")
        page.locator("#filter-state").select_option("not applicable")
        assert shown(page) == ["beta dp"]
        assert page.locator("#shown").inner_text() == "1 job"


def test_sorting_by_numbers_keeps_absent_ones_last(browser, batch):
    with opened(browser, batch) as found:
        page = found.page
        button = page.locator("#job-table").get_by_role("button", name="Objective, ms")
        button.click()
        assert shown(page)[0] == f"{HOSTILE} dp"
        assert shown(page)[-1] == "beta dp"
        button.click()
        assert shown(page)[0] == "alpha greedy"
        assert shown(page)[-1] == "beta dp"
        assert page.locator("#job-table th[aria-sort]").inner_text().startswith("Objective")
