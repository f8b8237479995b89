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
    with pytest.raises(placer.UsageError, match="there is no option 'speed'"):
        placer.serve(MODEL, "rtx4090:1", speed=1)


@pytest.mark.parametrize("devices", ["rtx3090:0", "rtx4090:0,rtx3090:0"])
def test_no_devices_are_refused(devices):
    with pytest.raises(placer.UsageError, match="no class has as many devices"):
        placer.serve(MODEL, devices)


@pytest.mark.parametrize("name", ["bert_training", "infeasible"])
def test_instances_that_train_are_refused(name):
    with pytest.raises(placer.UsageError, match="does not take this instance: it trains"):
        placer.serve(DATA / f"{name}.json", objective="tpot")


def test_a_prompt_is_part_of_the_context():
    with pytest.raises(placer.UsageError, match="--prompt 9000 is longer than --context 4096"):
        placer.serve(MODEL, "rtx3090:1", prompt=9000)


def test_what_is_possible_without_the_limits_is_said():
    least = placer.serve(MODEL, "rtx3090:1", context=512, objective="tpot").plan
    refused = placer.serve(MODEL, "rtx3090:1", context=512, max_ttft_ms=least.ttft_ms / 2)
    assert f"{least.tpot_ms:.4g} ms per token is the least, with {least.ttft_ms:,.4g} ms" in refused.message
