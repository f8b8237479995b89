"""DOT, GraphML, CSV and the paper's format, each read back by its own tool."""

import csv
import math
import shutil
import subprocess

import networkx as nx
import pytest

from placer.errors import UsageError
from placer.exports.api import export
from placer.formats.files import load_split
from placer.instance.instance import Instance
from placer.instance.origin import Origin
from placer.solving.solve import solve
from tests.support.plans import gpus, planned
from tests.support.random_instances import random_instance

AWKWARD = [
    '=cmd|"calc"!A1',
    "+1",
    "-2",
    "@SUM(A1)",
    'quote"and\\slash',
    "comma, <b>&amp;</b>",
    "\ufffe",
    "größe\\n",
]
"""Ids that spreadsheets, Graphviz or XML would read as something else."""


@pytest.fixture
def awkward():
    n = len(AWKWARD)
    return Instance.build(
        name='a "name"',
        ids=AWKWARD,
        types=["gpu", "cpu"],
        time_ms=[[1.0 + i, math.inf] for i in range(n)],
        transfer_ms=[0.5] * n,
        memory_bytes=[100] * n,
        edges=[(i, i + 1) for i in range(n - 1)],
        classes=gpus(2),
        origin=[Origin(op="Conv", module="m", flops=2.0)] + [None] * (n - 1),
    )


@pytest.fixture
def result(awkward):
    return planned(awkward, ["gpu0"] * 5 + ["gpu1"] * 3)


def test_csv(tmp_path, awkward, result):
    export(result, "csv", tmp_path / "plan.csv", instance=awkward)
    with (tmp_path / "plan.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["device"] for row in rows] == ["gpu0"] * 5 + ["gpu1"] * 3
    assert [row["part"] for row in rows] == ["0"] * 5 + ["1"] * 3
    assert [row["id"] for row in rows] == ["'" + name for name in AWKWARD[:4]] + AWKWARD[4:]
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]
    assert (
        sum(float(row["time_ms"]) for row in rows if row["device"] == "gpu0") == result.devices[0].compute_ms
    )
    assert (rows[0]["op"], rows[0]["module"], rows[0]["flops"], rows[1]["op"]) == ("Conv", "m", "2.0", "")


def test_graphml(tmp_path, awkward, result):
    export(result, "graphml", tmp_path / "plan.graphml", instance=awkward)
    graph = nx.read_graphml(tmp_path / "plan.graphml")
    names = [name.replace("\ufffe", "\ufffd") for name in AWKWARD]
    assert list(graph.nodes) == names
    assert graph.nodes[names[0]]["device"] == "gpu0"
    assert graph.nodes[names[0]]["time_ms"] == 1.0
    assert graph.nodes[names[0]]["backward"] is False
    assert "piece" not in graph.nodes[names[0]]
    assert [data["crosses"] for _, _, data in graph.edges(data=True)] == [False] * 4 + [True] + [False] * 2


def test_ids_that_xml_cannot_tell_apart_are_refused(tmp_path):
    instance = Instance.build(
        ids=["a\ufffe", "a\uffff"], types=["gpu"], time_ms=[1, 1], edges=[], classes=gpus(1)
    )
    with pytest.raises(UsageError, match="characters that XML does not allow"):
        export(planned(instance, ["gpu0"] * 2), "graphml", tmp_path / "g", instance=instance)


def test_dot_is_read_by_pydot(tmp_path, awkward, result):
    pydot = pytest.importorskip("pydot", reason="pydot is not installed")
    export(result, "dot", tmp_path / "plan.dot", instance=awkward)
    (graph,) = pydot.graph_from_dot_file(tmp_path / "plan.dot", encoding="utf-8")
    first, second = graph.get_subgraphs()
    assert first.get_label() == '"gpu0: 15.5 ms"'
    assert [len(part.get_nodes()) for part in (first, second)] == [6, 4]  # one is the default for nodes
    labels = [
        node.get_label() for part in (first, second) for node in part.get_nodes() if node.get_name()[0] == "n"
    ]
    labels = [label[1:-1].replace('\\"', '"').replace("\\\\", "\\") for label in labels if label]
    assert labels == AWKWARD
    edges = [(e.get_source(), e.get_destination(), e.get_color()) for e in graph.get_edges()]
    assert edges == [(f"n{i}", f"n{i + 1}", "red" if i == 4 else None) for i in range(7)]


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_dot_is_drawn_by_graphviz(tmp_path, awkward, result):
    export(result, "dot", tmp_path / "plan.dot", instance=awkward)
    svg = subprocess.run(
        ["dot", "-Tsvg", tmp_path / "plan.dot"], capture_output=True, check=True, text=True
    ).stdout
    assert svg.count('class="node"') == len(AWKWARD)


def test_devices_that_share_a_stage(tmp_path, awkward):
    """gpu1 and gpu2 take turns; the paper's format has no word for that."""
    instance = awkward.replace(classes=gpus(3))
    result = planned(instance, ["gpu0"] * 5 + ["gpu1"] * 3, shared=[("gpu1", "gpu2")], replicas=2)
    export(result, "csv", tmp_path / "plan.csv", instance=instance)
    with (tmp_path / "plan.csv").open(newline="", encoding="utf-8") as file:
        assert [row["device"] for row in csv.DictReader(file)] == ["gpu0"] * 5 + ["gpu1+gpu2"] * 3
    with pytest.raises(UsageError, match=r"paper-json cannot express this plan: gpu1\+gpu2 share a stage"):
        export(result, "paper-json", tmp_path / "split.json", instance=instance)


@pytest.mark.parametrize("training", [False, True])
def test_the_papers_format_comes_back(tmp_path, training):
    """Method ``expert`` reads it and arrives at the same objective and assignment."""
    found = 0
    for seed in range(10):
        instance = random_instance(seed, training=training)
        result = solve(instance, method="milp", contiguous=False)
        if result.assignment is None:
            continue
        found += 1
        path = tmp_path / f"{seed}.json"
        export(result, "paper-json", path, instance=instance)
        again = solve(instance, method="expert", split=str(path), contiguous=False)
        assert again.assignment == result.assignment
        assert again.objective == pytest.approx(result.objective, rel=1e-12)
    assert found >= 5


def test_the_papers_format_for_latency(tmp_path, awkward):
    result = planned(awkward, ["gpu0"] * 5 + ["gpu1"] * 3, [0] * 8)
    export(result, "paper-json", tmp_path / "split.json", instance=awkward)
    assert load_split(tmp_path / "split.json", awkward, pieces=True).piece.tolist() == [0] * 8
    result = planned(awkward, ["gpu0"] * 3 + ["gpu1"] * 2 + ["gpu0"] * 3, [0] * 5 + [1] * 3, pieces=2)
    with pytest.raises(UsageError, match="several pieces"):
        export(result, "paper-json", tmp_path / "two.json", instance=awkward)
    assert not (tmp_path / "two.json").exists()
