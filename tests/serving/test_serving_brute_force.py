"""All objectives of serving against trying everything, on small instances with hosts, limits and servers."""

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind, Link, Server
from placer.instance.instance import Instance
from placer.plans.result import Status
from placer.serving.serve import serve, served
from placer.serving.serving_request import Goal, ServingRequest
from tests.support.brute_serving import plans
from tests.support.level import seeds

MOST = 6
"""Microbatches that are tried."""


def random_instance(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    counts = rng.integers(1, 3, size=int(rng.integers(1, 3)))
    classes, types = [], []
    for c, count in enumerate(counts):
        host = bool(rng.random() < 0.25)
        limit = float(rng.integers(4, 25)) if rng.random() < 0.8 else np.inf
        link = Link(
            bandwidth_bytes_per_s=1e3 * float(rng.integers(1, 5)), latency_ms=float(rng.integers(0, 3)) / 4
        )
        kind = Kind.HOST if host else Kind.ACCELERATOR
        classes.append(DeviceClass("abc"[c], f"t{c}", int(count), kind, limit, Link() if host else link))
        types.append(f"t{c}")
    time = rng.integers(1, 12, size=(n, len(types))).astype(float)
    servers = ()
    names = [cls.member(i) for cls in classes for i in range(cls.count)]
    if len(names) > 1 and rng.random() < 0.3:
        half = len(names) // 2
        uplink = Link(bandwidth_bytes_per_s=1e3, latency_ms=0.5)
        servers = (Server("s", tuple(names[:half]), uplink), Server("t", tuple(names[half:]), uplink))
    return Instance.build(
        ids=[f"n{v}" for v in range(n)],
        types=types,
        time_ms=time,
        edges=[(v, v + 1) for v in range(n - 1)],
        classes=classes,
        memory_bytes=rng.integers(0, 9, size=n).astype(float),
        activation_bytes=rng.integers(0, 3, size=n).astype(float) if rng.random() < 0.7 else None,
        output_bytes=rng.integers(0, 4, size=n).astype(float),
        servers=servers,
    )


def ask(instance, **asked):
    model, request = served(instance, None, ServingRequest(gap=1e-7, **asked))
    return serve(model, request)


def check(seed):
    instance = random_instance(seed)
    rng = np.random.default_rng(-seed % 2**32)
    scattered = bool(rng.random() < 0.3)
    tables = {m: list(plans(instance, m, scattered=scattered)) for m in range(1, MOST + 1)}
    best = {m: min((t for t, _ in rows), default=np.inf) for m, rows in tables.items()}
    limit = None
    if rng.random() < 0.4 and best[1] < np.inf:
        limit = float(best[1] * rng.uniform(0.9, 3.0))
    fits = [m for m in best if best[m] <= (limit or np.inf) and best[m] < np.inf]
    asked = {"max_tpot_ms": limit, "scattered": scattered}

    m = int(rng.integers(1, MOST + 1))
    found = ask(instance, objective=Goal.TPOT, concurrency=m, **asked)
    if m in fits:
        assert (found.status, found.value) == (Status.OPTIMAL, pytest.approx(best[m], rel=2e-7))
    else:
        assert found.status is Status.INFEASIBLE

    found = ask(instance, objective=Goal.THROUGHPUT, concurrency=MOST, **asked)
    if fits:
        most = max(1e3 * m / best[m] for m in fits)
        assert (found.status, found.value) == (Status.OPTIMAL, pytest.approx(most, rel=3e-7))
    else:
        assert found.status is Status.INFEASIBLE

    found = ask(instance, objective=Goal.CONCURRENCY, **asked)
    if not fits:
        assert found.status is Status.INFEASIBLE
    elif max(fits) < MOST:
        assert (found.status, found.value) == (Status.OPTIMAL, max(fits))
        rooms = [r for t, r in tables[max(fits)] if t <= (limit or np.inf) * (1 + 1e-9)]
        if all(r is not None for r in rooms) and max(rooms) < np.inf:
            assert found.plan.room_per_layer_bytes == pytest.approx(max(rooms), abs=1e-5)


def test_no_way_back_from_a_device_to_itself_beside_hosts():
    """A token that begins and ends on one accelerator, with a node between on a host."""
    check(1025)


@pytest.mark.parametrize("seed", seeds(24))
def test_all_objectives(seed):
    check(seed)
