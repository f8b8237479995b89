"""What the page of a plan says and hides, read from its text; how it looks is tested in a browser."""

import base64
import hashlib
import json
import re

import pytest

from placer.formats.files import load
from placer.pages.plan_page import plan_page
from placer.pages.verification import Trust, verdict
from placer.solving.solve import solve
from tests.pages.test_sentence import pair
from tests.support.graphs import transformer
from tests.support.plans import DATA, cut_evenly, result_of


def data_of(page: str) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def policy_of(page: str) -> str:
    return re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")


@pytest.fixture(scope="module")
def planned():
    """The textbook instance with its optimum, 10 ms (see data/README.md)."""
    instance = load(DATA / "textbook.json")
    return instance, solve(instance, method="milp")


def test_with_its_instance_a_plan_is_verified_and_complete(planned):
    instance, result = planned
    page = plan_page(result, instance)
    assert "✓ Verified." in page
    for title in ("loads", "memory", "timeline", "graph", "devices", "provenance"):
        assert f'<section class="card" id="{title}"' in page
    assert result.instance.sha256 in page
    assert result.digest in page
    data = data_of(page)
    edges = list(zip(data["edges"][::2], data["edges"][1::2], strict=True))
    names = data["nodes"]["name"]
    drawn = {(names[u], names[w]) for u, w in edges}
    assert drawn == {(instance.ids[u], instance.ids[w]) for u, w in instance.edges}
    assert all(u < w for u, w in edges)  # nodes are listed in topological order
    device = {v: data["devices"][d]["name"] for v, d in zip(names, data["nodes"]["device"], strict=True)}
    assert device == result.assignment


def test_without_its_instance_a_plan_is_not_called_verified(planned):
    _, result = planned
    page = plan_page(result)
    assert "! Not verified." in page
    assert "✓" not in page
    assert 'id="loads"' in page
    assert 'id="graph"' not in page
    assert data_of(page)["edges"] is None


@pytest.mark.parametrize("with_instance", [True, False])
def test_an_altered_document_is_not_drawn(planned, with_instance):
    instance, result = planned
    moved = {**result.assignment, "left1": "gpu1" if result.assignment["left1"] == "gpu0" else "gpu0"}
    page = plan_page(result.model_copy(update={"assignment": moved}), instance if with_instance else None)
    assert "does not hold" in page
    assert "the document was altered" in page
    assert 'id="loads"' not in page
    assert 'id="sentence"' not in page
    assert "Time per sample" not in page
    assert data_of(page) == {}


def test_a_sealed_plan_that_breaks_a_rule_is_not_drawn(planned):
    """Who alters a document can seal it anew: only the instance shows that it is wrong."""
    instance, result = planned
    everything = dict.fromkeys(result.assignment, "gpu0")
    forged = result.model_copy(update={"assignment": everything}).sealed()
    assert verdict(forged, None).trust is Trust.UNCHECKED
    page = plan_page(forged, instance)
    assert "does not hold" in page
    assert 'id="loads"' not in page


def test_a_plan_for_another_instance_is_not_drawn(planned):
    _, result = planned
    page = plan_page(result, load(DATA / "gpt_inference.json"))
    assert "the result is about another instance" in page
    assert 'id="graph"' not in page


def test_no_plan(planned):
    instance = load(DATA / "infeasible.json")
    page = plan_page(solve(instance), instance)
    assert "There is no plan: the 102 nodes" in page
    assert "Nothing to verify" in page
    assert 'id="loads"' not in page


def test_policy_names_exactly_what_the_document_carries(planned):
    """A policy whose hashes do not match would leave the page without style and script."""
    page = plan_page(planned[1], planned[0])
    policy = policy_of(page)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert " style=" not in page


def test_names_cannot_end_the_data(planned):
    """``<``, ``>``, ``&`` and all beyond ASCII are escaped; the names stay what they are."""
    instance, plan = pair()
    names = ("</script><!--", "a & b > c <d> 'e' \"f\" ü")
    instance = instance.replace(names=names)
    page = plan_page(result_of(instance, plan), instance)
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert not set("<>&'") & set(text)
    assert text.isascii()  # so there are no line separators, which old JavaScript took for line ends
    assert tuple(data_of(page)["nodes"]["name"]) == names


def test_the_graph_shows_short_names_that_are_told_apart():
    """Names as exporters give them; the full ones stay beside the short ones."""
    instance, plan = pair()
    assert data_of(plan_page(result_of(instance, plan), instance))["nodes"]["short"] is None
    names = tuple(f"/encoder/layer.{v}/attention/output/dense/MatMul" for v in range(2))
    instance = instance.replace(names=names)
    nodes = data_of(plan_page(result_of(instance, plan), instance))["nodes"]
    assert tuple(nodes["name"]) == names
    assert nodes["short"] == ["…0/…output/dense/MatMul", "…1/…output/dense/MatMul"]


def test_the_timeline_of_a_latency_plan_ends_with_the_objective():
    instance = load(DATA / "textbook.json")
    result = solve(instance, objective="latency", method="greedy")
    slices = data_of(plan_page(result, instance))["slices"]
    assert max(end for *_, end, _ in slices) == pytest.approx(result.objective)
    for device, report in enumerate(result.devices):
        for lane in ("compute", "receive", "send"):
            spent = sum(end - start for d, what, _, start, end, _ in slices if (d, what) == (device, lane))
            assert spent == pytest.approx(getattr(report, f"{lane}_ms"))


def test_the_timeline_of_a_pipeline_repeats_the_loads(planned):
    instance, result = planned
    page = plan_page(result, instance)
    found = data_of(page)["slices"]
    samples = 2 * 3 + 4
    assert f"A stream of {samples} samples" in page
    assert "A long stream takes 10.00 ms per sample, which is the objective." in page
    for device, report in enumerate(result.devices):
        spent = sum(end - start for d, _, _, start, end, _ in found if d == device)
        assert spent == pytest.approx(samples * report.load_ms)


def test_replicas_are_named_together_and_all_hold_their_stage():
    instance = load(DATA / "gpt_training.json")
    result = solve(instance, method="milp", replicas=2, max_devices=2)
    page = plan_page(result, instance)
    (group,) = result.replicas
    assert f"{', '.join(group)} run one stage together" in page
    assert ", which is the objective." in page
    devices = {d["name"]: d for d in data_of(page)["devices"]}
    first, second = (devices[name] for name in group)
    assert first["label"] == second["label"] == " + ".join(group)
    assert first["holds"] == second["holds"]
    assert all(d["label"] == name for name, d in devices.items() if name not in group)


def test_two_thousand_nodes_make_a_small_file():
    instance = transformer(60)
    assert len(plan_page(cut_evenly(instance), instance)) < 400_000
