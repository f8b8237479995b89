"""The page of a plan in a real browser: what a person sees, finds and can reach."""

import itertools

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from placer.formats.files import load
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.instance.order import topological_position
from placer.pages.plan_page import plan_page
from placer.solving.solve import solve
from tests.support.chromium import opened
from tests.support.graphs import transformer
from tests.support.plans import DATA, cut_evenly

HOSTILE = (
    "<script>window.hacked = 1</script>",
    '"><img src=https://example.org/x onerror="window.hacked = 2">',
    "</script><script>window.hacked = 3</script>",
    "<!--<script>",
    "{{ 7 * 7 }}",
    "&lt;b&gt; 'quoted' \"twice\"",
    "javascript:alert(1)",
)
BLOCKS = 60
"""60 blocks of 33 operators and three before them: 1,983 nodes."""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """GPT-2 training, 54 nodes on four devices."""
    instance = load(DATA / "gpt_training.json")
    path = tmp_path_factory.mktemp("page") / "plan.html"
    path.write_text(plan_page(solve(instance, method="milp"), instance))
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An encoder of 1,983 operators on eight devices."""
    instance = transformer(BLOCKS)
    assert instance.n == 1983
    path = tmp_path_factory.mktemp("page") / "plan.html"
    path.write_text(plan_page(cut_evenly(instance), instance))
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A chain whose every name is markup."""
    n = len(HOSTILE)
    instance = Instance.build(
        name=HOSTILE[0],
        ids=HOSTILE,
        types=("<i>",),
        time_ms=[[1.0]] * n,
        transfer_ms=[0.5] * n,
        edges=[(i, i + 1) for i in range(n - 1)],
        layer=[HOSTILE[1]] * 3 + [HOSTILE[2]] * (n - 3),
        classes=(DeviceClass("<b>acc</b>", "<i>", 2, Kind.ACCELERATOR, 1e9),),
    )
    path = tmp_path_factory.mktemp("page") / "plan.html"
    path.write_text(plan_page(cut_evenly(instance), instance))
    return path


def boxes(page) -> int:
    return page.locator("#graph-view .v").count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["small", "large", "hostile"])
def test_opens_without_complaint_or_request(browser, request, which, scheme):
    path = request.getfixturevalue(which)
    with opened(browser, path, scheme) as found:
        for fold in found.page.locator("details").all():
            fold.evaluate("d => { d.open = true }")
        found.page.wait_for_function("document.querySelectorAll('.labels text').length > 0")
        assert found.console == []
        assert found.errors == []
        assert found.requests == [path.as_uri()]


def test_policy_forbids_connections_styles_and_scripts(browser, small):
    """Whatever a page could be made to add to itself is refused by its own policy."""
    with opened(browser, small) as found:
        refused = found.page.evaluate(
            """async () => {
                const seen = new Set();
                document.addEventListener("securitypolicyviolation", (e) => seen.add(e.effectiveDirective));
                await fetch("data:,x").catch(() => {});
                document.body.append(Object.assign(new Image(), { src: "data:image/png;base64,AAAA" }));
                const style = document.createElement("style");
                style.append("body { color: red }");
                document.body.append(style);
                const attempt = (name, act) => { try { act(); } catch { seen.add(name); } };
                attempt("onclick", () => document.body.setAttribute("onclick", "window.ran = 1"));
                attempt("innerHTML", () => { document.body.innerHTML = "<b>markup</b>"; });
                await new Promise((done) => setTimeout(done, 100));
                return [...seen].sort();
            }"""
        )
        assert {"connect-src", "img-src", "style-src-elem", "onclick", "innerHTML"} <= set(refused)


def test_search_finds_a_node_and_opens_what_hides_it(browser, large):
    with opened(browser, large) as found:
        page = found.page
        page.get_by_role("radio", name="Pieces").check()
        assert boxes(page) == 8  # one per device
        page.locator("#search").fill("layer.37/head2/soft")
        assert page.locator("#matches li").count() == 1
        page.keyboard.press("Enter")
        assert page.locator("#selection h3").inner_text() == "encoder/layer.37/head2/softmax"
        assert page.locator(".v.selected").count() == 1
        facts = page.locator("#selection dl").inner_text()
        assert "encoder/layer.37" in facts
        instance = transformer(BLOCKS)
        place = topological_position(instance)[instance.index["encoder/layer.37/head2/softmax"]]
        assert f"gpu{place * 8 // instance.n}" in facts
        assert "encoder/layer.37/head2/softmax" in page.locator("#graph-status").inner_text()
        reads = page.locator("#selection .jump").all_inner_texts()
        assert any("head2/scores" in text for text in reads)
        assert any("head2/context" in text for text in reads)


def test_search_says_that_there_is_none(browser, small):
    with opened(browser, small) as found:
        found.page.locator("#search").fill("nothing is called so")
        assert found.page.locator("#matches").inner_text() == "No node has this in its name"


def test_opening_and_folding(browser, large):
    with opened(browser, large) as found:
        page = found.page
        page.get_by_role("radio", name="Pieces").check()
        assert boxes(page) == page.locator("#graph-view .v:has(.back)").count() == 8
        page.locator("#graph-view .v").first.click()
        layers = boxes(page)
        assert layers == 7 + page.evaluate("page.data.groups.filter(g => g.parent === 0).length")
        page.locator("#unfold").click()
        assert boxes(page) > layers
        page.locator("#fold").click()
        assert boxes(page) == layers
        page.locator("#fold").click()
        assert boxes(page) == 8
        page.get_by_role("radio", name="Layers").check()
        assert boxes(page) == page.evaluate("new Set(page.data.nodes.group).size")
        page.get_by_role("radio", name="Nodes").check()
        assert boxes(page) == 1983


def test_two_thousand_nodes_render(browser, large, record_property):
    """Asserts no speed of this machine, only that nothing is quadratic: the figure is reported."""
    with opened(browser, large) as found:
        milliseconds = found.page.evaluate(
            """() => new Promise((done) => {
                const began = performance.now();
                graph.setLevel(2);
                requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
            })"""
        )
        assert boxes(found.page) == 1983
        record_property("milliseconds_for_1983_nodes", round(milliseconds))
        assert milliseconds < 60_000


def drawn(page):
    """Boxes as (label, x, y, width) and edges as (producer, consumer, column, column), all nodes shown."""
    return page.evaluate(
        """() => {
            graph.setLevel(2);
            const { vertices, edges, placed } = graph.state;
            const column = (k, end) => placed.paths[k].at(end).column;
            return [
                vertices.map((v, k) => [v.label, placed.x[k], placed.y[k], v.width]),
                edges.map(([u, v], k) => [u, v, column(k, 0), column(k, -1)]),
            ];
        }"""
    )


def test_no_two_boxes_overlap_and_edges_run_down(browser, large):
    with opened(browser, large) as found:
        boxes, edges = drawn(found.page)
    rows = {}
    for _, x, y, width in boxes:
        rows.setdefault(y, []).append((x - width / 2, x + width / 2))
    assert min(b - a for a, b in itertools.pairwise(sorted(rows))) > 34  # the height of a box
    for row in rows.values():
        assert all(right < left for (_, right), (left, _) in itertools.pairwise(sorted(row)))
    assert all(boxes[u][2] < boxes[v][2] for u, v, first, last in edges if first == last)
    assert all(first <= last for _, _, first, last in edges)


def test_backward_nodes_stand_beside_their_forward_nodes(browser, small):
    with opened(browser, small) as found:
        boxes, _ = drawn(found.page)
    at = {label: (x, y) for label, x, y, _ in boxes}
    for block in ("block3", "block20"):
        assert at[block][1] == at[f"{block}/backward"][1]
        assert at[block][0] < at[f"{block}/backward"][0]


def test_walking_with_the_keyboard(browser, small):
    with opened(browser, small) as found:
        page = found.page
        page.evaluate("graph.setLevel(2)")
        page.locator("#graph-view svg").focus()
        page.keyboard.press("ArrowDown")
        first = page.locator("#selection h3").inner_text()
        page.keyboard.press("ArrowDown")
        second = page.locator("#selection h3").inner_text()
        assert (first, second) == ("embed", "block0")
        page.keyboard.press("ArrowRight")
        assert page.locator("#selection h3").inner_text() == "block0/backward"
        before = page.evaluate("graph.state.scale")
        page.keyboard.press("+")
        assert page.evaluate("graph.state.scale") == pytest.approx(1.3 * before)
        page.keyboard.press("Backspace")
        assert page.locator("#selection h3").inner_text() == "gpu0 backward"
        page.keyboard.press("Enter")
        assert page.locator("#selection h3").inner_text() in ("block0/backward", "block6/backward")


def test_dragging_moves_the_view_and_selects_nothing(browser, small):
    with opened(browser, small) as found:
        page = found.page
        view = page.locator("#graph-view svg")
        view.scroll_into_view_if_needed()
        area = view.bounding_box()
        before = page.evaluate("[graph.state.x, graph.state.scale]")
        page.mouse.move(area["x"] + 300, area["y"] + 200)
        page.mouse.down()
        page.mouse.move(area["x"] + 400, area["y"] + 200, steps=4)
        page.mouse.up()
        assert page.evaluate("graph.state.x") == pytest.approx(before[0] - 100 / before[1], abs=1.5)
        assert page.locator(".v.selected").count() == 0


def test_hostile_names_are_text(browser, hostile):
    with opened(browser, hostile) as found:
        page = found.page
        for fold in page.locator("details.holds").all():
            fold.evaluate("d => { d.open = true }")
        assert page.evaluate("window.hacked") is None
        assert page.locator("script").count() == 2
        assert page.locator("main img").count() == 0
        assert page.locator("h1").inner_text() == HOSTILE[0]
        listed = [row.inner_text() for row in page.locator("#devices tbody th").all()]
        assert sorted(listed) == sorted(HOSTILE)
        for name in HOSTILE:
            page.locator("#search").fill(name)
            page.keyboard.press("Enter")
            assert page.locator("#selection h3").inner_text() == name
        assert page.evaluate("window.hacked") is None
        assert found.requests == [hostile.as_uri()]


@pytest.mark.parametrize(("which", "scheme"), [("small", "light"), ("small", "dark"), ("hostile", "light")])
def test_accessible(browser, request, which, scheme):
    """The rules of axe (WCAG 2.1 A and AA, contrast among them) find nothing."""
    with opened(browser, request.getfixturevalue(which), scheme) as found:
        for fold in found.page.locator("details").all():
            fold.evaluate("d => { d.open = true }")
        violations = Axe().run(found.page).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in violations] == []


def test_theme_button(browser, small):
    with opened(browser, small, "light") as found:
        page = found.page
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.locator("#theme").click()
        page.locator("#theme").click()
        assert page.locator("#theme").inner_text() == "Theme: dark"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_prints_dark_on_white_without_tools(browser, small):
    with opened(browser, small, "dark") as found:
        page = found.page
        page.locator("#theme").click()
        page.locator("#theme").click()
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.evaluate("getComputedStyle(document.querySelector('#loads h2')).color") == "rgb(0, 0, 0)"
        assert page.locator(".top, .tools, .search, #theme").filter(visible=True).count() == 0
        assert page.locator("#graph-view svg").is_visible()


def test_first_stop_of_the_tab_key_skips_to_the_content(browser, small):
    with opened(browser, small) as found:
        found.page.keyboard.press("Tab")
        assert found.page.evaluate("document.activeElement.textContent") == "Skip to the content"
        found.page.keyboard.press("Enter")
        assert found.page.evaluate("document.activeElement.id") == "main"


def test_narrow_window_scrolls_only_down(browser, small):
    with opened(browser, small, width=360) as found:
        assert found.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_lists_of_devices(browser, small):
    with opened(browser, small) as found:
        page = found.page
        page.locator("#devices summary").nth(3).click()
        rows = page.locator("#devices details").nth(3).locator("tbody tr")
        expect(rows).to_have_count(10)
        assert rows.first.inner_text().split() == [
            "block21",
            "block21",
            "forward",
            "1.542",
            "ms",
            "0.534",
            "ms",
            "448.2",
            "MiB",
        ]
