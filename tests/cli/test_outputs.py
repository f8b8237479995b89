"""No command writes over what it reads, whatever the file is called, and an empty name is refused at once."""

import json
import os

import pytest

from tests.cli.test_cli import call, one_line
from tests.formats.test_bad_input import NATIVE, changed
from tests.support.methods import registered


@pytest.fixture(autouse=True)
def _methods():
    with registered():
        yield


@pytest.fixture
def files(tmp_path, monkeypatch, capsys):
    """A chain and a plan of it, in the folder where the commands run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chain.json").write_text(
        json.dumps(changed(NATIVE, ("nodes/2/backward", False), ("nodes/2/colocate", None)))
    )
    code, _, err = call(capsys, "solve", "chain.json", "--method", "proves", "--out", "plan.json", "--quiet")
    assert code == 0, err
    return tmp_path


SOLVE = ["solve", "chain.json", "--method", "proves"]
WRITING = {
    "solve": [*SOLVE, "--out", "chain.json"],
    "the plan to start from": [*SOLVE, "--start", "plan.json", "--out", "plan.json"],
    "the plan to keep": [*SOLVE, "--keep", "plan.json", "--out", "plan.json"],
    "the plan to stay near": [*SOLVE, "--near", "plan.json", "--out", "plan.json"],
    "the split": [*SOLVE, "--split", "plan.json", "--out", "plan.json"],
    "compare": ["compare", "chain.json", "--methods", "proves", "--out", "chain.json"],
    "sweep": ["sweep", "chain.json", "--vary", "memory=x1", "--out", "chain.json"],
    "report": ["report", "plan.json", "--out", "plan.json"],
    "report and instance": ["report", "plan.json", "--instance", "chain.json", "--out", "chain.json"],
    "simulate": ["simulate", "chain.json", "plan.json", "--trace", "plan.json"],
    "simulate and instance": ["simulate", "chain.json", "plan.json", "--trace", "chain.json"],
    "export": ["export", "plan.json", "--to", "dot", "--out", "plan.json"],
    "export and instance": ["export", "plan.json", "--to", "dot", "--out", "chain.json"],
    "import": ["import", "pipedream", "chain.json", "--devices", "4xt4", "--out", "chain.json"],
    "import and factory": ["import", "torch", "chain.json:f", "--devices", "4xt4", "--out", "chain.json"],
    "profile": ["profile", "onnx", "chain.json", "--out", "chain.json"],
}


@pytest.mark.parametrize("arguments", WRITING.values(), ids=WRITING)
def test_an_input_is_never_overwritten(files, capsys, arguments):
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert "not overwritten" in one_line(err)
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before


@pytest.mark.parametrize("name", ["symbolic.json", "hard.json", "./chain.json", "folder/../chain.json"])
def test_nor_under_another_name(files, capsys, name):
    (files / "folder").mkdir()
    (files / "symbolic.json").symlink_to("chain.json")
    os.link(files / "chain.json", files / "hard.json")
    for out in (name, str(files / name)):
        code, _, err = call(capsys, *SOLVE, "--out", out)
        assert (code, "that is the input 'chain.json'" in one_line(err)) == (2, True)


def test_nor_as_a_point_of_a_sweep(files, capsys):
    points = files / "points"
    sweep = ["sweep", "--vary", "memory=x1", "--method", "proves", "--results", "points"]
    assert call(capsys, *sweep, "chain.json")[0] == 0
    assert call(capsys, *sweep, "chain.json")[0] == 0, "an earlier sweep may be replaced"
    code, _, err = call(capsys, *sweep, points / "point-000.instance.json")
    assert (code, "not overwritten" in one_line(err)) == (2, True)


def test_nor_what_a_batch_keeps(files, capsys):
    night = files / "night"
    (night / "results").mkdir(parents=True)
    for name in ("manifest.json", "results/a.json", "page.html"):
        (night / name).write_text("{}")
    for name, refused in (("manifest.json", True), ("results/a.json", True), ("page.html", False)):
        _, _, err = call(capsys, "report", night, "--out", night / name)
        assert ("belongs to the input" in err) == refused, name


@pytest.mark.parametrize("option", ["--out", "--trace", "--results"])
def test_an_empty_name_is_refused_before_anything_is_read(capsys, option):
    commands = {
        "--out": (
            ["solve", "x"],
            ["compare", "x"],
            ["sweep", "x", "--vary", "memory=x1"],
            ["report", "x"],
            ["export", "x", "--to", "dot"],
            ["import", "onnx", "x", "--devices", "4xt4"],
            ["profile", "onnx", "x"],
            ["batch", "x"],
        ),
        "--trace": (["simulate", "x", "y"],),
        "--results": (["sweep", "x", "--vary", "memory=x1"],),
    }
    for command in commands[option]:
        code, out, err = call(capsys, *command, option, "")
        assert (code, out) == (2, "")
        assert f"argument {option}: the name is empty" in one_line(err)
