"""What more of each resource would bring: the question again, on devices that have more of it."""

from __future__ import annotations

from collections.abc import Callable

from placer.plans.result import Status
from placer.serving.more_resources import with_more
from placer.serving.serving_model import ServingModel
from placer.serving.serving_plan import Limit
from placer.serving.serving_questions import ask
from placer.serving.serving_request import Goal, ServingRequest
from placer.serving.token_time import Clock
from placer.serving.written_answer import written

__all__ = ["limits"]

NOTHING = 1e-6
"""Share of the value below which a gain is none."""


def limits(
    model: ServingModel,
    request: ServingRequest,
    value: float,
    seconds: float,
    interrupted: Callable[[], bool] = lambda: False,
) -> tuple[Limit, ...]:
    """Ask again with more of each resource (`placer.serving.more_resources`).

    Parameters
    ----------
    model, request
        What is served, and what was asked.
    value
        The proven answer.
    seconds
        For all questions together, in equal shares; those that are not answered to the end are left out.
    interrupted
        Asked whether to stop.

    Raises
    ------
    VerificationError
        When one of the answers does not hold: a defect of this software.
    """
    better = list(with_more(model, request))
    found = []
    for resource, name, more, other in better:
        answer = ask(other, request, Clock(seconds / len(better), interrupted))
        result = written(other, request, answer)
        if not answer.finished or answer.value is None or result.status is not Status.OPTIMAL:
            continue
        gain = (value - answer.value) if request.objective is Goal.TPOT else (answer.value - value)
        gain = gain if gain > NOTHING * value else 0.0
        found.append(
            Limit(
                resource=resource,
                device_class=name,
                more=more,
                value=answer.value,
                gain=gain,
                binding=gain > 0,
            )
        )
    return tuple(found)
