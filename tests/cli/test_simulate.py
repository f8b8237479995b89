"""``placer simulate`` from the outside."""

import json
from pathlib import Path

import pytest

from placer.cli import main
from placer.formats.files import load, load_result, save_result
from placer.solving.solve import solve

DATA = Path(__file__).resolve().parents[2] / "data"
TRAINING = str(DATA / "gpt_training.json")
INFERENCE = str(DATA / "textbook.json")


@pytest.fixture(scope="module")
def plans(tmp_path_factory) -> dict[str, str]:
    """Results for the textbook (throughput and latency) and for training."""
    folder = tmp_path_factory.mktemp("plans")
    options = {
        "inference": (INFERENCE, {}),
        "latency": (INFERENCE, {"objective": "latency"}),
        "training": (TRAINING, {"schedule": "gpipe"}),
    }
    for name, (path, changes) in options.items():
        save_result(solve(load(path), method="dp", **changes), folder / name)
    return {name: str(folder / name) for name in options}


def test_a_table(plans, capsys):
    assert main(["simulate", INFERENCE, plans["inference"]]) == 0
    out, err = capsys.readouterr()
    assert "steady state 10 ms per sample  objective 10 ms" in out
    assert "100.0 %" in out
    assert "critical path: " in out
    assert err == ""


def test_a_latency_plan(plans, capsys):
    assert main(["simulate", INFERENCE, plans["latency"]]) == 0
    assert "one sample takes 21 ms  objective 21 ms" in capsys.readouterr().out


def test_json(plans, capsys):
    assert main(["simulate", TRAINING, plans["training"], "--microbatches", "6", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["predicted_ms"] == pytest.approx(document["steady_ms"], rel=1e-9)
    assert document["schedule"] == "gpipe"
    assert len(document["latency_ms"]) == document["samples"] == 6
    assert [d["in_flight"] for d in document["devices"]] == [6, 6, 6, 6, 0]
    assert sum(entry["ms"] for entry in document["critical_path"]) == pytest.approx(document["makespan_ms"])


def test_a_trace(plans, capsys, tmp_path):
    path = tmp_path / "trace.json"
    args = ["simulate", INFERENCE, plans["inference"], "--samples", "9", "--trace", str(path)]
    assert main([*args, "--trace-samples", "3"]) == 0
    events = json.loads(path.read_text())["traceEvents"]
    assert {e["args"]["sample"] for e in events if e["ph"] == "X"} == {0, 1, 2}


def test_a_split_in_the_papers_format(tmp_path, capsys):
    split = tmp_path / "split.json"
    nodes = list(load(INFERENCE).ids)
    split.write_text(json.dumps({"fpgas": [{"nodes": nodes[:4]}, {"nodes": nodes[4:]}]}))
    assert main(["simulate", INFERENCE, str(split)]) == 0
    assert "per sample\n" in capsys.readouterr().out


def test_a_contradiction(plans, capsys, tmp_path):
    result = load_result(plans["inference"])
    wrong = tmp_path / "wrong.json"
    save_result(result.model_copy(update={"objective": 9.5}), wrong)
    assert main(["simulate", INFERENCE, str(wrong)]) == 1
    assert "the objective is 9.5 ms, but the simulation takes 10.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("instance", "plan", "options", "message"),
    [
        (TRAINING, "inference", [], "is about another instance"),
        (INFERENCE, "inference", ["--microbatches", "3"], "microbatches apply to training"),
        (INFERENCE, "inference", ["--samples", "0"], "samples must be in 1..100000"),
        (INFERENCE, "inference", ["--trace-samples", "0"], "--trace-samples must be at least 1"),
        (INFERENCE, "latency", ["--samples", "3"], "single sample"),
        (INFERENCE, "inference", ["--trace", "/nowhere/trace.json"], "cannot be written"),
    ],
)
def test_what_does_not_fit(plans, capsys, instance, plan, options, message):
    assert main(["simulate", instance, plans[plan], *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_result_without_a_plan(capsys, tmp_path):
    path = str(DATA / "infeasible.json")
    nothing = tmp_path / "nothing.json"
    save_result(solve(load(path), method="dp"), nothing)
    assert main(["simulate", path, str(nothing)]) == 2
    assert "the result has no assignment" in capsys.readouterr().err
