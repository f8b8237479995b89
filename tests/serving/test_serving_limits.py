"""What more of a resource brings, on one card, where it follows from sizes and times."""

import pytest

from placer.instance.cluster import DeviceClass, Link, Server
from placer.instance.instance import Instance
from placer.language.configuration import language_model
from placer.serving.serve import serve, served
from placer.serving.serving_plan import Resource
from placer.serving.serving_request import Goal, ServingRequest
from tests.support.served import DENSE


def test_more_memory_has_room_for_more_sequences():
    """A sequence keeps 12 layers x 2 x 2 heads x 8 numbers of 2 bytes per token of context."""
    asked = ServingRequest(objective=Goal.CONCURRENCY, context=65536, limits=True)
    model, request = served(language_model(DENSE), "t4:1", asked)
    result = serve(model, request)
    (stage,) = result.plan.stages
    each = 12 * 2 * 2 * 8 * 2 * 65536
    (memory,) = [limit for limit in result.limits if limit.resource is Resource.MEMORY]
    assert result.value == (stage.room_bytes - stage.weight_bytes) // each
    assert memory.value == (stage.room_bytes + 2**30 - stage.weight_bytes) // each
    assert (memory.gain, memory.binding) == (memory.value - result.value, True)
    others = [limit for limit in result.limits if limit.resource not in (Resource.MEMORY, Resource.DEVICE)]
    assert len(others) == 2
    assert all(limit.gain == 0 for limit in others)


def test_twice_the_speed_halves_all_but_launches():
    asked = ServingRequest(objective=Goal.TPOT, context=512, limits=True)
    model, request = served(language_model(DENSE), "t4:1", asked)
    result = serve(model, request)
    launches = len(model.ids) * model.cluster.types["t4"].launch_ms
    gains = {limit.resource: limit.gain for limit in result.limits}
    assert gains[Resource.TIME] == pytest.approx((result.value - launches) / 2)
    assert gains[Resource.MEMORY] == 0


def test_nothing_is_said_unless_asked():
    model, request = served(language_model(DENSE), "t4:1", ServingRequest(objective=Goal.TPOT, context=512))
    assert serve(model, request).limits == ()


def chain(**given):
    """Four nodes of 10 ms and 1 byte, each with an output that takes 2 ms over a link of scale 1."""
    types = {"time_ms": [[10.0]] * 4, "transfer_ms": [2.0] * 4, "memory_bytes": [1.0] * 4}
    named = {"ids": list("abcd"), "types": ["t"], "edges": [(0, 1), (1, 2), (2, 3)]}
    return Instance.build(**named, **types, **given)


def brought(instance, **asked):
    model, request = served(instance, None, ServingRequest(limits=True, **asked))
    result = serve(model, request)
    return result, {(limit.resource, limit.device_class): limit for limit in result.limits}


def test_of_an_instance_one_device_more_and_links():
    """Two devices: loads 20 + 2, the way back 2 + 2 at the ends; M = 3 microbatches keep both busy."""
    cluster = {"classes": [DeviceClass("a", "t", 2, memory_limit_bytes=3.0)]}
    result, limits = brought(chain(**cluster), concurrency=8)
    assert result.value == pytest.approx(1e3 / 22)
    assert limits[Resource.LINK, "a"].value == pytest.approx(1e3 / 21)
    assert limits[Resource.TIME, "a"].value == pytest.approx(1e3 / 12)
    assert limits[Resource.MEMORY, "a"].gain == 0
    # A third device: 10 + 2, 10 + 2 + 2 and 20 + 2 are no better, so the node between two others counts.
    assert limits[Resource.DEVICE, "a"].gain == 0
    result, limits = brought(chain(classes=[DeviceClass("a", "t", 3)]), concurrency=8)
    assert limits[Resource.DEVICE, "a"].value == pytest.approx(1e3 / 14)


def test_of_an_instance_the_uplinks_of_servers():
    """The way to the other server takes 4 times as long as the devices' own links."""
    slow = Link(transfer_scale=4.0)
    servers = (Server("s", ("a0",), slow), Server("t", ("a1",), slow))
    classes = [DeviceClass("a", "t", 2, memory_limit_bytes=3.0)]
    result, limits = brought(chain(classes=classes, servers=servers), concurrency=8)
    assert result.value == pytest.approx(1e3 / 28)
    assert limits[Resource.LINK, "uplinks of servers"].value == pytest.approx(1e3 / 24)
    assert limits[Resource.LINK, "a"].gain == 0
    # One device more beside the last: three stages, of which two are in one server.
    assert limits[Resource.DEVICE, "a"].value == pytest.approx(1e3 / 22)


def test_one_card_more_keeps_more_sequences():
    asked = ServingRequest(objective=Goal.CONCURRENCY, context=65536, limits=True)
    model, request = served(language_model(DENSE), "t4:1", asked)
    result = serve(model, request)
    (more,) = [limit for limit in result.limits if limit.resource is Resource.DEVICE]
    assert more.device_class == model.cluster.classes[0].name
    two, request = served(language_model(DENSE), "t4:2", asked.model_copy(update={"limits": False}))
    assert more.value == serve(two, request).value > result.value
