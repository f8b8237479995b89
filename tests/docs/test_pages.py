"""What README.md shows is true."""

import json
import re
from pathlib import Path

import pytest

from placer.cli.exit_codes import ExitCode
from placer.formats import documents, native
from placer.formats.files import load
from placer.formats.text import validate
from placer.solving.solve import solve

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()


def test_the_example_instance_is_planned():
    """``embed`` (1 ms) and ``head`` (2.5 ms) on a GPU each; 2 MB take 0.135 ms over the link."""
    (block,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    instance = native.to_instance(validate(documents.NativeInstance, json.loads(block)))
    result = solve(instance, method="milp")
    assert result.objective == pytest.approx(2.635)
    assert result.assignment == {"embed": "gpu0", "head": "gpu1"}


def test_the_result_shown_is_the_optimum():
    (shown,) = re.findall(r"status optimal  objective (\S+) ms", TEXT)
    result = solve(load(ROOT / "data" / "gpt_training.json"), method="milp")
    assert result.objective == pytest.approx(float(shown), rel=1e-9)
    loads = [float(x) for x in re.findall(r"^│ \w+\d+ +│ +([\d.]+)", TEXT, re.MULTILINE)]
    assert max(loads) == pytest.approx(result.objective, abs=1e-4)


def test_all_exit_codes_are_listed():
    table = TEXT.partition("| exit code |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| (\d+) \| ", table, re.MULTILINE)
    assert [int(code) for code in listed] == list(ExitCode)


def test_pictures_are_there_and_small():
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)
    assert pictures == ["data/report.png"]
    assert (ROOT / pictures[0]).read_bytes().startswith(b"\x89PNG")
    assert (ROOT / pictures[0]).stat().st_size < 200_000
