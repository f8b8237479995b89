"""The comparison of kernels measures what was solved, and leaves out what was not."""

from pathlib import Path

import pytest

from tests.benchmarks.kernels import measure

DATA = Path(__file__).resolve().parents[2] / "data"


def test_what_is_solved_is_measured():
    measured = measure(str(DATA / "textbook.json"), {"method": "dp"}, 10.0)
    assert 0 < measured["seconds"] < 10
    assert measured["mb"] > 10
    assert measured["result"][:2] == pytest.approx((10.0, 10.0))


def test_what_is_not_done_at_the_limit_has_no_time(monkeypatch):
    monkeypatch.setattr("tests.benchmarks.kernels.COMPILING_S", 0.0)
    measured = measure(str(DATA / "gpt_training.json"), {"method": "local-search", "seed": 1}, 0.01)
    assert measured["seconds"] is None
