"""``placer report``: the file, the exit codes, one line per complaint."""

import json

import pytest

from placer.formats.files import load, save_result
from placer.solving.solve import solve
from tests.cli.test_cli import call, one_line
from tests.support.plans import DATA

INSTANCE = DATA / "textbook.json"


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "plan.json"
    save_result(solve(load(INSTANCE), method="milp"), path)
    return path


def test_writes_the_page_and_says_where(capsys, tmp_path, result):
    out = tmp_path / "plan.html"
    code, text, err = call(capsys, "report", result, "--instance", INSTANCE, "--out", out)
    assert (code, text, err) == (0, f"report: {out}\n", "")
    page = out.read_text()
    assert page.startswith("<!doctype html>")
    assert "✓ Verified." in page


def test_without_the_instance(capsys, tmp_path, result):
    out = tmp_path / "plan.html"
    assert call(capsys, "report", result, "--out", out)[0] == 0
    assert "! Not verified." in out.read_text()


def test_a_plan_that_does_not_hold(capsys, tmp_path, result):
    document = json.loads(result.read_text())
    document["objective"] = 1.0
    altered, out = tmp_path / "altered.json", tmp_path / "plan.html"
    altered.write_text(json.dumps(document))
    code, _, err = call(capsys, "report", altered, "--instance", INSTANCE, "--out", out)
    assert code == 1
    assert "the objective is 10.0 ms, not 1.0" in err
    assert "the objective is 10.0 ms, not 1.0" in out.read_text()


@pytest.mark.parametrize("missing", ["--out", "RESULT"])
def test_bad_usage(capsys, tmp_path, result, missing):
    arguments = ["report"] if missing == "RESULT" else ["report", result]
    code, _, err = call(capsys, *arguments)
    assert code == 2
    one_line(err)


def test_bad_input(capsys, tmp_path, result):
    out = tmp_path / "plan.html"
    for arguments in (
        ["report", INSTANCE, "--out", out],
        ["report", tmp_path / "none.json", "--out", out],
        ["report", result, "--instance", result, "--out", out],
        ["report", result, "--out", tmp_path / "no" / "such" / "folder.html"],
        ["report", tmp_path, "--out", out],
    ):
        code, _, err = call(capsys, *arguments)
        assert code == 2
        one_line(err)
    assert not out.exists()
