"""``placer export``: where the instance is found, what is refused, and that nothing half-written stays."""

import csv
import json
import shutil

import pytest

import placer
from placer.errors import UsageError
from placer.exports import FORMATS
from placer.formats.files import load_result
from tests.cli.test_cli import call, one_line

CHAIN = {
    "format": "placer-instance",
    "version": 1,
    "name": "chain",
    "nodes": [{"id": name, "time_ms": {"gpu": 1.0}, "transfer_ms": 0.1} for name in "abcd"],
    "edges": [["a", "b"], ["b", "c"], ["c", "d"]],
    "cluster": {"classes": [{"name": "gpu", "type": "gpu", "count": 2}]},
}


@pytest.fixture
def plan(capsys, tmp_path):
    """A result in a folder of its own, and the instance in another."""
    (tmp_path / "graphs").mkdir()
    (tmp_path / "plans").mkdir()
    instance, result = tmp_path / "graphs" / "chain.json", tmp_path / "plans" / "plan.json"
    instance.write_text(json.dumps(CHAIN))
    assert call(capsys, "solve", instance, "--method", "milp", "--out", result, "--quiet")[0] == 0
    return instance, result


def test_the_result_remembers_its_instance(capsys, plan, tmp_path, monkeypatch):
    _, result = plan
    assert load_result(result).instance.file == "../graphs/chain.json"
    out = tmp_path / "plan.csv"
    monkeypatch.chdir(tmp_path / "graphs")
    assert call(capsys, "export", result, "--to", "csv", "--out", out) == (0, "", "")
    with out.open(newline="") as file:
        assert [row["device"] for row in csv.DictReader(file)] == ["gpu0", "gpu0", "gpu1", "gpu1"]
    moved = tmp_path / "moved"
    shutil.move(tmp_path / "graphs", moved / "graphs")
    shutil.move(tmp_path / "plans", moved / "plans")
    assert call(capsys, "export", moved / "plans" / "plan.json", "--to", "csv", "--out", out)[0] == 0
    assert call(capsys, "check", moved / "graphs" / "chain.json", moved / "plans" / "plan.json")[0] == 0


def test_the_instance_can_be_named(capsys, plan, tmp_path):
    instance, result = plan
    other = instance.rename(tmp_path / "elsewhere.json")
    code, _, err = call(capsys, "export", result, "--to", "dot", "--out", tmp_path / "x.dot")
    assert code == 2
    assert "no longer at" in one_line(err)
    assert "--instance" in err
    assert (
        call(capsys, "export", result, "--to", "dot", "--out", tmp_path / "x.dot", "--instance", other)[0]
        == 0
    )
    printed = json.loads(result.read_text())
    del printed["instance"]["file"]
    result.write_text(json.dumps(printed))
    code, _, err = call(capsys, "export", result, "--to", "dot", "--out", tmp_path / "y.dot")
    assert code == 2
    assert "does not say where its instance 'chain' is" in one_line(err)
    assert (
        call(capsys, "export", result, "--to", "dot", "--out", tmp_path / "y.dot", "--instance", other)[0]
        == 0
    )
    assert (tmp_path / "x.dot").read_text() == (tmp_path / "y.dot").read_text()


def test_what_does_not_hold_is_not_exported(capsys, plan, tmp_path):
    instance, result = plan
    out = tmp_path / "out.csv"
    document = json.loads(result.read_text())
    document["assignment"]["d"] = "gpu0"
    altered = result.with_name("altered.json")
    altered.write_text(json.dumps(document))
    code, _, err = call(capsys, "export", altered, "--to", "csv", "--out", out)
    assert code == 2
    assert "the result does not hold: the document was altered" in one_line(err)
    instance.write_text(json.dumps({**CHAIN, "edges": CHAIN["edges"][:2]}))
    code, _, err = call(capsys, "export", result, "--to", "csv", "--out", out)
    assert code == 2
    assert "the result is about another instance" in one_line(err)
    assert not out.exists()


def test_a_result_without_a_plan_is_not_exported(capsys, tmp_path):
    tight = {**CHAIN, "nodes": [{**node, "memory_bytes": 9} for node in CHAIN["nodes"]]}
    tight["cluster"] = {"classes": [{"name": "gpu", "type": "gpu", "count": 2, "memory_limit_bytes": 1}]}
    (tmp_path / "tight.json").write_text(json.dumps(tight))
    result = tmp_path / "r.json"
    assert call(capsys, "solve", tmp_path / "tight.json", "--out", result)[0] == 3
    code, _, err = call(capsys, "export", result, "--to", "csv", "--out", tmp_path / "o")
    assert code == 2
    assert "there is no plan to export" in one_line(err)


def test_refusals_leave_earlier_files_alone(capsys, plan, tmp_path):
    out = tmp_path / "map.json"
    out.write_text("earlier")
    code, _, err = call(capsys, "export", plan[1], "--to", "device-map", "--out", out)
    assert code == 2
    assert "placer import torch" in one_line(err)
    assert out.read_text() == "earlier"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["graphs", "map.json", "plans"]


def test_bad_usage(capsys, plan, tmp_path):
    for arguments, said in (
        (["--to", "svg", "--out", "x"], "invalid value 'svg' (did you mean 'csv'?)"),
        (["--to", "csv"], "--out"),
        (["--to", "onnx", "--out", tmp_path / "x"], "needs the model: --model MODEL.onnx"),
        (["--to", "csv", "--out", tmp_path], "it is a directory"),
        (["--to", "csv", "--out", tmp_path / "absent" / "x"], "cannot be written"),
    ):
        code, _, err = call(capsys, "export", plan[1], *arguments)
        assert code == 2
        assert said in one_line(err)
    code, _, err = call(capsys, "export", plan[0], "--to", "csv", "--out", tmp_path / "x")
    assert code == 2
    assert "this is an instance" in one_line(err)


def test_out_may_be_a_device(capsys, plan):
    assert call(capsys, "export", plan[1], "--to", "csv", "--out", "/dev/null")[0] == 0


def test_python(plan, tmp_path):
    instance, result = plan
    assert placer.export(result, "csv", tmp_path / "a.csv") == []
    solved = placer.solve(placer.load(instance), method="milp")
    placer.export(solved, "csv", tmp_path / "b.csv", instance=placer.load(instance))
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    with pytest.raises(UsageError, match=r"there is no format 'svg' .*; choose from device-map"):
        placer.export(solved, "svg", tmp_path / "c", instance=instance)
    with pytest.raises(UsageError, match="does not say where its instance"):
        placer.export(solved, "csv", tmp_path / "c")


def test_help_lists_all_formats(capsys):
    code, out, _ = call(capsys, "export", "--help")
    assert code == 0
    assert all(name in out for name in FORMATS)
    assert "placer export plan.json --to onnx-parts --model model.onnx" in out
