"""Numbers of very different magnitude in one instance: right answers, or none claimed."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind, Link, Server
from placer.instance.instance import Instance
from placer.instance.training import Training
from placer.options import Options
from placer.plans.check import check
from placer.plans.result import Result, Status
from placer.solving.solve import solve
from tests.support.brute import latency_optimum
from tests.support.brute_features import candidates
from tests.support.mixed_magnitudes import mixed_magnitudes

INF = np.inf
HOST = DeviceClass("h", "cpu", 1, Kind.HOST)


def gpus(count: int, bytes_per_s: float = 1e9, name: str = "a", **more: float) -> DeviceClass:
    return DeviceClass(name, "gpu", count, link=Link(bandwidth_bytes_per_s=bytes_per_s), **more)


def graph(times: list[object], edges: list[tuple[int, int]], classes: list[DeviceClass], **more: object):
    """Make an instance; outputs that are not given cost nothing."""
    types = ("gpu", "cpu") if any(c.is_host for c in classes) else ("gpu",)
    ids = [f"v{i}" for i in range(len(times))]
    return Instance.build(ids=ids, types=types, time_ms=times, edges=edges, classes=classes, **more)


def sized(*sizes: float) -> dict[str, object]:
    return {"output_bytes": sizes}


NO_START = graph([[0, INF], [0, INF], [INF, 3e-9]], [(0, 1), (0, 2)], [gpus(2), HOST], **sized(2e6, 0, 0))
"""A transfer of 2 ms beside 3e-9 ms of work: the host's node has to receive what a device makes."""
HOPELESS = graph(
    [3, 0, 0, 3],
    [(1, 2)],
    [DeviceClass("a", "gpu", 2), DeviceClass("b", "gpu", 1)],
    transfer_ms=[0, 5e8, 0, 0],
    pin=[("a0",), (), (), ()],
)
"""Two free nodes stay together, for their transfer takes six days."""
UPLINK = graph(
    [7, 11],
    [(0, 1)],
    [DeviceClass("a", "gpu", 3, link=Link(1.0, 1e9, 0.25))],
    forbid=[(), ("a2",)],
    order=("a",),
    servers=(Server("s0", ("a1",), Link(5.0, 100.0, 1.0)),),
    **sized(3e6, 0),
)
"""Split within a server 7 + 3.25 and 11 + 3.25 ms; over the uplink it would take hours."""
SLOW_LINK = graph([[INF, 0], [INF, 0], [4e-9, INF]], [(1, 2)], [gpus(1, 1e3), HOST], **sized(0, 3e6, 0))
"""The receiving device waits 3e6 ms, and computes 4e-9."""
CHAIN = graph(
    [[2e-9, 0], [2e-9, 0], [INF, 2e-9], [0, INF]],
    [(0, 1)],
    [gpus(1, name="a"), gpus(1, 1e3, name="b"), HOST],
    **sized(3e6, 0, 0, 0),
)
"""For latency: the host does everything but one free node, in 2e-9 ms."""
TIGHT = graph(
    [[2e-9, INF]] * 3 + [[1e-9, INF], [INF, 3e-9]],
    [(0, 1), (3, 4)],
    [gpus(2, memory_limit_bytes=7.0), gpus(1, name="b", memory_limit_bytes=1e15), HOST],
    memory_bytes=[7, 7, 1e15 - 1, 1, 1e15],
    transfer_ms=[1e-9, 0, 0, 0, 0],
)
"""Bytes beside a petabyte, and limits that are met exactly: each of the first three has a device alone."""

CASES = {
    "no start": (NO_START, {}, 2.0),
    "hopeless transfer": (HOPELESS, {}, 3.0),
    "uplink": (UPLINK, {}, 14.25),
    "slow link": (SLOW_LINK, {}, 3e6),
    "tight memory": (TIGHT, {}, 3e-9),
    "tight memory, latency": (CHAIN, {"objective": "latency"}, 2e-9),
}


@pytest.mark.parametrize("formulation", ["ordered", "paper"])
@pytest.mark.parametrize("method", ["milp", "auto", "dp"])
@pytest.mark.parametrize("name", CASES)
def test_far_apart_numbers_get_the_right_answer(name, method, formulation):
    instance, options, optimum = CASES[name]
    if formulation == "paper" and (method != "milp" or instance.servers):
        pytest.skip("the program of the paper is one of milp, and knows no servers")
    if method == "dp" and instance.servers:
        pytest.skip("dp knows no servers")
    result = solve(instance, method=method, formulation=formulation, **options)
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(optimum, rel=1e-9, abs=0)
    assert optimum * (1 - 1e-4) <= result.bound <= optimum * (1 + 1e-9)


@pytest.mark.parametrize("formulation", ["ordered", "paper"])
@pytest.mark.parametrize("objective", ["throughput", "latency"])
def test_a_petabyte_too_much_is_infeasible_and_a_byte_less_is_not(objective, formulation):
    """Two nodes of half a limit, and a third of one part in a million more than is left."""
    half = 5e14
    for more, status in ((0.0, Status.OPTIMAL), (1e9, Status.INFEASIBLE)):
        instance = graph(
            [1e-9, 1e9, 1.0],
            [(0, 1)],
            [
                DeviceClass("a", "gpu", 1, memory_limit_bytes=2 * half),
                gpus(1, memory_limit_bytes=1.0, name="b"),
            ],
            memory_bytes=[half, half + more, 1.0],
        )
        result = solve(instance, method="milp", objective=objective, formulation=formulation)
        assert result.status is status


def test_microbatches_in_flight_of_a_petabyte_exclude_a_stage():
    """With four in flight only the last stage has room for the large activation."""
    instance = graph(
        [1e-9, 1e-9, 1e-9, 1e-9],
        [(0, 1), (2, 3)],
        [DeviceClass("a", "gpu", 2, memory_limit_bytes=1e15)],
        backward=[False, False, True, True],
        colocate=["x", "y", "y", "x"],
        activation_bytes=[1.0, 1e15, 0, 0],
        training=Training(microbatches=4),
    )
    result = solve(instance, method="milp")
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(2e-9, rel=1e-9, abs=0)
    assert result.assignment["v0"] != result.assignment["v1"]


def judge(instance: Instance, result: Result, best: float) -> None:
    """Compare a result with the optimum, inf where there is no plan."""
    assert check(instance, result) == []
    if result.objective is None:
        assert result.status is not Status.INFEASIBLE or best == INF
        return
    assert result.objective >= best * (1 - 1e-9)
    assert result.bound is None or result.bound <= best * (1 + 1e-9)
    if result.status is Status.OPTIMAL:
        assert result.objective <= best * (1 + 2e-4)


def judge_throughput(seed: int, methods: tuple[str, ...]) -> None:
    instance, rng = mixed_magnitudes(seed), np.random.default_rng(seed)
    for contiguity in ("ordered", "free", "each"):
        schedule, communication = (
            rng.choice(["1f1b", "gpipe"]),
            rng.choice(["sequential", "overlap", "duplex"]),
        )
        best = candidates(instance, (contiguity, schedule, communication)).optimum()
        options = Options(contiguous=contiguity != "free", schedule=schedule, communication=communication)
        for method in methods:
            paper = contiguity == "each" or method == "paper"
            if applies(instance, contiguity, "paper" if paper else method):
                result = solve(
                    instance,
                    options,
                    method="milp" if paper else method,
                    formulation="paper" if paper else "ordered",
                )
                judge(instance, result, best)


def applies(instance: Instance, contiguity: str, method: str) -> bool:
    """Whether a method knows a kind of plan and what the instance has."""
    special = bool(instance.servers) or bool(instance.constraints.apart)
    if method == "paper":
        return contiguity != "ordered" and not special and not instance.order
    if contiguity == "each" or (method, contiguity) in {
        ("dp", "free"),
        ("dpl", "free"),
        ("colgen", "ordered"),
    }:
        return False
    return method in ("milp", "auto") or not special


def judge_latency(seed: int, methods: tuple[str, ...]) -> None:
    instance = mixed_magnitudes(seed, nodes=4, latency=True)
    pieces = 1 + seed % 2
    best = latency_optimum(instance, pieces)
    for method in methods:
        result = solve(
            instance,
            objective="latency",
            pieces=pieces,
            method="milp" if method == "paper" else method,
            formulation="paper" if method == "paper" else "ordered",
        )
        judge(instance, result, best)


@pytest.mark.parametrize("seed", range(12))
def test_random_throughput(seed):
    judge_throughput(seed, ("milp", "dp", "paper"))


@pytest.mark.parametrize("seed", range(12))
def test_random_latency(seed):
    judge_latency(seed, ("milp", "dp", "paper"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 220))
def test_many_random_instances(seed):
    judge_throughput(seed, ("milp", "dp", "dpl", "colgen", "local-search", "auto", "paper"))
    judge_latency(seed, ("milp", "dp", "greedy", "auto", "paper"))
