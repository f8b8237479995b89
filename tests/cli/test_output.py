"""Standard output holds the result and nothing else, whatever libraries write to its descriptor."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import placer.cli
from placer.cli import main
from placer.stdout import native_output_dropped, native_output_to_stderr
from tests.support.noise import NOISE, make_noise, noisy

ROOT = Path(__file__).resolve().parents[2]
TEXTBOOK = str(ROOT / "data" / "textbook.json")
FAST = ("--method", "dp", "--quiet")
FACTORY = """
import torch
print("a model that says something")

def made():
    return torch.nn.Linear(4, 4), (torch.zeros(2, 4),)
"""
GRAPH = "node1 -- Linear -- forward_compute_time=1.0, backward_compute_time=2.0, activation_size=1.0, "


@pytest.fixture
def run(capfd, monkeypatch, tmp_path):
    """Run a noisy command in a folder with a result and a profile; return what stands on both descriptors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "graph.txt").write_text(GRAPH + "parameter_size=4.0\n")
    assert main(["solve", TEXTBOOK, "--out", "result.json", *FAST]) == 0
    capfd.readouterr()
    monkeypatch.setattr(placer.cli, "import_module", noisy)

    def run(*argv):
        try:
            code = main(list(argv))
        except SystemExit as ended:
            code = ended.code
        out, err = capfd.readouterr()
        assert code == 0, err
        assert err.count(NOISE) == 6
        assert NOISE not in out
        return out, err

    return run


@pytest.mark.parametrize(
    "argv",
    [
        ("solve", TEXTBOOK, "--json", *FAST),
        ("solve", TEXTBOOK, "--json", "--method", "milp", "--quiet"),
        ("sweep", TEXTBOOK, "--vary", "devices=1..2", "--json", *FAST),
        ("compare", TEXTBOOK, "--methods", "milp", "--json", "--quiet"),
        ("batch", TEXTBOOK, "--methods", "dp", "--out", "batch", "--json", "--quiet"),
        ("check", TEXTBOOK, "result.json", "--json"),
        ("simulate", TEXTBOOK, "result.json", "--json"),
        ("info", TEXTBOOK, "--json"),
        ("devices", "--json"),
        ("schema",),
        ("import", "pipedream", "graph.txt", "--devices", "v100:2"),
        ("import", "pipedream", "graph.txt", "--devices", "v100:2", "--out", "-"),
    ],
    ids=" ".join,
)
def test_a_document_stands_alone(run, argv):
    out, _ = run(*argv)
    assert isinstance(json.loads(out), dict | list)


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (("solve", TEXTBOOK, *FAST), "┏"),
        (("sweep", TEXTBOOK, "--vary", "devices=1..2", *FAST), "┏"),
        (("batch", TEXTBOOK, "--methods", "dp", "--out", "batch", "--quiet"), "dp"),
        (("simulate", TEXTBOOK, "result.json"), "┏"),
        (("devices",), "┏"),
        (("report", "result.json", "--instance", TEXTBOOK, "--out", "page.html"), "report: page.html"),
        (("import", "pipedream", "graph.txt", "--devices", "v100:2", "--out", "graph.json"), "graph.json: "),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_table_stands_alone(run, argv, part):
    out, _ = run(*argv)
    assert part in out


def test_a_model_may_print(run, tmp_path):
    pytest.importorskip("torch", reason="torch is not installed (extra 'torch')")
    (tmp_path / "model.py").write_text(FACTORY)
    out, err = run("import", "torch", "model.py:made", "--devices", "4xt4")
    assert json.loads(out)["format"] == "placer-instance"
    assert "a model that says something" in err


# -- as a program of its own, where sys.stdout is descriptor 1 ---------------------------------------


def program(*argv, **more):
    return subprocess.run(
        [sys.executable, "-m", "tests.support.noise", *map(str, argv)],
        **{"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more},
    )


def test_a_program_prints_its_result_alone():
    ended = program("solve", TEXTBOOK, "--method", "milp", "--json", "--quiet")
    assert json.loads(ended.stdout)["objective"] == pytest.approx(10)
    assert ended.stderr.count(NOISE) == 6


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_standard_output_by_name(name, tmp_path):
    result = tmp_path / "result.json"
    assert main(["solve", TEXTBOOK, "--out", str(result), *FAST]) == 0
    ended = program("export", result, "--to", "csv", "--out", name)
    assert ended.stdout.startswith("id,name,device,")
    assert NOISE not in ended.stdout
    with (tmp_path / "out").open("w") as file:
        assert program("export", result, "--to", "csv", "--out", name, stdout=file).returncode == 0
    assert (tmp_path / "out").read_text() == ended.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_is_said_once():
    with open("/dev/full", "w") as full:
        ended = program("info", TEXTBOOK, "--json", stdout=full)
    assert ended.returncode == 2
    said = [line for line in ended.stderr.splitlines() if NOISE not in line]
    assert said == ["placer: No space left on device"]


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2)])
def test_closed_streams_are_no_error(closed, tmp_path):
    redirections = " ".join(f"{descriptor}>&-" for descriptor in closed)
    out = tmp_path / "result.json"
    arguments = f"solve {TEXTBOOK} --method milp --json --quiet --out {out}"
    ended = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m placer {arguments} {redirections}"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0
    assert json.loads(out.read_text())["objective"] == pytest.approx(10)
    if 1 not in closed:
        assert json.loads(ended.stdout)["objective"] == pytest.approx(10)


# -- the library -------------------------------------------------------------------------------------

LIBRARY = """
import ctypes, highspy, os
from tests.support.noise import make_noise

class Loud(highspy.Highs):
    def __init__(self):
        make_noise()
        super().__init__()

highspy.Highs = Loud
import placer
instance = placer.load("data/textbook.json")
ctypes.CDLL(None).puts(b"mine, held back")
print(placer.solve(instance, method="milp").objective)
"""


def test_a_program_that_uses_the_library_keeps_its_standard_output():
    ended = subprocess.run(
        [sys.executable, "-c", LIBRARY], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "mine, held back\n10.0\n"
    assert ended.stderr == ""  # what a solver says of itself is of no use to anybody


def test_what_is_dropped_is_gone_and_nothing_else(capfd):
    with native_output_to_stderr(), native_output_dropped():
        make_noise()
    os.write(1, b"the result")
    out, err = capfd.readouterr()
    assert out == "the result"
    assert err == ""


def test_detours_overlap_in_threads(capfd):
    inside, leave = threading.Event(), threading.Event()

    def other():
        with native_output_to_stderr():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with native_output_to_stderr():
        thread.start()
        assert inside.wait(10)
    make_noise()  # the other one is still on its detour
    leave.set()
    thread.join()
    os.write(1, b"the result")
    out, err = capfd.readouterr()
    assert out == "the result"
    assert err.count(NOISE) == 3
