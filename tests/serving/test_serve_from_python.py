"""`placer.serve` asks the same as the command line."""

import pytest

import placer
from placer.formats.files import load
from tests.support.plans import DATA

MODEL = DATA / "serving" / "llama-3-8b.json"


def test_limits_are_passed_on():
    fast = placer.serve(MODEL, "rtx3090:1,rtx4090:1", objective="tpot", context=512)
    assert fast.status is placer.Status.OPTIMAL
    assert fast.value == pytest.approx(fast.plan.tpot_ms)
    none = placer.serve(MODEL, "rtx4090:1", context=512, max_tpot_ms=fast.value / 10)
    assert none.status is placer.Status.INFEASIBLE


def test_an_instance_is_served():
    instance = load(DATA / "gpt_inference.json")
    answer = placer.serve(instance, objective="tpot")
    assert answer.bound == pytest.approx(answer.value, rel=1e-3)


def test_what_is_unknown_is_refused_in_a_line():
    with pytest.raises(placer.UsageError, match="serve: speed"):
        placer.serve(MODEL, "rtx4090:1", speed=1)
