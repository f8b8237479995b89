"""The same instance, seed and threads give the same plan, whatever the clock and the hash seed do."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import placer.search.run
from placer.methods import auto
from placer.methods.registry import load_method
from placer.options import Objective, Options
from placer.plans.status import Stop
from placer.search.run import Outcome, Run
from tests.support.graphs import parallel_branches

DATA = Path(__file__).resolve().parents[1] / "data"
HARD = parallel_branches(9, 8, 5, transfer=2.0)
"""No method is done with it at once: 74 nodes, ten billion downsets."""
CASES = {
    "milp": ({}, Stop.WORK_LIMIT),
    "dp": ({}, Stop.WORK_LIMIT),
    "dpl": ({}, Stop.FINISHED),
    "local-search": ({}, Stop.WORK_LIMIT),
    "milp, two threads": ({"threads": 2}, Stop.WORK_LIMIT),
    "milp, free": ({"contiguous": False}, Stop.WORK_LIMIT),
    "colgen, free": ({"contiguous": False}, Stop.WORK_LIMIT),
    "local-search, free": ({"contiguous": False}, Stop.WORK_LIMIT),
    "colgen, duplex": ({"contiguous": False, "communication": "duplex"}, Stop.WORK_LIMIT),
    "milp, latency": ({"objective": "latency"}, Stop.WORK_LIMIT),
    "dp, latency": ({"objective": "latency", "pieces": 2}, Stop.MEMORY_LIMIT),
}
"""Options, and why the method stops when it is given little work."""


class Clock:
    """A clock that runs ``speed`` times too fast, and by jumps: like a machine that is busy elsewhere."""

    perf_counter_of_the_machine = staticmethod(time.perf_counter)

    def __init__(self, speed: float, seed: int) -> None:
        self.speed = speed
        self.rng = np.random.default_rng(seed)
        self.jumps = 0.0

    def perf_counter(self) -> float:
        self.jumps += float(self.rng.exponential(0.01)) * self.speed
        return self.speed * self.perf_counter_of_the_machine() + self.jumps


@pytest.fixture
def twice(monkeypatch):
    """Runs the same under a clock that hardly moves and under one that runs fifty times too fast."""

    def run(work_limit, case, **changes):
        outcomes = []
        for seed, speed in enumerate((1e-3, 50.0)):
            monkeypatch.setattr(placer.search.run, "time", Clock(speed, seed))
            method = case.partition(",")[0]
            chosen, _ = CASES.get(case, ({}, None))
            options = Options(**{"gap": 0.0, **chosen, **changes, "method": method})
            outcomes.append(load_method(method, options.objective)(HARD, options, Run(work_limit=work_limit)))
        return outcomes

    return run


def assert_equal(a: Outcome, b: Outcome) -> None:
    assert a.stop is b.stop
    assert a.bound_ms == b.bound_ms
    assert a.plan.device.tolist() == b.plan.device.tolist()
    if a.plan.piece is not None:
        assert a.plan.piece.tolist() == b.plan.piece.tolist()


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[pytest.mark.slow] * c.startswith("milp")) for c in CASES]
)
def test_a_method_cut_by_its_work_does_the_same_under_any_clock(twice, case):
    work_s = 0.02 if case.startswith("local-search") else 0.1  # it is done with all its descents after more
    first, second = twice(work_s, case)
    assert_equal(first, second)
    assert first.stop is CASES[case][1]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param({"contiguous": False}, marks=pytest.mark.slow),
        pytest.param({"objective": "latency", "pieces": 2}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_phases_of_auto_are_cut_alike_under_any_clock(twice, monkeypatch, changes):
    phases = auto.phases

    def short(instance, options):
        return [auto.Phase(p.method, p.share, 0.2, p.narrower) for p in phases(instance, options)]

    monkeypatch.setattr(auto, "phases", short)
    first, second = twice(None, "auto", **changes)
    assert_equal(first, second)
    assert first.message == second.message
    assert first.stop is Stop.WORK_LIMIT


@pytest.mark.parametrize("limit", [0.2, pytest.param(1.0, marks=pytest.mark.slow)])
def test_more_work_is_done_where_more_is_allowed(limit):
    run = Run(work_limit=limit)
    load_method("colgen", Objective.THROUGHPUT)(HARD, Options(contiguous=False, gap=0.0), run)
    assert limit <= run.work_s < limit + 1.0


@pytest.mark.parametrize(
    "arguments",
    [
        ["heterogeneous.json", "--method", "auto", "--no-contiguous"],
        *(
            pytest.param(arguments, marks=pytest.mark.slow)
            for arguments in (
                ["latency.json", "--objective", "latency", "--pieces", "2", "--method", "dp"],
                ["gpt_training.json", "--schedule", "gpipe", "--no-contiguous", "--method", "colgen"],
            )
        ),
    ],
    ids=lambda a: a[0],
)
def test_hash_seed_decides_nothing(arguments):
    results = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "placer", "solve", str(DATA / arguments[0]), *arguments[1:], "--json"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        result = json.loads(done.stdout)
        results.append({k: result[k] for k in ("status", "objective", "bound", "assignment", "pieces")})
    assert results[0] == results[1]
