"""``placer flow``: table, JSON, files, exit codes."""

import json
import os
import signal

import pytest

from placer.cli import main
from placer.cli.exit_codes import ExitCode
from placer.cli.progress import Live
from tests.support.flows import complete, document


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(document(2, {"a": [90.0, 50.0], "b": [60.0, 30.0]}, complete("ab", 70.0))))
    return str(path)


def test_the_table_shows_ranges_flows_and_the_bound(file, capsys):
    assert main(["flow", file]) == ExitCode.DONE
    out = capsys.readouterr().out
    assert "0–1" in out
    assert "status optimal  80 tokens/s  bound 80" in out


def test_json_alone(file, capsys):
    assert main(["flow", file, "--json"]) == ExitCode.DONE
    written = json.loads(capsys.readouterr().out)
    assert written["status"] == "optimal"
    assert written["tokens_per_s"] == pytest.approx(80.0)
    assert written["ranges"] == {"a": [0, 2], "b": [0, 2]}
    assert sum(f["tokens_per_s"] for f in written["flows"] if f["from"] == "source") == pytest.approx(80.0)


def test_plans_are_kept_and_checked(file, tmp_path, capsys):
    plan = tmp_path / "plan.json"
    assert main(["flow", file, "--out", str(plan), "--quiet"]) == ExitCode.DONE
    capsys.readouterr()
    assert main(["flow", file, "--check", str(plan)]) == ExitCode.DONE
    assert "verified: ranges, flows" in capsys.readouterr().out
    written = json.loads(plan.read_text())
    plan.write_text(json.dumps(written | {"tokens_per_s": 85.0}))
    assert main(["flow", file, "--check", str(plan), "--json"]) == ExitCode.DOES_NOT_HOLD
    captured = capsys.readouterr()
    assert json.loads(captured.out)["holds"] is False
    assert "the ranges pass 80.0 tokens/s, not 85.0" in captured.err


def test_no_plan(tmp_path, capsys):
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(document(3, {"a": [9.0]}, complete("a", 7.0))))
    assert main(["flow", str(path), "--json"]) == ExitCode.INFEASIBLE
    captured = capsys.readouterr()
    assert json.loads(captured.out)["tokens_per_s"] is None
    assert "placer: infeasible: the devices between source and sink hold at most 1 layers" in captured.err
    assert main(["flow", str(path)]) == ExitCode.INFEASIBLE
    told = capsys.readouterr().out
    assert "status infeasible" in told
    assert "stopped" not in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--gap", "-1"], "gap must be at least 0"), (["--out", "FILE"], "not overwritten: that is the input")],
)
def test_bad_use(file, arguments, said, capsys):
    arguments = [file if part == "FILE" else part for part in arguments]
    assert main(["flow", file, *arguments]) == ExitCode.BAD_INPUT
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_interrupted_the_best_plan_is_kept(tmp_path, monkeypatch, capsys):
    """Fourteen unequal devices; the signal comes with the first plan."""

    def show(self, seconds, line):
        if "best" in line:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Live, "show", show)
    rates = {f"d{i}": [(900 - 37 * i) / k**1.1 for k in range(1, 9)] for i in range(14)}
    file, plan = tmp_path / "flow.json", tmp_path / "plan.json"
    file.write_text(json.dumps(document(40, rates, complete(rates, 1e4))))
    assert main(["flow", str(file), "--gap", "0", "--out", str(plan)]) == ExitCode.INTERRUPTED
    assert "stopped: interrupted" in capsys.readouterr().out
    assert json.loads(plan.read_text())["tokens_per_s"] > 0
