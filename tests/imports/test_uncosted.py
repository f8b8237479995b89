"""Operators without a rule that may be products are errors, until they are allowed or measured."""

from dataclasses import replace

import pytest

from placer.errors import InputError, UsageError
from placer.imports.api import to_instance
from placer.imports.model import Model, Weight
from tests.imports.test_working import chained


def unknown(elements):
    """A chain whose last operator has no rule and reads weights of so many numbers."""
    model = chained([4e6] * 4)
    last = replace(model.operators[-1], op="expert_mix", flops=None, weights=("w",))
    weights = {"w": Weight(("w",), 4.0 * elements, elements, True, True)}
    return Model("m", model.source, (*model.operators[:-1], last), model.values, weights)


def test_large_weights_without_a_rule_are_an_error():
    with pytest.raises(InputError, match=r"expert_mix \(1, up to .* --allow-uncosted expert_mix"):
        to_instance(unknown(10**8), "a100:2")
    allowed = to_instance(unknown(10**8), "a100:2", allow_uncosted=["expert_mix"])
    assert any("no FLOP rule, bytes over bandwidth instead: expert_mix" in n for n in allowed.source.notes)


def test_small_ones_are_a_note():
    assert to_instance(unknown(1), "a100:2").n == 4


def test_what_is_allowed_must_occur():
    with pytest.raises(UsageError, match="no operator 'expert_mux'"):
        to_instance(unknown(1), "a100:2", allow_uncosted=["expert_mux"])


def test_measured_times_need_no_rule(tmp_path):
    times = tmp_path / "times.csv"
    times.write_text("node,type,ms\no3,a100,2.5\n")
    assert to_instance(unknown(10**8), "a100:2", profiles=[str(times)]).time_ms[3, 0] == 2.5
