"""The repetition of the paper's experiments, on a small graph in a folder laid out like the authors'."""

import json

import pytest

from tests.benchmarks import paper
from tests.support.level import LEVEL, QUICK

LAYERS = (2.0, 3.0, 4.0, 1.0)
"""On two accelerators, with 0.5 to send or receive: 5 and 5 is the best cut, 5.5 with its transfer."""


@pytest.fixture
def folder(tmp_path):
    nodes = [
        {
            "id": v,
            "supportedOnFpga": 1,
            "fpgaLatency": time,
            "cpuLatency": 10 * time,
            "isBackwardNode": 0,
            "size": 1.0,
        }
        for v, time in enumerate(LAYERS)
    ]
    edges = [{"sourceId": v, "destId": v + 1, "cost": 0.5} for v in range(len(LAYERS) - 1)]
    instance = {"maxSizePerFPGA": 10.0, "maxFPGAs": 2, "maxCPUs": 1, "nodes": nodes, "edges": edges}
    place = tmp_path / "throughput-inputs" / "LayerGraphs"
    place.mkdir(parents=True)
    (place / "tiny_inference.json").write_text(json.dumps(instance))
    return tmp_path


def test_what_there_is_to_run(folder):
    (workload,) = paper.workloads(folder)
    assert (workload.kind, workload.name, workload.training) == ("throughput", "layer tiny inference", False)
    titles = [run.title for run in paper.columns(workload, authors=False)]
    assert "dp" in titles
    assert "paper's program, non-contiguous" in titles
    assert "expert" not in titles  # there is no split of a human expert


@pytest.mark.skipif(LEVEL == QUICK, reason="ten processes: runs where everything is tested")
def test_tables_agree_and_nothing_runs_twice(folder, capsys):
    paper.main([str(folder), "--limit", "5", "--out", str(folder / "out")])
    shown = capsys.readouterr().out
    log = folder / "out" / "results.jsonl"
    rows = {row["run"]: row for row in map(json.loads, log.read_text().splitlines())}
    assert rows["dp"]["objective"] == pytest.approx(5.5)
    assert rows["paper's program"]["objective"] == pytest.approx(5.5)
    assert rows["one device"]["objective"] == pytest.approx(sum(LAYERS))
    assert "| layer tiny inference | 5.5;" in shown
    assert shown == (folder / "out" / "paper.md").read_text()
    before = log.read_text()
    paper.main([str(folder), "--limit", "5", "--out", str(folder / "out")])
    assert log.read_text() == before
