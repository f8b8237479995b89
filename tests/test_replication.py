"""Replicated stages: optimum against every way to group devices, figures by hand, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from placer.check import check, plan_of
from placer.cluster import DeviceClass, Kind, Link
from placer.errors import UsageError
from placer.instance import Instance
from placer.options import Options
from placer.plan import Plan
from placer.replication import choices
from placer.result import Status
from placer.solve import solve
from placer.training import Training
from placer.verify import violations
from tests.support.brute import KINDS
from tests.support.brute_features import candidates
from tests.support.level import seeds
from tests.support.random_instances import random_instance


def with_weights(instance: Instance, seed: int) -> Instance:
    """Give nodes weights that take up to 2 ms on the link, and every accelerator link a bandwidth."""
    rng = np.random.default_rng([seed, 11])
    return instance.replace(
        weight_bytes=np.round(rng.uniform(0, 1, instance.n) * (rng.random(instance.n) < 0.7), 2),
        training=Training(microbatches=int(rng.integers(1, 4))),
        classes=tuple(replace(c, link=Link(c.link.transfer_scale, 500.0)) for c in instance.classes),
    )


@pytest.mark.parametrize("seed", seeds(40))
def test_against_brute_force(seed):
    instance = random_instance(
        seed, nodes=4, training=bool(seed & 1), heterogeneous=bool(seed & 2), overrides=seed % 5 == 0
    )
    instance = with_weights(instance, seed)
    replicas = 2 + seed % 2
    rng = np.random.default_rng(seed)
    kinds = [k for k in KINDS if k[0] != "each"]
    for i in rng.choice(len(kinds), 5, replace=False):
        contiguity, schedule, communication = kinds[i]
        best = candidates(instance, kinds[i], replicas=replicas).optimum()
        result = solve(
            instance,
            method="dp" if contiguity == "ordered" and rng.random() < 0.5 else "milp",
            gap=0.0,
            replicas=replicas,
            contiguous=contiguity == "ordered",
            schedule=schedule,
            communication=communication,
        )
        if np.isinf(best):
            assert result.status is Status.INFEASIBLE
            continue
        assert result.objective == pytest.approx(best, rel=1e-6, abs=1e-9)
        assert result.bound == pytest.approx(best, rel=1e-6, abs=1e-9)
        assert check(instance, result) == []


def pair(**changes) -> Instance:
    """A heavy and a light layer with their backward nodes; 1 kB of weights take 1 ms on the link."""
    return Instance.build(
        ids=["a", "b", "b'", "a'"],
        types=["gpu", "cpu"],
        time_ms=[[3.0, 99], [1.0, 99], [2.0, 99], [6.0, 99]],
        weight_bytes=[1000.0, 1000.0, 0, 0],
        transfer_ms=[0.0] * 4,
        edges=[(0, 1), (1, 2), (2, 3)],
        backward=[False, False, True, True],
        colocate=["a", "b", "b", "a"],
        classes=[
            DeviceClass("gpu", "gpu", 4, Kind.ACCELERATOR, 5000.0, Link(bandwidth_bytes_per_s=1e6)),
            DeviceClass("cpu", "cpu", 1, Kind.HOST),
        ],
    ).replace(**changes)


def test_figures_of_a_replicated_stage():
    """Three replicas of a: 9 / 3 ms and 2 · 2/3 ms for the gradients, over four microbatches."""
    instance = pair(training=Training(microbatches=4))
    result = solve(instance, replicas=4, gap=0.0)
    assert result.objective == pytest.approx(9 / 3 + 4 / 3 / 4)
    assert [len(group) for group in result.replicas] == [3]
    shared = [d for d in result.devices if "a" in d.nodes]
    assert [d.sync_ms for d in shared] == pytest.approx([1 / 3] * 3)
    assert [d.load_ms for d in shared] == pytest.approx([10 / 3] * 3)
    assert [d.memory_bytes for d in shared] == [1000.0] * 3
    assert check(instance, result) == []
    assert solve(instance, replicas=1).objective == 9.0


def test_slow_links_make_replicas_useless():
    instance = pair(training=Training(microbatches=1))
    slow = instance.replace(
        classes=(DeviceClass("gpu", "gpu", 4, link=Link(bandwidth_bytes_per_s=1e4)), instance.classes[1])
    )
    result = solve(slow, replicas=4)
    assert result.replicas == []
    assert result.objective == 9.0


def test_limit_on_devices_counts_replicas():
    instance = pair(training=Training(microbatches=4))
    assert solve(instance, replicas=4, max_devices=2, gap=0.0).objective == pytest.approx(12 / 2 + 1 / 2)
    result = solve(instance, replicas=4, max_devices=3, gap=0.0)
    assert sum(bool(d.nodes) for d in result.devices) == 3


def test_what_verification_finds():
    instance, options = pair(), Options(replicas=2)
    device = np.array([0, 1, 1, 0])
    assert violations(instance, Plan(device, replicas=((0, 2),)), options) == []
    for replicas, words in (
        (((0, 2, 3),), "more than 2"),
        (((0, 4),), "not identical"),
        (((0, 1),), "hold none or another"),
        (((2, 3),), "hold none or another"),
        (((0, 2), (1, 2)), "hold none or another"),
    ):
        assert words in violations(instance, Plan(device, replicas=replicas), options)[0]
    forbidden = instance.replace(forbid=(("gpu2",), (), (), ()))
    assert "not identical" in violations(forbidden, Plan(device, replicas=((0, 2),)), options)[0]


def test_groups_cover_all_ways():
    assert sorted(sorted(len(g) for g in way.members) for way in choices(pair(), 3)) == [
        [1, 1, 1, 1, 1],
        [1, 1, 1, 2],
        [1, 1, 3],
        [1, 2, 2],
    ]


def test_altered_replicas_are_noticed():
    instance = pair(training=Training(microbatches=4))
    result = solve(instance, replicas=4)
    altered = result.model_copy(update={"replicas": []}).sealed()
    assert any("objective" in text for text in check(instance, altered))
    assert plan_of(instance, result).replicas


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "latency"}, "throughput only"),
        ({"balance": True}, "secondary goals"),
        ({"replicas": 0}, "greater than or equal to 1"),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        solve(pair(), **{"replicas": 2, **changes})


@pytest.mark.slow
def test_too_many_ways_and_links_without_bandwidth_are_refused():
    many = pair(classes=(DeviceClass("gpu", "gpu", 64, link=Link(bandwidth_bytes_per_s=1e6)),))
    with pytest.raises(UsageError, match="more than 256 ways"):
        solve(many, replicas=64)
    with pytest.raises(UsageError, match="needs a bandwidth"):
        solve(pair(classes=(DeviceClass("gpu", "gpu", 2),)), replicas=2)
