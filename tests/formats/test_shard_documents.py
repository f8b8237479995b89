"""Figures of nodes by degree of sharding, and links among peers, in the native format."""

import json
import math

import jsonschema
import numpy as np
import pytest

from placer.errors import InputError
from placer.formats import documents, native
from placer.formats.text import validate
from placer.instance.cluster import Link
from placer.instance.fingerprint import fingerprint
from tests.formats.test_bad_input import NATIVE, changed

TWO = {"time_ms": {"gpu": 0.6}, "weight_bytes": 4, "collective_bytes": 100}
SHARDED = (
    ("nodes/0/shards", {"4": {"time_ms": {"gpu": 0.3}, "memory_bytes": 1}, "2": TWO}),
    ("nodes/2/shards", {"2": {}}),
    ("nodes/1/activation_bytes", 9),
    ("cluster/classes/0/peer_link", {"bandwidth_bytes_per_s": 5e7, "latency_ms": 0.25}),
)


def read(*changes):
    return native.to_instance(validate(documents.NativeInstance, changed(NATIVE, *changes)))


def test_what_is_left_out_is_as_for_the_whole_node():
    instance = read(*SHARDED)
    assert instance.types == ("cpu", "gpu")
    assert [some.degree for some in instance.shards] == [2, 4]
    two, four = instance.shards
    assert two.known.tolist() == [True, False, True]
    assert four.known.tolist() == [True, False, False]
    assert two.time_ms.tolist() == [[2, 0.6], [math.inf, 1], [2, 1]]
    assert two.memory_bytes.tolist() == [3, 0, 0]
    assert four.memory_bytes.tolist() == [1, 0, 0]
    assert two.weight_bytes.tolist() == [4, 0, 0]
    assert two.activation_bytes.tolist() == [0, 9, 0]
    assert two.collective_bytes.tolist() == [100, 0, 0]
    assert four.collective_bytes.tolist() == [0, 0, 0]
    assert instance.classes[0].peers == Link(1.0, 5e7, 0.25)
    assert instance.classes[1].peers == instance.classes[1].link


def test_round_trip():
    instance = read(*SHARDED)
    text = native.to_json(instance)
    judge = jsonschema.Draft202012Validator(documents.schema())
    judge.validate(json.loads(text))
    again = native.to_instance(validate(documents.NativeInstance, json.loads(text)))
    assert native.to_json(again) == text
    assert fingerprint(again) == fingerprint(instance)
    for a, b in zip(instance.shards, again.shards, strict=True):
        for name in ("known", "time_ms", "memory_bytes", "weight_bytes", "collective_bytes"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert again.classes == instance.classes


@pytest.mark.parametrize(
    "change",
    [
        ("nodes/0/shards", {**SHARDED[0][1], "2": {**TWO, "collective_bytes": 101}}),
        ("nodes/0/shards", {**SHARDED[0][1], "2": {**TWO, "time_ms": {"gpu": 0.61}}}),
        ("nodes/0/shards", {**SHARDED[0][1], "2": {**TWO, "memory_bytes": 2}}),
        ("cluster/classes/0/peer_link/latency_ms", 0.5),
        ("nodes/1/shards", {"2": {}}),
    ],
)
def test_every_figure_is_part_of_the_identity(change):
    assert fingerprint(read(*SHARDED)) != fingerprint(read(*SHARDED, change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("nodes/0/shards", {"1": {}}), "a degree of sharding is a whole number in 2..1024, got '1'"),
        (("nodes/0/shards", {"two": {}}), "got 'two'"),
        (("nodes/0/shards", {"2000": {}}), "got '2000'"),
        (("nodes/1/shards", {"2": {"time_ms": {"cpu": 1}}}), "on which node 'b' as a whole cannot run"),
        (("nodes/0/shards", {"2": {"collective": 1}}), "collective"),
        (("nodes/0/shards", {"2": {"weight_bytes": -1}}), "weight_bytes"),
        (("cluster/classes/0/peer_link", {"latency_ms": 1}), "bandwidth_bytes_per_s"),
        (("cluster/classes/0/peer_link", {"bandwidth_bytes_per_s": 0}), "bandwidth_bytes_per_s"),
    ],
)
def test_what_is_wrong_is_named(change, said):
    with pytest.raises(InputError) as error:
        read(change)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_instances_made_in_python_are_checked():
    instance = read(*SHARDED)
    two, four = instance.shards
    for shards, said in (
        ((four, two), "degrees must ascend"),
        ((two.replace(time_ms=two.time_ms - 1),), "time of a shard of 2"),
        ((two.replace(time_ms=np.where(two.time_ms == 2, np.inf, two.time_ms)),), "only there"),
        ((two.replace(collective_bytes=two.collective_bytes * np.nan),), "collective of a shard of 2"),
    ):
        with pytest.raises(InputError) as error:
            instance.replace(shards=shards)
        assert said in str(error.value)
