"""Instances are values of their own: nothing outside changes them, and equal content has one identity."""

import dataclasses

import numpy as np
import pytest

from placer.instance.cluster import DeviceClass, Kind, Link, Server
from placer.instance.fingerprint import fingerprint
from placer.instance.instance import Instance


def made(number=float, **arrays):
    link = Link(number(1), number(10**9), number(0))
    return Instance.build(
        ids=["a", "b"],
        types=("gpu",),
        edges=[(0, 1)],
        output_bytes=[4.0, 0.0],
        classes=(DeviceClass("gpu", "gpu", 2, Kind.ACCELERATOR, number(8), link, number(1)),),
        servers=(Server("s", ("gpu0",), link),),
        **({"time_ms": [[1.0], [2.0]]} | arrays),
    )


@pytest.mark.parametrize("view", [False, True])
def test_arrays_of_the_caller_stay_the_callers(view):
    instance = made()
    for field in dataclasses.fields(instance):
        own = getattr(instance, field.name)
        if not isinstance(own, np.ndarray):
            continue
        given = own.copy()
        frozen = given[:]
        frozen.setflags(write=False)
        changed = instance.replace(**{field.name: frozen if view else given})
        assert given.flags.writeable
        before = fingerprint(changed)
        given[...] = 1 - given if given.dtype != bool else ~given
        assert np.array_equal(getattr(changed, field.name), own, equal_nan=own.dtype != bool)
        assert fingerprint(changed) == before == fingerprint(instance)
        with pytest.raises(ValueError, match="read-only"):
            getattr(changed, field.name)[...] = 0


def test_build_copies():
    times = np.array([[1.0], [2.0]])
    instance = made(time_ms=times)
    times[0] = 9.0
    assert instance.time_ms.tolist() == [[1.0], [2.0]]


def test_frozen_arrays_are_shared_between_copies():
    instance = made()
    assert instance.replace(name="other").time_ms is instance.time_ms


@pytest.mark.parametrize("number", [int, np.float64, np.int64])
def test_the_type_of_a_number_is_not_part_of_the_identity(number):
    assert fingerprint(made(number)) == fingerprint(made())


def test_the_identity_of_an_instance_with_servers_is_the_one_it_always_had():
    assert fingerprint(made()) == "85abf36f41a027a340f7713d3c58f974b1162259b3e8a0250c690a23dcc41bb2"
