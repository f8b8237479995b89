"""The nested program on items in one order, against every plan of stages tried one by one."""

from collections.abc import Iterator
from itertools import combinations, permutations

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind, Link, Server
from placer.instance.instance import Instance
from placer.instance.training import Training
from placer.options import Communication, Options, Schedule
from placer.plans.check import check
from placer.plans.evaluate import device_loads
from placer.plans.in_flight import settled
from placer.plans.plan import Plan
from placer.plans.verify import violations
from placer.solving.solve import solve
from tests.support.level import seeds


def random_pipeline(seed: int) -> Instance:
    """A chain of items with skip connections over servers of up to two classes; training on odd seeds."""
    rng = np.random.default_rng(seed)
    items, training = int(rng.integers(3, 7)), bool(seed & 1)
    n = 2 * items if training else items
    edges = [(i, i + 1) for i in range(items - 1)]
    edges += [(i, j) for i in range(items) for j in range(i + 2, items) if rng.random() < 0.2]
    if training:
        edges += [(2 * items - 1 - i, 2 * items - 1 - j) for j, i in edges] + [
            (i, 2 * items - 1 - i) for i in range(items) if rng.random() < 0.7
        ]
    alike = bool(seed & 2)
    classes = [
        DeviceClass("a", "gpu", int(rng.integers(2, 5)), memory_limit_bytes=float(rng.integers(6, 40)))
    ]
    if not alike:
        limit = float(rng.integers(6, 40))
        classes.append(DeviceClass("b", "tpu", int(rng.integers(1, 3)), memory_limit_bytes=limit))
        if rng.random() < 0.5:
            classes.append(DeviceClass("cpu", "cpu", 1, Kind.HOST))
    names = [c.member(i) for c in classes for i in range(c.count)]
    if alike:
        size = max(k for k in (1, 2, len(names)) if len(names) % k == 0 and k < len(names))
        uplink = Link(transfer_scale=float(rng.integers(1, 8)))
        servers = [Server(f"s{i}", tuple(names[i : i + size]), uplink) for i in range(0, len(names), size)]
    else:
        cut = sorted(rng.choice(len(names) + 1, 2, replace=False).tolist())
        parts = [p for p in (names[: cut[0]], names[cut[0] : cut[1]]) if p]
        servers = [
            Server(f"s{i}", tuple(p), Link(transfer_scale=float(rng.integers(1, 8))))
            for i, p in enumerate(parts)
        ]
    groups = [f"g{min(i, n - 1 - i)}" for i in range(n)] if training else None
    return Instance.build(
        ids=[f"v{i}" for i in range(n)],
        types=["gpu", "tpu", "cpu"],
        time_ms=np.stack([rng.integers(1, 9, n), rng.integers(1, 9, n), rng.integers(5, 20, n)], axis=1),
        transfer_ms=rng.integers(0, 5, n) / 2,
        memory_bytes=rng.integers(0, 4, n),
        activation_bytes=rng.integers(0, 3, n) * (np.arange(n) < items),
        training=Training(microbatches=int(rng.integers(1, 5))),
        edges=edges,
        backward=np.arange(n) >= items,
        colocate=groups,
        classes=classes,
        servers=servers,
    )


def pipelines(instance: Instance) -> Iterator[tuple[Plan, bool]]:
    """Every plan of stages along the chain, and whether it enters each server once."""
    items = int((~instance.backward).sum())
    devices, server = range(len(instance.devices)), instance.server_of
    for stages in range(1, min(items, len(devices)) + 1):
        for cuts in combinations(range(1, items), stages - 1):
            stage = np.searchsorted(np.array(cuts, dtype=int), np.arange(items), side="right")
            for used in permutations(devices, stages):
                on = np.array(used)[stage]
                changes = 1 + int((np.diff(server[list(used)]) != 0).sum())
                device = np.concatenate([on, on[::-1]]) if instance.is_training else on
                yield Plan(device, stages=used), changes == len(set(server[list(used)].tolist()))


def optima(instance: Instance, options: Options) -> tuple[float, float]:
    """Best objective of plans that enter each server once, and of all contiguous plans."""
    memory, once, free = settled(instance, options), np.inf, np.inf
    for plan, enters_once in pipelines(instance):
        loads = device_loads(instance, plan.device)
        value = loads.objective_ms(options.communication, options.schedule)
        if value < free and not violations(memory, plan, options):
            free = value
        if enters_once and value < once and not violations(memory, plan, options):
            once = value
    return once, free


@pytest.mark.parametrize("seed", seeds(60))
def test_against_every_plan(seed):
    instance = random_pipeline(seed)
    options = Options(
        method="dpl",
        schedule=list(Schedule)[seed // 4 % 2],
        communication=list(Communication)[seed % 3],
    )
    once, free = optima(instance, options)
    result = solve(instance, options)
    if np.isinf(once):
        assert result.objective is None
        return
    assert result.objective == pytest.approx(once, rel=1e-9)
    assert result.bound <= free * (1 + 1e-9)
    assert check(instance, result) == []


@pytest.mark.parametrize("seed", [2, 6, 10, 14, 22, 26])
def test_the_bound_sees_uplinks(seed):
    """Along one order it lies between the optimum of the flat cluster and the true one."""
    instance = random_pipeline(seed)
    result = solve(instance, method="dpl")
    plain = solve(instance.replace(servers=()), method="dp", gap=0.0)
    _, free = optima(instance, Options())
    assert plain.objective * (1 - 1e-6) <= result.bound <= free * (1 + 1e-9)


def test_coming_back_to_a_server_can_be_better():
    """Only b and e have cheap outputs: s0 takes a, b and f, s1 what is between them."""
    instance = Instance.build(
        ids=list("abcdef"),
        types=["gpu"],
        time_ms=[[10.0]] * 6,
        transfer_ms=[5.0, 0.1, 5.0, 5.0, 0.1, 5.0],
        edges=[(i, i + 1) for i in range(5)],
        classes=[DeviceClass("gpu", "gpu", 6)],
        servers=[
            Server("s0", ("gpu0", "gpu1", "gpu2"), Link(transfer_scale=4.0)),
            Server("s1", ("gpu3", "gpu4", "gpu5"), Link(transfer_scale=4.0)),
        ],
    )
    once, free = optima(instance, Options())
    assert (once, free) == (pytest.approx(25.0), pytest.approx(20.0))
    result = solve(instance, method="dpl")
    assert result.objective == pytest.approx(once)
    assert result.bound <= free
    assert solve(instance, gap=0.0).objective == pytest.approx(free)


@pytest.mark.parametrize("seed", [1, 5, 9])
def test_a_plan_is_there_even_when_time_is_up(seed):
    instance = random_pipeline(seed)
    free = optima(instance, Options())[0]
    result = solve(instance, method="dpl", time_limit=1e-6)
    assert (result.objective is None) == np.isinf(free)
    assert check(instance, result) == [] if result.objective is not None else np.isinf(free)


@pytest.mark.parametrize(("options", "order"), [({"recompute": "auto"}, ()), ({}, ("a1", "a0"))])
def test_what_it_does_not_know(options, order):
    """It says so, and the other methods of auto plan all the same."""
    instance = random_pipeline(7).replace(order=order)
    result = solve(instance, method="dpl", **options)
    assert (result.objective, result.bound) == (None, None)
    assert "no recomputation and no order" in result.message
    assert solve(instance, gap=1e-6, **options).status == "optimal"
