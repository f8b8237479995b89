"""Layer profiles in PipeDream's format."""

import numpy as np
import pytest

from placer.errors import InputError
from placer.imports.api import import_pipedream
from placer.plans.check import check
from placer.solving.solve import solve
from tests.support.profiles import PROFILES, ROOT, needs_profiles


def line(node, what, forward, backward, activation, parameters, tail=""):
    return (
        f"{node} -- {what} -- forward_compute_time={forward}, backward_compute_time={backward}, "
        f"activation_size={activation}, parameter_size={parameters}{tail}\n"
    )


SMALL = (
    line("node2", "Linear(3, 5)", 1.5, 2.5, 80.0, 400.0, " -- stage_id=0")
    + line("node1", "Input0", 0, 0, 48.0, 0)
    + line("node3", "LSTM(5, 5)", 3, 4, "[20.0; 60.0]", 800.0)
    + line("node4", "Add()", 0.25, 0.5, 80.0, 0)
    + "\tnode1 -- node2\n\tnode2 -- node3\n\tnode3 -- node4\n\tnode2 -- node4\n"
)


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "graph.txt"
    path.write_text(SMALL)
    return path


def test_training_by_default(small):
    """Backward nodes mirror the forward ones; input has none; the list of activation sizes is added up."""
    instance = import_pipedream(small, cluster="v100:2", optimizer="momentum")
    at = instance.index
    assert instance.ids[:4] == ("node1", "node2", "node3", "node4")
    assert "node1/backward" not in at
    times = {v: instance.time_ms[at[v], 0] for v in instance.ids}
    assert times["node3"] == 3
    assert times["node3/backward"] == 4
    assert instance.output_bytes[at["node3"]] == 80
    assert instance.weight_bytes.tolist()[:4] == [0, 400, 800, 0]
    assert instance.activation_bytes[at["node2"]] == 80
    assert instance.training.optimizer == "momentum"
    edges = {(instance.ids[u], instance.ids[w]) for u, w in instance.edges}
    # the sum hands one gradient to both operands, the others pass theirs on
    assert ("node4/backward", "node3/backward") in edges
    assert ("node4/backward", "node2/backward") in edges
    assert ("node3/backward", "node2/backward") in edges
    assert ("node2", "node2/backward") in edges
    assert instance.output_bytes[at["node3/backward"]] == 80
    assert all(instance.colocate[at[v]] == instance.colocate[at[f"{v}/backward"]] for v in ("node2", "node4"))


def test_inference(small):
    instance = import_pipedream(small, cluster="v100:2", training=False)
    assert instance.n == 4
    assert not instance.is_training


def test_hosts_cannot_run_what_was_not_measured_there(small):
    instance = import_pipedream(small, cluster="v100:2,epyc-7763:1")
    host = instance.types.index("epyc-7763")
    assert np.isinf(instance.time_ms[:, host]).all()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "there are no nodes"),
        ("node1 -- Linear\n", "line 1: expected 'id -- description -- key=value"),
        (line("a", "x", 1, 1, 1, 1) * 2, "line 2: duplicate id 'a'"),
        (line("a", "x", 1, 1, 1, 1) + "\ta -- b\n", "line 2: there is no node 'b'"),
        (line("a", "x", 1, 1, 1, 1) + "\ta\n", "line 2: expected '<tab>source -- target'"),
        (line("a", "x", -1, 1, 1, 1), "line 1: forward_compute_time must be in"),
        (line("a", "x", "nan", 1, 1, 1), "line 1: forward_compute_time must be in"),
        (line("a", "x", 1, 1, "[1; x]", 1), "line 1: activation_size must be in 0..1e+18, got 'x'"),
        ("a -- x -- forward_compute_time=1\n", "line 1: backward_compute_time is missing"),
        (SMALL + "\tnode4 -- node2\n", "the graph has a cycle"),
    ],
)
def test_bad_files(tmp_path, text, rule):
    path = tmp_path / "graph.txt"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        import_pipedream(path, cluster="v100:2")
    assert rule in str(error.value)
    assert str(error.value).startswith(str(path))


@needs_profiles
@pytest.mark.workload
@pytest.mark.parametrize("name", PROFILES)
def test_published_profiles_plan(name):
    """Totals are those of the file, read a second way; a plan for four devices passes the check."""
    path = ROOT / f"{name}.graph.txt"
    instance = import_pipedream(path, cluster="v100-16gb:4", optimizer="sgd")
    rows = [text.split(" -- ")[2].split(", ") for text in path.read_text().splitlines() if text[0] != "\t"]
    fields = [dict(part.split("=") for part in row) for row in rows]
    total = sum(float(f["forward_compute_time"]) + float(f["backward_compute_time"]) for f in fields)
    assert instance.time_ms.sum() == pytest.approx(total)
    assert instance.weight_bytes.sum() == pytest.approx(sum(float(f["parameter_size"]) for f in fields))
    result = solve(instance, method="dpl", time_limit=20)
    assert result.objective is not None
    assert check(instance, result) == []
    assert sum(bool(device.nodes) for device in result.devices) > 1
