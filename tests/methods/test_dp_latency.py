"""The latency program against brute force, against known optima, and under limits."""

import os
from dataclasses import replace

import numpy as np
import pytest

from placer.cluster import DeviceClass, Kind
from placer.evaluate import latency_schedule
from placer.instance import Instance
from placer.methods.dp_latency import solve
from placer.options import Objective, Options
from placer.plan import with_host_pools
from placer.run import Outcome, Run, Stop
from placer.verify import violations
from tests.support.brute import latency_optimum
from tests.support.random_instances import random_instance

COUNT = int(os.environ.get("PLACER_RANDOM_LATENCY", "120"))
FIRST_SEED = int(os.environ.get("PLACER_RANDOM_SEED", "0"))


def options(pieces: int = 1, **changes: object) -> Options:
    return Options(objective=Objective.LATENCY, method="dp", pieces=pieces, **changes)


def makespan(instance: Instance, outcome: Outcome, pieces: int) -> float:
    """Latency of a plan after checking it; inf without one."""
    if outcome.plan is None:
        return np.inf
    assert violations(instance, outcome.plan, options(pieces)) == []
    return latency_schedule(instance, outcome.plan).makespan_ms


def latency_instance(seed: int) -> Instance:
    """Vary what the instance has by its seed: devices, pins, a second host class, more groups."""
    rng = np.random.default_rng(seed)
    instance = random_instance(
        seed,
        nodes=4 + int(rng.random() < 0.5),
        training=bool(rng.random() < 0.2),
        heterogeneous=bool(rng.random() < 0.4),
        overrides=bool(rng.random() < 0.4),
        latency=True,
    )
    if rng.random() < 0.3:
        times = rng.integers(0, 32, size=instance.n) / 4
        times[rng.random(instance.n) < 0.3] = np.inf
        extra = DeviceClass("arm", "arm", 1, Kind.HOST)
        instance = instance.replace(
            types=(*instance.types, "arm"),
            time_ms=np.column_stack([instance.time_ms, times]),
            classes=(*instance.classes, extra),
        )
    if rng.random() < 0.2:
        instance = instance.replace(time_ms=np.where(rng.random(instance.time_ms.shape) < 0.5, 0.0, instance.time_ms))
    instance = with_host_pools(instance)
    while (len(instance.devices) > 4 or (len(instance.devices) == 4 and instance.n > 4)) and any(
        cls.count > 1 for cls in instance.classes
    ):
        instance = smaller(instance)
    return instance


def smaller(instance: Instance) -> Instance:
    """Drop an accelerator, to keep brute force cheap; pins to it are dropped too."""
    c = max((c for c, cls in enumerate(instance.classes) if not cls.is_host), key=lambda c: instance.classes[c].count)
    gone = instance.classes[c].member(instance.classes[c].count - 1)
    fewer = replace(instance.classes[c], count=instance.classes[c].count - 1)
    return instance.replace(
        classes=(*instance.classes[:c], fewer, *instance.classes[c + 1 :]),
        pin=tuple(tuple(x for x in names if x != gone) for names in instance.pin),
        forbid=tuple(tuple(x for x in names if x != gone) for names in instance.forbid),
    )


def check_against_brute_force(seed: int) -> None:
    instance = latency_instance(seed)
    pieces = 1 + seed % 2
    expected = latency_optimum(instance, pieces)
    outcome = solve(instance, options(pieces), Run())
    if np.isinf(expected):
        assert outcome.stop is Stop.INFEASIBLE, seed
        assert outcome.plan is None
        return
    assert outcome.stop is Stop.FINISHED, seed
    assert makespan(instance, outcome, pieces) == pytest.approx(expected, rel=1e-9, abs=1e-9), seed
    assert outcome.bound_ms == pytest.approx(expected, rel=1e-9, abs=1e-9), seed
    assert outcome.bound_ms <= expected * (1 + 1e-12), seed


def test_random_instances_agree_with_brute_force() -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + COUNT):
        check_against_brute_force(seed)
