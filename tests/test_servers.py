"""Servers behind uplinks: costs by hand, optimum against every assignment, methods, files, refusals."""

import json

import numpy as np
import pytest

from placer.errors import InputError, UsageError
from placer.formats import documents, native
from placer.formats.text import validate
from placer.instance.cluster import DeviceClass, Kind, Link, Server
from placer.instance.fingerprint import fingerprint
from placer.instance.instance import Instance
from placer.plans.check import check
from placer.plans.evaluate import device_loads
from placer.plans.result import Status
from placer.solving.solve import solve
from tests.support.brute import KINDS
from tests.support.brute_features import candidates
from tests.support.level import seeds
from tests.support.random_instances import random_instance, with_constraints, with_servers


@pytest.mark.parametrize("seed", seeds(50))
def test_against_brute_force(seed):
    instance = with_servers(
        random_instance(
            seed, nodes=5, training=bool(seed & 1), heterogeneous=bool(seed & 2), overrides=seed % 5 == 0
        ),
        seed,
    )
    if seed % 4 == 3:
        instance = with_constraints(instance, seed)
    kinds = [k for k in KINDS if k[0] != "each"]
    for i in np.random.default_rng(seed).choice(len(kinds), 4, replace=False):
        contiguity, schedule, communication = kinds[i]
        optimum = candidates(instance, kinds[i]).optimum()
        chosen = {"contiguous": contiguity == "ordered", "schedule": schedule, "communication": communication}
        result = solve(instance, method="milp", gap=0.0, **chosen)
        if np.isinf(optimum):
            assert result.status is Status.INFEASIBLE
            continue
        assert result.objective == pytest.approx(optimum, rel=1e-6, abs=1e-9)
        assert result.bound == pytest.approx(optimum, rel=1e-6, abs=1e-9)
        assert check(instance, result) == []


@pytest.mark.parametrize("seed", seeds(12))
def test_auto_and_secondary_goals(seed):
    instance = with_servers(random_instance(seed, nodes=5, training=bool(seed & 1)), seed)
    kind = ("ordered" if seed & 2 else "free", "1f1b", "sequential")
    best = candidates(instance, kind).secondary({}, balance=True)
    result = solve(instance, gap=0.0, contiguous=bool(seed & 2), balance=True)
    if best is None:
        assert result.assignment is None
        return
    falling = sorted((d.load_ms for d in result.devices), reverse=True)
    assert np.cumsum(falling).tolist() == pytest.approx(best[: len(falling)], abs=1e-6)


def two_servers() -> Instance:
    """A chain over two servers of two GPUs: links move an output in 1 ms, uplinks in 5 ms."""
    return Instance.build(
        ids=["a", "b", "c", "d"],
        types=["gpu", "cpu"],
        time_ms=[[10.0, 99.0]] * 4,
        transfer_ms=[1.0] * 4,
        edges=[(0, 1), (1, 2), (2, 3), (0, 3)],
        classes=[DeviceClass("gpu", "gpu", 4), DeviceClass("cpu", "cpu", 1, Kind.HOST)],
        servers=[
            Server("s0", ("gpu0", "gpu1"), Link(transfer_scale=5.0)),
            Server("s1", ("gpu2", "gpu3"), Link(transfer_scale=5.0)),
        ],
    )


def test_costs_by_hand():
    loads = device_loads(two_servers(), np.array([0, 1, 2, 3]))
    assert loads.send_ms[0].tolist() == [5, 5, 1, 0, 0]  # a is read in the other server as well
    assert loads.receive_ms[0].tolist() == [0, 1, 5, 6, 0]
    on_host = device_loads(two_servers(), np.array([0, 0, 4, 4]))
    assert on_host.send_ms[0].tolist() == [10, 0, 0, 0, 0]  # the host is in no server
    assert on_host.receive_ms.sum() == 0


def test_uplinks_that_are_faster_change_nothing():
    instance = two_servers()
    fast = instance.replace(servers=tuple(Server(s.name, s.devices, Link(0.1)) for s in instance.servers))
    plain = instance.replace(servers=())
    assert solve(fast, method="milp").objective == solve(plain, method="milp").objective


@pytest.mark.slow
def test_bigger_case_with_any_start():
    """Stages over two servers: auto proves what the program alone finds."""
    n = 16
    instance = Instance.build(
        ids=[f"v{i}" for i in range(n)],
        types=["gpu"],
        time_ms=[[1.0 + i % 3] for i in range(n)],
        transfer_ms=[0.2] * n,
        edges=[(i, i + 1) for i in range(n - 1)],
        classes=[DeviceClass("gpu", "gpu", 6)],
        servers=[
            Server(f"s{k}", tuple(f"gpu{i}" for i in range(3 * k, 3 * k + 3)), Link(100.0)) for k in range(2)
        ],
    )
    result = solve(instance, gap=1e-6)
    assert result.status is Status.OPTIMAL
    assert result.objective == pytest.approx(solve(instance, method="milp", gap=1e-6).objective)
    assert result.objective > solve(instance.replace(servers=()), method="dp").objective
    assert check(instance, result) == []


def test_files():
    instance = two_servers()
    again = native.to_instance(validate(documents.NativeInstance, json.loads(native.to_json(instance))))
    assert again.servers == instance.servers
    assert fingerprint(again) == fingerprint(instance) != fingerprint(instance.replace(servers=()))


@pytest.mark.parametrize(
    ("servers", "message"),
    [
        ((Server("s", ("tpu0",)),), "'tpu0' is no class and no device"),
        ((Server("s", ("gpu0",)), Server("t", ("gpu",))), "'gpu0' is named by two servers"),
        ((Server("s", ("gpu0",)), Server("s", ("gpu1",))), "used twice"),
        ((Server("s", ("gpu0",), Link(-1.0)),), "transfer scale"),
    ],
)
def test_bad_servers(servers, message):
    with pytest.raises(InputError, match=message):
        two_servers().replace(servers=servers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "dp"}, "method dp does not know"),
        ({"method": "milp", "formulation": "paper"}, "default formulation"),
        ({"method": "milp", "formulation": "paper", "contiguous": False}, "default formulation"),
        ({"formulation": "paper"}, "auto uses the default formulation"),
        ({"objective": "latency"}, "throughput only"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        solve(two_servers(), **options)
