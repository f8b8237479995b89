"""Simple causes of infeasibility are named, and never claimed of an instance that has a plan."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind, Link
from placer.instance.instance import Instance
from placer.instance.training import Training
from placer.options import Options
from placer.plans.infeasible import simple_cause, smallest_conflict
from placer.plans.result import Status
from placer.solving.solve import solve
from tests.support.brute import throughput_optima
from tests.support.random_instances import random_instance


def two_accelerators(hosts=0, **changes) -> Instance:
    """Three nodes of 6 bytes in a chain, two accelerators of 10 bytes."""
    data = {
        "ids": ["a", "b", "c"],
        "types": ["gpu", "cpu"],
        "time_ms": [[1, np.inf]] * 3,
        "edges": [(0, 1), (1, 2)],
        "memory_bytes": [6, 6, 6],
        "classes": [
            DeviceClass("acc", "gpu", 2, Kind.ACCELERATOR, 10),
            DeviceClass("cpu", "cpu", hosts, Kind.HOST),
        ],
    }
    return Instance.build(**{**data, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"memory_bytes": [6, 11, 1]}, ["node 'b' needs 11 B", "acc0, has 10 B"]),
        ({"memory_bytes": [8, 8, 8]}, ["3 nodes", "need 24 B", "2 accelerators", "have 20 B"]),
        ({"colocate": ["g", "g", None], "memory_bytes": [6, 6, 1]}, ["group 'g' needs 12 B"]),
        ({"pin": [("acc0",), (), ()], "forbid": [("acc",), (), ()]}, ["node 'a' has nowhere to go", "acc0"]),
        (
            {"pin": [("acc0",), ("acc1",), ()], "colocate": ["g", "g", None], "memory_bytes": [1, 1, 1]},
            ["group 'g' has nowhere to go", "'a', 'b'"],
        ),
    ],
)
def test_simple_causes_are_named(changes, words):
    cause = simple_cause(two_accelerators(**changes))
    assert cause is not None
    for word in words:
        assert word in cause


def test_reserves_are_named_once_and_in_units_that_people_read():
    card = DeviceClass("a100-", "gpu", 2, memory_limit_bytes=24 * 2**30, memory_reserve_bytes=16.5 * 2**30)
    assert simple_cause(two_accelerators(memory_bytes=[8 * 2**30, 1, 1], classes=[card])) == (
        "node 'a' needs 8 GiB; the largest device it may use, a100-0, has 7.5 GiB "
        "(24 GiB less a reserve of 16.5 GiB)"
    )
    assert simple_cause(two_accelerators(memory_bytes=[6 * 2**30] * 3, classes=[card])) == (
        "the 3 nodes that cannot run where memory has no limit need 18 GiB together; the 2 accelerators that "
        "they may use have 15 GiB in total (24 GiB less a reserve of 16.5 GiB each)"
    )


def test_a_host_that_can_take_the_node_is_no_cause():
    instance = two_accelerators(hosts=1, time_ms=[[1, 1]] * 3, memory_bytes=[6, 11, 1])
    assert simple_cause(instance) is None


@pytest.mark.parametrize(
    ("training", "heterogeneous", "overrides"), list(itertools.product((False, True), repeat=3))
)
def test_a_simple_cause_is_only_claimed_of_infeasible_instances(training, heterogeneous, overrides):
    claimed = 0
    for seed in range(40):
        instance = random_instance(
            seed, nodes=4, training=training, heterogeneous=heterogeneous, overrides=overrides
        )
        if simple_cause(instance) is not None:
            claimed += 1
            assert throughput_optima(instance)["free", "1f1b", "sequential"] == np.inf
    assert claimed > 0 or not overrides


def test_the_smallest_conflict_names_the_families_that_matter():
    """Three nodes of 6 bytes on two devices of 10: only memory matters, pins and colocation do not."""
    instance = two_accelerators(pin=[("acc",), (), ()])

    def is_infeasible(relaxed: Instance, options: Options) -> bool:
        key = "ordered" if options.contiguous else "free"
        return throughput_optima(relaxed)[key, "1f1b", "sequential"] == np.inf

    message = smallest_conflict(instance, Options(), is_infeasible)
    assert "the memory limits cannot hold" in message
    assert "pins" not in message


def test_the_smallest_conflict_of_two_families():
    """Contiguity needs a and c on one side of b; memory then does not fit."""
    instance = two_accelerators(memory_bytes=[5, 9, 5], pin=[(), ("acc0",), ()], edges=[(0, 1), (1, 2)])

    def is_infeasible(relaxed: Instance, options: Options) -> bool:
        key = "ordered" if options.contiguous else "free"
        return throughput_optima(relaxed)[key, "1f1b", "sequential"] == np.inf

    assert is_infeasible(instance, Options())
    message = smallest_conflict(instance, Options(), is_infeasible)
    assert "contiguity and the memory limits cannot hold together" in message
    assert "pins" not in message


CHAIN = {
    "ids": ["a", "b", "b'", "a'"],
    "time_ms": [[1, np.inf]] * 4,
    "memory_bytes": [0.0] * 4,
    "backward": [False, False, True, True],
    "colocate": ["a", "b", "b", "a"],
    "edges": [(0, 1), (1, 2), (2, 3)],
}


@pytest.mark.parametrize(
    ("changes", "options", "cause"),
    [
        (
            {"activation_bytes": [6.0, 6, 0, 0], "training": Training(microbatches=2)},
            {},
            "the microbatches in flight and the memory limits cannot hold together",
        ),
        (
            {
                "memory_bytes": [6.0, 6, 0, 0],
                "classes": [DeviceClass("acc", "gpu", 2, memory_limit_bytes=10)],
            },
            {"max_devices": 1},
            "the memory limits and the limit on the number of devices cannot hold together",
        ),
        (
            {
                "memory_bytes": [6.0, 5, 0, 0],
                "classes": [
                    DeviceClass("acc", "gpu", 2, memory_limit_bytes=10, memory_reserve_bytes=(0.0, 6.0))
                ],
            },
            {},
            "the memory reserves and the memory limits cannot hold together",
        ),
        (
            {"order": ("acc1", "acc0"), "pin": [("acc0",), ("acc1",), (), ()]},
            {},
            "the order of the devices and pins and forbids cannot hold together",
        ),
        ({}, {"use_devices": ("acc0", "acc1", "cpu0")}, "the devices that must be used cannot hold here"),
        ({}, {"apart": (("a", "a'"),)}, "colocation and the nodes apart cannot hold together"),
        (
            {},
            {"apart": (("a", "b"),), "max_devices": 1, "replicas": 2},
            "the nodes apart and the limit on the number of devices cannot hold together",
        ),
    ],
)
@pytest.mark.parametrize("method", ["milp", "auto", "dp"])
def test_causes_of_each_feature_are_named(changes, options, cause, method):
    if method == "dp" and {"apart", "use_devices"} & set(options):
        method = "milp"  # dp refuses them
    link = Link(bandwidth_bytes_per_s=1e6)
    instance = two_accelerators(hosts=1, **{**CHAIN, **changes})
    instance = instance.replace(classes=tuple(replace(c, link=link) for c in instance.classes))
    result = solve(instance, method=method, **options)
    assert result.status is Status.INFEASIBLE
    assert cause in result.message
