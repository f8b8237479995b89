"""The scripts of the gallery run and leave a picture; the tutorials are kept with what they print."""

import json
import runpy

import pytest

from tests.docs.blocks import ROOT
from tests.support.level import LEVEL, QUICK

SCRIPTS = sorted((ROOT / "docs" / "gallery").glob("plot_*.py"))
SLOW = {"plot_convergence", "plot_virtual_stages"}
"""They take several seconds."""


def test_there_are_ten():
    assert len(SCRIPTS) >= 10


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_leaves_a_picture(script, tmp_path, monkeypatch):
    if LEVEL == QUICK and script.stem in SLOW:
        pytest.skip("runs where everything is tested (PLACER_TEST_LEVEL=full)")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(script.parent)
    figure = runpy.run_path(str(script))["figure"]
    figure.savefig(tmp_path / "figure.png")
    pyplot.close("all")
    drawn = [artist for axes in figure.axes for artist in (*axes.lines, *axes.patches, *axes.collections)]
    assert drawn


@pytest.mark.parametrize(
    "notebook", sorted((ROOT / "docs" / "tutorials").glob("*.ipynb")), ids=lambda path: path.stem
)
def test_a_tutorial_is_kept_with_its_output(notebook):
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] == number for number, cell in enumerate(cells, 1))
    shown = [output for cell in cells for output in cell["outputs"]]
    assert not any(output["output_type"] == "error" for output in shown)
    assert any("image/png" in output.get("data", ()) for output in shown)
