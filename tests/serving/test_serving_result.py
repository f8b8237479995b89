"""The documents of serving: what is written is read back, and nothing else."""

import pytest
from pydantic import ValidationError

from placer.plans.result import Status
from placer.serving.serving_plan import ServingResult
from placer.serving.serving_request import Goal, ServingRequest

ASKED = ServingRequest(objective=Goal.TPOT, context=4096, concurrency=8, max_ttft_ms=500.0)


def test_an_answer_is_read_back():
    answer = ServingResult(
        model="m", devices="2xt4", request=ASKED, status=Status.INFEASIBLE, value=None, bound=None
    )
    assert ServingResult.model_validate_json(answer.to_json()) == answer


@pytest.mark.parametrize("field", ["context", "concurrency", "max_tpot_ms", "max_ttft_ms", "time_limit"])
def test_a_request_has_positive_figures(field):
    with pytest.raises(ValidationError, match=field):
        ServingRequest.model_validate({field: 0})
