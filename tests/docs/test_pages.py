"""What README.md and docs/ say beside their commands is true."""

import json
import re

import pytest

from placer.cli.exit_codes import ExitCode
from placer.formats import documents, native
from placer.formats.text import validate
from placer.solving.solve import solve
from tests.docs.blocks import ROOT, blocks, pages

README = (ROOT / "README.md").read_text(encoding="utf-8")
PICTURE = re.compile(r"!\[[^]]+\]\(([^)]+)\)")


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md"])
def test_the_example_instance_is_planned(page):
    """``embed`` (1 ms) and ``head`` (2.5 ms) on a GPU each; 2 MB take 0.135 ms over the link."""
    (text,) = [block.text for block in blocks(page) if block.language == "json"]
    instance = native.to_instance(validate(documents.NativeInstance, json.loads(text)))
    result = solve(instance, method="milp")
    assert result.objective == pytest.approx(2.635)
    assert result.assignment == {"embed": "gpu0", "head": "gpu1"}


def test_the_loads_shown_are_those_of_the_objective_shown():
    (shown,) = re.findall(r"status optimal  objective (\S+) ms", README)
    loads = [float(x) for x in re.findall(r"^│ \w+\d+ +│ +([\d.]+)", README, re.MULTILINE)]
    assert max(loads) == pytest.approx(float(shown), abs=1e-4)


def test_all_exit_codes_are_listed():
    text = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    table = text.partition("| exit code |")[2].partition("\n\n")[0]
    listed = re.findall(r"^\| (\d+) \| ", table, re.MULTILINE)
    assert [int(code) for code in listed] == list(ExitCode)


def test_the_front_page_is_short():
    assert README.count("\n") <= 200


def test_pictures_are_there_and_small():
    total = 0
    for page in pages():
        for name in PICTURE.findall((ROOT / page).read_text(encoding="utf-8")):
            picture = (ROOT / page).parent / name
            assert picture.stat().st_size < 200_000, picture
            total += picture.stat().st_size
    assert 0 < total < 1_500_000
    assert PICTURE.findall(README) == ["data/report.png"]


@pytest.mark.parametrize("page", [page for page in pages() if page.endswith(".md")])
def test_links_lead_somewhere(page):
    """Without building the pages: for readers of the files themselves."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not link.startswith(("http:", "https:", "mailto:")):
            assert ((ROOT / page).parent / link).exists(), link
    for name in re.findall(r"\{src\}`([^`]+)`", text):
        assert (ROOT / name).is_file(), name
