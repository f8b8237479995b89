"""The instances of the project: reproducible, valid, and what their README says."""

import json
import runpy
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from placer.formats import documents
from placer.formats.files import load
from placer.options import Communication, Options, Schedule
from placer.plans.check import check
from placer.plans.evaluate import device_loads
from placer.plans.infeasible import simple_cause
from placer.plans.plan import Plan
from placer.plans.verify import violations
from placer.solving.solve import solve
from placer.studies.axes import parse_axis, variant
from tests.support.brute import latency_optimum, throughput_optima

DATA = Path(__file__).resolve().parents[1] / "data"
INSTANCES = sorted(DATA.glob("*.json"))
INSTANCES = [path for path in INSTANCES if path.stem not in ("known", "instance.schema")]
EXPECTED = {
    "textbook",
    "gpt_inference",
    "gpt_training",
    "gpt_pipeline",
    "inception",
    "heterogeneous",
    "infeasible",
    "latency",
}
SCENARIOS = {"mixed_server", "geo", "edge_cloud", "four_servers"}
IMPORTED = {"resnet50": "onnx", "densenet_training": "onnx", "bert_training": "torch", "gpt2": "torch"}
"""Real models and the package that each needs."""
EXPECTED |= SCENARIOS | IMPORTED.keys()


def test_all_are_there_and_described():
    assert {path.stem for path in INSTANCES} == EXPECTED
    text = (DATA / "README.md").read_text()
    assert [name for name in EXPECTED if f"`{name}`" not in text] == []


@pytest.mark.parametrize("path", INSTANCES, ids=lambda path: path.stem)
def test_they_load_and_follow_the_schema(path):
    instance = load(path)
    assert instance.name == path.stem
    jsonschema.Draft202012Validator(documents.schema()).validate(json.loads(path.read_text()))


@pytest.mark.slow
def test_the_script_reproduces_them(tmp_path, monkeypatch):
    """Byte for byte; the imported ones where the package is there that each needs."""
    monkeypatch.chdir(DATA.parent)
    shutil.copy(DATA / "make.py", tmp_path)
    runpy.run_path(str(tmp_path / "make.py"), run_name="__main__")
    for path in INSTANCES:
        if path.stem not in SCENARIOS and _can_be_made(IMPORTED.get(path.stem)):
            assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def _can_be_made(package: str | None) -> bool:
    """Whether the package is there, of torch the release that the files were made with (names follow it)."""
    if package != "torch":
        return package is None or find_spec(package) is not None
    if find_spec("torch") is None or find_spec("transformers") is None:
        return False
    import torch

    return torch.__version__.startswith("2.13.")


def test_the_script_reproduces_the_scenarios(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "make", raising=False)
    for script in ("make.py", "scenarios.py"):
        shutil.copy(DATA / script, tmp_path)
    runpy.run_path(str(tmp_path / "scenarios.py"), run_name="__main__")
    monkeypatch.delitem(sys.modules, "make")
    for name in SCENARIOS:
        assert (tmp_path / f"{name}.json").read_bytes() == (DATA / f"{name}.json").read_bytes(), name


def test_what_they_are():
    assert load(DATA / "gpt_training.json").is_training
    assert not load(DATA / "gpt_inference.json").is_training
    assert len(load(DATA / "heterogeneous.json").classes) == 3
    inception = load(DATA / "inception.json")
    # every module's input is read by three convolutions and a pooling
    assert max(len(s) for s in inception.successors) == 4


def test_the_infeasible_one_says_why():
    assert simple_cause(load(DATA / "infeasible.json")) is not None
    others = [path for path in INSTANCES if path.stem != "infeasible"]
    assert [path.stem for path in others if simple_cause(load(path)) is not None] == []


def test_textbook_by_hand():
    """The plan in README.md has the loads given there, and no plan is better."""
    instance = load(DATA / "textbook.json")
    place = {"load": 0, "left1": 0, "left2": 0, "right1": 1, "right2": 1, "join": 2}
    plan = Plan(np.array([place[v] for v in instance.ids]))
    assert violations(instance, plan, Options()) == []
    loads = device_loads(instance, plan.device)
    assert loads.load_ms(Communication.SEQUENTIAL).tolist() == [10, 9, 8]
    assert loads.objective_ms(Communication.SEQUENTIAL, Schedule.ONE_F_ONE_B) == 10
    assert throughput_optima(instance)["ordered", "1f1b", "sequential"] == 10


def test_the_committed_schema_is_current():
    """``placer schema > data/instance.schema.json`` after every change of the format."""
    assert json.loads((DATA / "instance.schema.json").read_text()) == documents.schema()


KNOWN = json.loads((DATA / "known.json").read_text())["known"]
BRACKETS = [record for record in KNOWN if "optimum" not in record]
THROUGHPUT = [r for r in KNOWN if "objective" not in r["options"] and r not in BRACKETS]
LATENCY = [record for record in KNOWN if record["instance"] == "textbook" and record not in THROUGHPUT]


def title(record) -> str:
    return "-".join([record["instance"], *map(str, record["options"].values())])


def takes_long(record) -> bool:
    """Whether proving the optimum is left to the full run; each of these has a quicker relative."""
    name, communication = record["instance"], record["options"].get("communication")
    return name in ("inception", "four_servers") or (
        name == "heterogeneous" and communication != "sequential"
    )


@pytest.mark.parametrize(
    "record",
    [pytest.param(r, marks=[pytest.mark.slow] * takes_long(r), id=title(r)) for r in THROUGHPUT],
)
def test_known_optima_are_found_again(record):
    """Within the gap asked for, and never a bound above a proven optimum or a plan below it."""
    instance, optimum = load(DATA / f"{record['instance']}.json"), record["optimum"]
    quick = record["options"].get("contiguous", True) and record["instance"] != "inception"
    gap = 1e-4 if quick else 0.05  # the others take long to the last digits
    method = "dp" if record["instance"] in IMPORTED else "milp"
    method = "auto" if record["instance"] in SCENARIOS else method
    result = solve(instance, method=method, gap=gap, **record["options"])
    assert result.status == "optimal"
    assert optimum * (1 - 1e-6) <= result.objective <= optimum * (1 + gap) / (1 - gap)
    assert result.bound <= optimum * (1 + 1e-9)
    assert check(instance, result) == []


@pytest.mark.parametrize("record", BRACKETS, ids=title)
def test_known_brackets_are_met(record):
    """The nested program alone is as good as the plan known, and no bound is above it."""
    instance = load(DATA / f"{record['instance']}.json")
    result = solve(instance, method="dpl", **record["options"])
    assert record["bound"] <= result.objective <= record["best"] * (1 + 1e-9)
    assert result.bound <= record["best"]
    assert check(instance, result) == []


@pytest.mark.parametrize("slower", [1, 2, 4, 8, 16, 32])
def test_the_cut_moves_to_the_edge_as_the_uplink_slows_down(slower):
    """On two devices every cut can be tried: what is before it computes, and sends, at the edge."""
    text = json.loads((DATA / "edge_cloud.json").read_text())
    bandwidth = 32e6 / slower
    best = sum(v["time_ms"]["nano"] for v in text["nodes"])
    for cut in range(1, len(text["nodes"])):
        before = text["nodes"][:cut]
        sent = 0.01 + 1e3 * before[-1]["output_bytes"] / bandwidth
        best = min(best, sum(v["time_ms"]["nano"] for v in before) + sent)
    instance = variant(load(DATA / "edge_cloud.json"), [(parse_axis("bandwidth:edge=1"), bandwidth)])
    assert solve(instance).objective == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("record", LATENCY, ids=title)
def test_known_latency_by_brute_force(record):
    instance = load(DATA / "textbook.json")
    assert latency_optimum(instance, record["options"]["pieces"]) == record["optimum"]


@pytest.mark.parametrize("name", sorted(EXPECTED - {"infeasible"}))
def test_every_solvable_instance_has_a_known_optimum(name):
    assert name in {record["instance"] for record in KNOWN}
