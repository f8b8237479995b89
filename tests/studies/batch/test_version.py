"""The version of the solver in a job's identity: all that takes part in a solve, and nothing else."""

import shutil

import networkx as nx
import pytest

from placer.methods.registry import METHODS
from placer.studies.batch import version
from placer.studies.batch.version import ROOT, SOLVER, code_version
from tests.test_structure import imports

READS = {"placer/formats", "placer/imports", "placer/language", "placer/catalogue", "placer/measuring"}
"""Makes instances, whose content is part of the identity itself."""
SHOWS = {"placer/cli", "placer/exports", "placer/pages", "placer/simulation", "placer/plot.py"}
SERVES = {"placer/serving", "placer/layered_flow"}
"""Answers another question than a job asks."""
RUNS = {"placer/studies", "placer/signals.py", "placer/stdout.py", "placer/__main__.py", "placer/__init__.py"}
WORDS = {
    "placer/arrays.py",  # names of types
    "placer/units.py",  # limits of what is read, and texts
    "placer/choices.py",
    "placer/errors.py",
    "placer/notebook.py",
}


def parts():
    """Folders of the package with sources, and modules directly in it."""
    found = {p.relative_to(ROOT).as_posix() for p in (ROOT / "placer").glob("*.py")}
    folders = {p.relative_to(ROOT).parts[:2] for p in (ROOT / "placer").rglob("*/*.py")}
    return found | {"/".join(names) for names in folders} | {"placer/catalogue", "formulations"}


def test_every_folder_takes_part_or_is_known_not_to():
    assert set(SOLVER) | READS | SHOWS | SERVES | RUNS | WORDS == parts()
    assert not set(SOLVER) & (READS | SHOWS | SERVES | RUNS | WORDS)


def test_all_that_a_solve_imports_takes_part():
    graph = nx.DiGraph((a, b) for a, b in imports() if a != "placer")
    roots = {"placer.solving.solve", *(n for n in graph if n.startswith("placer.methods."))}
    reached = roots.union(*(nx.descendants(graph, root) for root in roots))
    assert len(METHODS) < len(reached)
    missed = {
        name
        for name in reached
        if not f"{name.replace('.', '/')}.py".startswith(SOLVER) and not name.startswith("placer.formats")
    }
    assert {f"{name.replace('.', '/')}.py" for name in missed} <= WORDS | RUNS


@pytest.mark.parametrize(
    ("edited", "matters"),
    [
        ("placer/pages/html_document.py", False),
        ("placer/cli/solve.py", False),
        ("placer/exports/dot.py", False),
        ("placer/imports/costs.py", False),
        ("placer/simulation/engine.py", False),
        ("placer/studies/batch/version.py", False),
        ("placer/tolerances.py", True),
        ("placer/methods/downsets/dp.py", True),
        ("placer/methods/downsets/kernels/pieces.py", True),
        ("formulations/throughput/ordered.py", True),
        ("placer/instance/data.py", True),
    ],
)
def test_an_edit_changes_the_version_where_it_matters(tmp_path, monkeypatch, edited, matters):
    skipped = shutil.ignore_patterns("__pycache__")
    for package in ("placer", "formulations"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=skipped)
    monkeypatch.setattr(version, "ROOT", tmp_path)
    assert code_version.__wrapped__() == code_version()
    with (tmp_path / edited).open("a") as file:
        file.write("# edited\n")
    assert (code_version.__wrapped__() != code_version()) is matters
