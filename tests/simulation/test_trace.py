"""The trace is what the format asks for, and tells the same story as the simulation."""

import itertools
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import placer
from placer.formats.files import load
from placer.options import Communication, Objective, Options
from placer.plans.plan import Plan
from placer.simulation import Simulation, simulate
from placer.simulation.trace import trace_events, trace_json
from tests.simulation.test_by_hand import TWO, UNBALANCED, chain
from tests.support.level import seeds
from tests.support.random_instances import random_instance
from tests.support.simulation import some_plan

DATA = Path(__file__).resolve().parents[2] / "data"
FIELDS = {
    "M": {"ph", "name", "pid", "tid", "args"},
    "X": {"ph", "name", "cat", "ts", "dur", "pid", "tid", "args"},
    "s": {"ph", "name", "cat", "id", "ts", "pid", "tid"},
    "f": {"ph", "name", "cat", "id", "ts", "pid", "tid", "bp"},
    "C": {"ph", "name", "pid", "tid", "ts", "args"},
}


def assert_valid(events: list[dict]) -> None:
    """Slices of a thread do not overlap, threads have names, flows lead from one slice to a later one."""
    threads: dict[tuple[int, int], list[dict]] = defaultdict(list)
    flows: dict[int, list[dict]] = defaultdict(list)
    for event in events:
        assert event.keys() == FIELDS[event["ph"]]
        assert event.get("ts", 0) >= 0
        if event["ph"] == "X":
            assert event["dur"] > 0
            threads[event["pid"], event["tid"]].append(event)
        elif event["ph"] in "sf":
            flows[event["id"]].append(event)
    named = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    assert threads.keys() == named
    for slices in threads.values():
        slices.sort(key=lambda e: e["ts"])
        for a, b in itertools.pairwise(slices):
            assert end_ns(a) <= ns(b["ts"])
    for ends in flows.values():
        assert [e["ph"] for e in ends] == ["s", "f"]
        around = [_enclosing(threads[e["pid"], e["tid"]], e["ts"]) for e in ends]
        assert end_ns(around[0]) <= ns(around[1]["ts"])
        assert around[0]["args"]["sample"] == around[1]["args"]["sample"]
        assert around[0]["name"] == ends[0]["name"]


def _enclosing(slices: list[dict], ts: float) -> dict:
    (found,) = [s for s in slices if ns(s["ts"]) <= ns(ts) < end_ns(s)]
    return found


def ns(microseconds: float) -> int:
    """Readers of traces count in whole nanoseconds."""
    return round(1e3 * microseconds)


def end_ns(event: dict) -> int:
    return ns(event["ts"]) + ns(event["dur"])


def totals(simulation: Simulation, events: list[dict]) -> dict[tuple[str, str], float]:
    """Milliseconds by device and lane."""
    out: dict[tuple[str, str], float] = defaultdict(float)
    for event in events:
        if event["ph"] == "X":
            lane = event["cat"].split(",")[0]
            out[simulation.devices[event["pid"] - 1].name, lane] += event["dur"] / 1e3
    return out


@pytest.mark.parametrize("communication", Communication)
@pytest.mark.parametrize("name", ["inception", "gpt_training"])
def test_of_optimal_plans(name, communication):
    instance = load(DATA / f"{name}.json")
    result = placer.solve(instance, method="dp", communication=communication)
    samples = 5
    simulation = simulate(instance, result, microbatches=samples if instance.is_training else None)
    events = trace_events(simulation, samples)
    assert_valid(events)
    times = totals(simulation, events)
    for device in result.devices:
        for lane in ("compute", "receive", "send"):
            expected = samples * getattr(device, f"{lane}_ms")
            assert times[device.name, lane] == pytest.approx(expected, rel=1e-6, abs=1e-3)
    assert sum(e["ph"] == "s" for e in events) >= samples * (sum(bool(d.nodes) for d in result.devices) - 1)


@pytest.mark.parametrize("seed", seeds(30))
def test_of_random_plans(seed):
    instance = random_instance(seed, nodes=10, training=seed % 2 == 0, heterogeneous=seed % 3 == 0)
    plan = some_plan(instance, seed)
    if plan is not None:
        options = Options(communication=list(Communication)[seed % 3])
        assert_valid(trace_events(simulate(instance, plan, options), 4))


def test_by_hand():
    """v0 is sent to v1: one flow per sample, from within the sending to the beginning of the receiving."""
    simulation = simulate(chain([2, 3], transfer=1), Plan(np.array([0, 1])), samples=3)
    events = trace_events(simulation, 2)
    assert_valid(events)
    shown = [(e["name"], e["pid"], e["tid"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]
    assert sorted(shown, key=lambda e: e[3]) == [
        ("v0", 1, 1, 0, 2000),
        ("v0", 1, 3, 2000, 1000),
        ("v0", 1, 1, 3000, 2000),
        ("v0", 2, 2, 3000, 1000),
        ("v1", 2, 1, 4000, 3000),
        ("v0", 1, 3, 5000, 1000),
        ("v0", 2, 2, 7000, 1000),
        ("v1", 2, 1, 8000, 3000),
    ]
    flows = [(e["ph"], e["id"], e["pid"], e["tid"], e["ts"]) for e in events if e["ph"] in "sf"]
    assert flows == [
        ("s", 1, 1, 3, 2500),
        ("f", 1, 2, 2, 3000),
        ("s", 2, 1, 3, 5500),
        ("f", 2, 2, 2, 7000),
    ]
    names = [e["args"]["name"] for e in events if e["name"] == "thread_name" and e["pid"] == 1]
    assert names == ["compute", "send"]
    assert [e["args"]["name"] for e in events if e["name"] == "process_name"] == ["acc0", "acc1", "cpu0"]


def test_memory_is_a_counter():
    events = trace_events(simulate(UNBALANCED, TWO, microbatches=3))
    steps = [(e["ts"], e["args"]["bytes"]) for e in events if e["ph"] == "C" and e["pid"] == 1]
    assert steps == [(0, 32), (1000, 42), (7000, 42), (11000, 32), (14000, 22)]


def test_a_latency_plan_with_parallel_host_nodes():
    instance = chain([1, 4, 2, 2], transfer=1).replace(edges=np.array([[0, 1], [0, 2], [1, 3], [2, 3]]))
    plan = Plan(np.array([0, 2, 2, 0]), np.array([0, -1, -1, 1]))
    simulation = simulate(instance, plan, Options(objective=Objective.LATENCY, pieces=2))
    events = trace_events(simulation)
    assert_valid(events)
    host = [e["args"]["name"] for e in events if e["name"] == "thread_name" and e["pid"] == 3]
    assert host == ["compute", "compute 2"]
    assert sum(e["ph"] == "s" for e in events) == 4


def test_names_are_escaped():
    """Whatever a node is called, the document is JSON and gives the name back."""
    evil = '"},{<script>alert("é☃")</script>\\'
    instance = chain([2, 3], transfer=1).replace(names=(evil, "v1"))
    text = trace_json(simulate(instance, Plan(np.array([0, 1])), samples=2))
    document = json.loads(text)
    assert document["displayTimeUnit"] == "ms"
    assert {e["name"] for e in document["traceEvents"] if e["ph"] == "X"} == {evil, "v1"}
    assert text.isascii()
