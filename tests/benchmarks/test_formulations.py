"""The benchmark of the formulations: what it runs, how it resumes, and how it sums up."""

import sys

import pytest

import placer
from tests.benchmarks import formulations
from tests.benchmarks.measure import measure
from tests.support.random_instances import random_instance

DATA = formulations.DATA


def row(program: str, instance: str, at_1pct: str, at_001pct: str, gap: str) -> dict[str, str]:
    return {
        "instance": instance, "sha256": "", "variant": "contiguous", "program": program, "limit_s": "100",
        "threads": "1", "seconds_1pct": at_1pct, "seconds_001pct": at_001pct, "cpu_s": "", "objective": "",
        "bound": "", "gap": gap,
    }  # fmt: skip


ROWS = [
    row("paper", "a", "8", "", "0.05"),
    row("ours", "a", "2", "25", "1e-5"),
    row("paper", "b", "", "", ""),
    row("ours", "b", "0.001", "1", "0"),
    row("paper", "c", "1", "1", "0"),  # its partner is missing
]


def test_table_and_mean_speed_up():
    text = formulations.table(ROWS)
    assert "| contiguous | a | 8.00 | > 100 | 5.00 % | 2.00 | 25.00 | 0.00 % |" in text
    assert "| contiguous | b | > 100 | > 100 | no plan or bound | 0.00 | 1.00 | 0.00 % |" in text
    assert "| c |" not in text
    # sqrt(4 * 100 / 0.01) and sqrt(100 / 25 * 100 / 1)
    assert "2 instances, geometric mean of the speed-up 200.0 to 1 %, 20.0 to 0.01 %" in text


def test_runs_what_is_missing_and_resumes(monkeypatch, tmp_path, capsys):
    asked: list[tuple[str, str, str]] = []

    def solve(path, variant, program, limit, threads):
        asked.append((path.stem, variant, program))
        return {"seconds_1pct": 2.0 if program == "paper" else 0.5, "seconds_001pct": None, "gap": 0.01}

    monkeypatch.setattr(formulations, "_solve", solve)
    command = ["formulations", str(DATA / "gpt_inference.json"), "--limit", "7", "--out", str(tmp_path)]
    command += ["--variants", "contiguous,contiguous gpipe"]
    monkeypatch.setattr(sys, "argv", command)
    formulations.main()
    # Inference has one pass only, so gpipe does not apply; the first run compiles the kernels.
    assert asked == [
        ("textbook", "contiguous", "ours"),
        ("gpt_inference", "contiguous", "paper"),
        ("gpt_inference", "contiguous", "ours"),
    ]
    assert (
        "geometric mean of the speed-up 4.0 to 1 %, 1.0 to 0.01 % (limit 7 CPU s)" in capsys.readouterr().out
    )
    formulations.main()
    assert len(asked) == 3
    assert (tmp_path / "formulations.md").read_text() == formulations.table(
        formulations.read(tmp_path / "formulations.csv")
    )


@pytest.mark.parametrize("folder", ["data", "throughput", "latency"])
def test_variants_that_make_sense(folder):
    def variants(training: bool) -> list[str]:
        instance = random_instance(3, training=training)
        return [v for v in formulations.VARIANTS if formulations.applicable(instance, folder, v)]

    inference = ["contiguous", "non-contiguous"] if folder != "latency" else []
    assert variants(training=False) == inference + (["latency"] if folder != "throughput" else [])
    assert variants(training=True) == ([] if folder == "latency" else list(formulations.VARIANTS)[:4])


@pytest.mark.parametrize("program", formulations.PROGRAMS)
def test_a_measured_solve_ends_at_the_optimum(program):
    instance = placer.load(DATA / "textbook.json")
    found = measure(instance, "contiguous", program, 60.0, 1)
    assert found["objective"] == pytest.approx(10.0)  # data/known.json
    assert found["gap"] <= 1e-4
    assert 0 < found["seconds_1pct"] <= found["seconds_001pct"] <= found["cpu_s"]
