"""The benchmark of proofs: its set is fixed, each case has a plan, and methods do not contradict another."""

import os
import sys
from importlib.util import find_spec
from math import inf

import numpy as np
import pytest

import placer
from placer.instance.fingerprint import fingerprint
from tests.benchmarks.proofs import __main__ as command
from tests.benchmarks.proofs import cp_sat, cp_sat_process, report
from tests.benchmarks.proofs.authors import authors_table
from tests.benchmarks.proofs.cases import GENERATED, HALVES, LARGE, QUICK, cases, half_of, subjects
from tests.benchmarks.proofs.families import SHAPES
from tests.benchmarks.proofs.graph import Graph
from tests.support import level

SUBJECTS = {subject.name: subject for subject in subjects()}
MADE = [name for name in SUBJECTS if name.split()[0] in GENERATED]
ROUNDING = 1e-9


def test_the_set_is_large_and_split_for_ever():
    large = [subject for subject in SUBJECTS.values() if subject.half == LARGE]
    assert len({tuple(subject.options.values()) for subject in large}) == 2 * 3
    assert len(MADE) >= 120 - 18  # and models that are read
    assert all(0.4 < sum(half_of(n) == h for n in MADE) / len(MADE) < 0.6 for h in HALVES)
    assert half_of("chain 20x3") == "validation"
    assert half_of("chain 60x5") == "tuning"
    chosen = {case.name for case in cases("tuning")}
    assert not chosen & {case.name for case in cases("validation")}
    assert "chain 60x5 training, latency" not in chosen


def test_names_alone_decide_instances():
    for name in ("branches 5x8", "transformer layer 12x8x1024 training", "nasnet 4x32"):
        assert fingerprint(SUBJECTS[name].instance()) == fingerprint(SUBJECTS[name].instance())
    assert len({fingerprint(SUBJECTS[name].instance()) for name in QUICK}) == len(QUICK)


@pytest.mark.parametrize("name", MADE[:: len(MADE) // level.count(len(MADE))])
def test_every_graph_has_a_pipeline(name):
    """Memory is never below what one order of the nodes needs."""
    instance = SUBJECTS[name].instance()
    options = (
        {"method": "dpl", "schedule": SUBJECTS[name].options["schedule"]} if instance.is_training else {}
    )
    if instance.n <= 130:
        result = placer.solve(instance, **{"method": "dpl", **options})
        assert result.assignment is not None, result.message
    assert all(instance.order_edges[:, 0] < instance.order_edges[:, 1])
    assert sum(not d.is_host for d in instance.devices) in range(2, 65)


@pytest.mark.parametrize("family", SHAPES)
def test_shapes_are_in_topological_order(family):
    for size in GENERATED[family]:
        shape = SHAPES[family](np.random.default_rng(5), *size)
        assert all(u < v for v, reads in enumerate(shape) for u in reads)


def test_merged_operators_send_what_others_read():
    graph = Graph()
    a = graph.add("x/a", [], 1.0, weights=3.0, output=5.0, other=2.0)
    b = graph.add("x/b", [a], 3.0, weights=1.0, output=7.0)
    graph.add("y/c", [b], 2.0, output=11.0)
    x, y = graph.coarsened(1).operators
    assert (x.name, x.time_ms, x.weight_bytes, x.output_bytes, x.other) == ("x", 4.0, 4.0, 7.0, 1.25)
    assert (y.name, y.reads, y.output_bytes) == ("y", (0,), 0.0)
    assert graph.coarsened(9).operators[:2] == graph.operators[:2]


def run(folder, *arguments):
    command.main(["--out", str(folder), "--limit", "2", *arguments])
    return list(command.read(folder / "results.jsonl"))


def test_methods_do_not_contradict_each_other(tmp_path):
    rows = run(tmp_path, "--quick", "--kind", "contiguous", "--method", "auto,dp,milp,metis")
    rows = run(tmp_path, "--quick", "--kind", "non-contiguous", "--only", "u-net 3x2,")
    count = len(rows)
    assert count == 4 * len(QUICK) + 1
    for name in {row["case"].split(",")[0] for row in rows}:
        members = [row for row in rows if row["case"].split(",")[0] == name]
        best = min(
            row["objective"] for row in members if row["kind"] == "contiguous" and row.get("objective")
        )
        assert max(row.get("bound") or 0.0 for row in members) <= best * (1 + ROUNDING)
        proven = [row["objective"] for row in members if row.get("seconds_001pct") is not None]
        assert len(proven) >= 3, "these graphs take no time"
        assert all(value <= best * (1 + 1.01e-4) for value in proven)
    assert len(run(tmp_path, "--quick", "--kind", "contiguous", "--method", "auto,dp,milp,metis")) == count
    assert (tmp_path / "table.md").read_text().count("| contiguous | tuning |") >= 3
    assert (tmp_path / "profiles.svg").read_text().startswith("<svg")


def test_settings_side_by_side(tmp_path):
    arguments = ("--only", "chain 20x3, contiguous", "--method", "auto")
    run(tmp_path, *arguments)
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"case": "cut')
    rows = run(tmp_path, *arguments, "--constant", "placer.methods.auto:LARGE=0", "--label", "large")
    assert [row["method"] for row in rows] == ["auto", "auto large"]
    assert ["dpl" in row["message"] for row in rows] == [True, False]
    with pytest.raises(SystemExit):
        run(tmp_path, *arguments, "--constant", "placer.methods.auto:NOTHING=0")


HEAD = {"kind": "contiguous", "half": "tuning", "method": "dp", "limit_s": 60.0}
FOUND = {"status": "optimal", "objective": 1, "seconds_1pct": 1.0, "seconds_001pct": 3.0}
ROWS = [
    {**HEAD, **FOUND, "case": "a", "curve": [[1, 0.01], [3, 0.0]]},
    {**HEAD, **FOUND, "case": "b", "seconds_001pct": None, "curve": [[2, 0.2], [70, 0.01]]},
    {**HEAD, "case": "c", "status": "ended", "message": "killed"},
    {**HEAD, "case": "d", "status": "infeasible", "cpu_s": 2.0},
    {**HEAD, "case": "e", "status": "not applicable"},
]


def test_figures_by_hand():
    assert [report.gap_at(row, 60.0) for row in ROWS[:4]] == [0.0, 0.2, inf, 0.0]
    assert report.profile(ROWS[:4], "seconds_001pct") == [(2.0, 0.25), (3.0, 0.5)]
    text = report.table(ROWS)
    assert "| contiguous | tuning | dp | 60 | 4 | 75.0 % | 50.0 % | 75.0 % | 0.00 % | none |" in text
    assert text.rstrip().endswith("| 3.00 | 100.0 % | 1.0000 |")
    faster = {
        **ROWS[0],
        "method": "milp",
        "seconds_001pct": 1.4,
        "objective": 4,
    }  # a is proven in 3 s, d is refuted in 2 s
    slower, other = report.table([*ROWS, faster]).splitlines()[2:]
    assert slower.endswith("| 50.0 % | 1.0000 |")
    assert other.endswith("| 100.0 % | 4.0000 |")


def test_times_of_the_authors_stand_beside_those_of_the_shared_workloads():
    row = {**HEAD, **FOUND, "case": "shared layer gnmt inference, contiguous"}
    text = authors_table([*ROWS, row, {**row, "case": "shared layer inceptionv3 inference, contiguous"}])
    assert "| layer gnmt inference | dp | 9.6 | 3.00 |" in text
    assert "| layer inceptionv3 inference | dp | more than 841 | 3.00 |" in text
    assert authors_table(ROWS) == ""


def test_whole_numbers_of_cp_sat_keep_every_point():
    """A row with whole coefficients holds, but for its slack, wherever the row holds."""
    rng = np.random.default_rng(3)
    task = {"lower": [0.0] * 3, "upper": [inf, 1.0, 1.0], "integer": [False, True, True]}
    for _ in range(50):
        times = rng.uniform(0, 9, 2)
        (t, a, b), scale, slack = cp_sat_process.scaled([(0, -1.0), (1, times[0]), (2, times[1])], task)
        x, y = rng.integers(0, 2, 2)
        load = np.ceil((times[0] * x + times[1] * y) * cp_sat_process.FINE)
        assert t[1] * load + a[1] * x + b[1] * y <= slack
        assert t[1] * cp_sat_process.FINE == -scale
        assert slack < 1e-4 * scale


def test_cp_sat_says_what_is_missing(monkeypatch, tmp_path):
    nothing = tmp_path / "python"
    nothing.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    nothing.chmod(0o755)
    monkeypatch.setenv(cp_sat.PYTHON, str(nothing))
    (row,) = run(tmp_path, "--only", "diamonds 20x3, contiguous", "--method", "cp-sat")
    assert row["status"] == "not applicable"
    assert "ortools" in row["message"]


def test_cp_sat_agrees(tmp_path):
    if find_spec("ortools") is None and cp_sat.PYTHON not in os.environ:
        pytest.skip(f"ortools is not installed, and {cp_sat.PYTHON} is not set")
    arguments = ("--only", "diamonds 20x3, contiguous", "--method", "cp-sat,milp")
    theirs, ours = run(tmp_path, *arguments)
    assert theirs["bound"] <= ours["objective"] * (1 + ROUNDING)
    assert ours["bound"] <= theirs["objective"] * (1 + ROUNDING)
    assert max(theirs["gap"], ours["gap"]) <= 1e-4
