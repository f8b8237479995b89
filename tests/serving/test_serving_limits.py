"""What more of a resource brings, on one card, where it follows from sizes and times."""

import pytest

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
    assert all(limit.gain == 0 for limit in result.limits if limit is not memory)


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
