"""The table of rows, on what takes no time."""

import sys

import pytest

from tests.benchmarks import rows


def test_a_row_is_solved_and_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["rows", "--only", "5 equal nodes"])
    assert rows.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "4.1 ms, proven" in lines[-1]


def test_graphs_of_rows_that_are_made_here_are_there() -> None:
    assert all(rows.subject(name) is not None for name in (rows.BERT, rows.RESNET, rows.INCEPTION))
