"""All code that README.md and docs/ show runs."""

import importlib.util

import pytest

from tests.docs.blocks import RUN, SHOWN, blocks, pages
from tests.docs.run import prepare, run
from tests.support.level import LEVEL, QUICK


@pytest.mark.parametrize("page", pages())
def test_every_block_runs_or_says_why_not(page):
    for block in blocks(page):
        assert block.language in RUN or block.language.startswith(SHOWN), block.where


@pytest.mark.parametrize("page", [page for page in pages() if any(block.runs for block in blocks(page))])
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names = {"__name__": "__page__"}
    run_here = [block for block in blocks(page) if block.runs and not (block.full and LEVEL == QUICK)]
    if not run_here:
        pytest.skip("runs where everything is tested (PLACER_TEST_LEVEL=full)")
    for block in run_here:
        missing = [name for name in block.needs if importlib.util.find_spec(name) is None]
        if missing:
            pytest.skip(f"{block.where} needs {', '.join(missing)}")
        run(block, tmp_path, names)
