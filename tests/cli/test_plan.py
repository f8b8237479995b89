"""``placer plan train`` from the outside: table, files, going on, and what is refused."""

import csv
import json

import pytest

import placer
from placer.cli import main
from placer.plans.check import check
from placer.studies.training import explore

CONFIG = {
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "vocab_size": 4000,
    "hidden_size": 512,
    "intermediate_size": 1400,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
}


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "small.json"
    path.write_text(json.dumps(CONFIG))
    return str(path)


def asked(model, *more):
    return [
        "plan",
        "train",
        model,
        "--devices",
        "2x4xa100@ethernet-100g",
        "--global-batch",
        "16",
        "--virtual-stages",
        "1",
        *more,
    ]


def test_the_folder_holds_a_plan_that_checks(model, tmp_path, capsys):
    out = tmp_path / "plan"
    assert main(asked(model, "--sequence", "256", "--out", str(out), "--quiet")) == 0
    printed = capsys.readouterr().out
    assert "small on 2x4xa100@ethernet-100g" in printed
    assert "no choice is faster than" in printed
    document = json.loads((out / "training.json").read_text())
    assert document["bound_ms"] <= document["step_ms"] * (1 + 1e-9)
    assert document["simulated_ms"] == pytest.approx(document["step_ms"], rel=1e-9)
    best = document["tried"][0]
    assert best["samples_per_s"] == pytest.approx(16e3 / best["step_ms"])
    assert best["microbatches"] * best["replicas"] * best["microbatch"] == 16
    instance = placer.load(out / "instance.json")
    result = json.loads((out / "plan.json").read_text())
    assert main(["check", str(out / "instance.json"), str(out / "plan.json")]) == 0
    assert result["objective"] + best["once_ms"] == pytest.approx(best["step_ms"], rel=1e-12)
    assert instance.training.microbatches == best["microbatches"]
    rows = list(csv.DictReader((out / "choices.csv").read_text().splitlines()))
    assert len(rows) == document["considered"]
    steps = [float(row["step_ms"]) for row in rows if row["step_ms"]]
    assert steps == sorted(steps)


@pytest.mark.parametrize("more", [(), ("--zero", "2", "--replicas", "4"), ("--optimizer", "adam")])
def test_what_comes_once_per_step_is_checked(model, tmp_path, capsys, more):
    out = tmp_path / "plan"
    few = ["--shards", "1", "--max-microbatch", "1", "--runners-up", "0", "--quiet"]
    assert main(asked(model, "--out", str(out), "--sequence", "256", *few, *more)) == 0
    files = ["check", str(out / "instance.json"), str(out / "training.json")]
    capsys.readouterr()
    assert main(files) == 0
    assert "once per step" in capsys.readouterr().out
    document = json.loads((out / "training.json").read_text())
    document["tried"][0]["once_ms"] *= 1.001
    (out / "training.json").write_text(json.dumps(document))
    assert main(files) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "once_ms is" in line
    document["tried"][0] |= {"once_ms": document["tried"][0]["once_ms"] / 1.001, "zero": 3}
    (out / "training.json").write_text(json.dumps(document))
    assert main(files) == 1
    assert "zero of the best choice is" in capsys.readouterr().err


def test_the_same_command_goes_on(model, tmp_path, monkeypatch, capsys):
    out, solved = tmp_path / "plan", []
    solve = explore._solved

    def watched(instance, options, work, interrupt):
        solved.append(instance.name)
        if len(solved) == 3:
            interrupt.set()  # as Ctrl-C does
        return solve(instance, options, work, interrupt)

    monkeypatch.setattr(explore, "_solved", watched)
    assert main(asked(model, "--out", str(out), "--json", "--quiet")) == 130
    half = json.loads(capsys.readouterr().out)
    assert half["stopped"] == "interrupted"
    assert half["step_ms"] is not None
    instance, result = placer.load(out / "instance.json"), placer.formats.files.load_result(out / "plan.json")
    assert check(instance, result) == []
    first = list(solved[:2])  # the third was stopped
    assert main(asked(model, "--out", str(out), "--json", "--quiet")) == 0
    whole = json.loads(capsys.readouterr().out)
    assert not set(first) & set(solved[3:])
    monkeypatch.undo()
    assert main(asked(model, "--json", "--quiet")) == 0
    at_once = json.loads(capsys.readouterr().out)
    for key in ("step_ms", "bound_ms", "considered"):
        assert whole[key] == pytest.approx(at_once[key], rel=1e-12)
    assert whole["step_ms"] <= half["step_ms"]


def test_what_is_refused(model, tmp_path, capsys):
    def refused(*arguments):
        assert main([*arguments, "--quiet"]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    assert "--global-batch must be greater than or equal to 1" in refused(
        "plan", "train", model, "--devices", "2xa100", "--global-batch", "0"
    )
    assert "3 shards: the model and the servers allow 1, 2, 4" in refused(*asked(model, "--shards", "3"))
    assert "--time-limit must be more than 0" in refused(*asked(model, "--time-limit", "0"))
    assert "no such file" in refused(*asked(str(tmp_path / "none.json"))).lower()
    hosts = ["plan", "train", model, "--devices", "epyc-7763:1", "--global-batch", "2"]
    assert "no accelerators" in refused(*hosts)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    assert "there are other files" in refused(*asked(model, "--out", str(tmp_path / "full")))
    out = tmp_path / "plan"
    assert main(asked(model, "--out", str(out), "--quiet", "--runners-up", "0")) == 0
    capsys.readouterr()
    assert "another search" in refused(*asked(model, "--out", str(out), "--max-microbatch", "2"))


def test_no_room_is_said(model, capsys):
    few = ["plan", "train", model, "--devices", "2xa100", "--global-batch", "2", "--quiet"]
    assert main([*few, "--reserve", "0.9995"]) == 2
    assert "has no room" in capsys.readouterr().err
    assert main([*few, "--reserve", "0.997"]) == 3
    assert "weights and optimizer state do not fit" in capsys.readouterr().err
