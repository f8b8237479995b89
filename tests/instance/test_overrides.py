"""Overrides by hand: what they mean, what is refused, and the optimum that trying every assignment finds."""

import numpy as np
import pytest

from placer.errors import InputError, UsageError
from placer.instance import overrides
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.constraints import Constraints
from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.check import check, plan_of
from placer.plans.result import Status
from placer.solving.solve import solve
from tests.support.brute import SCHEDULES, latency_optimum, throughput_optima
from tests.support.level import seeds
from tests.support.random_instances import random_instance, with_constraints, with_single_hosts


def chain(n: int = 6, gpus: int = 3) -> Instance:
    """A chain of nodes of 1 ms each without transfers; the ids are layer.0, layer.1, ..."""
    return Instance.build(
        ids=[f"layer.{i}" for i in range(n)],
        types=["gpu", "cpu"],
        time_ms=[[1.0, 4.0]] * n,
        edges=[(i, i + 1) for i in range(n - 1)],
        classes=[DeviceClass("gpu", "gpu", gpus), DeviceClass("cpu", "cpu", 1, Kind.HOST)],
    )


@pytest.mark.parametrize("seed", seeds(60))
def test_constraints_against_brute_force(seed):
    instance = with_constraints(
        random_instance(seed, nodes=5, training=bool(seed & 1), heterogeneous=bool(seed & 2)), seed
    )
    optima = throughput_optima(instance)
    for contiguity in ("free", "ordered"):
        for schedule in SCHEDULES:
            best = optima[contiguity, schedule, "sequential"]
            chosen = {"contiguous": contiguity == "ordered", "schedule": schedule, "gap": 0.0}
            result = solve(instance, method="milp", **chosen)
            if np.isinf(best):
                assert result.status is Status.INFEASIBLE, result
                continue
            assert result.objective == pytest.approx(best, rel=1e-6, abs=1e-9)
            assert result.bound == pytest.approx(best, rel=1e-6, abs=1e-9)
            assert check(instance, result) == []


@pytest.mark.parametrize("seed", seeds(30))
@pytest.mark.parametrize("method", ["dp", "auto"])
def test_few_devices_with_any_method(seed, method):
    instance = random_instance(seed, nodes=5, training=bool(seed & 1), heterogeneous=bool(seed & 2))
    instance = instance.replace(constraints=Constraints(max_devices=1 + seed % 3))
    best = throughput_optima(instance)["ordered", "1f1b", "sequential"]
    result = solve(instance, method=method, gap=0.0)
    if np.isinf(best):
        assert result.status is Status.INFEASIBLE
    else:
        assert result.objective == pytest.approx(best, rel=1e-6, abs=1e-9)
        assert result.bound == pytest.approx(best, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("seed", seeds(8))
def test_one_device_for_one_sample(seed):
    instance = with_single_hosts(random_instance(seed, nodes=4, latency=True, heterogeneous=bool(seed & 1)))
    alone = [instance.replace(pin=((d.name,),) * instance.n) for d in instance.devices]
    best = min(latency_optimum(restricted, 1) for restricted in alone)
    result = solve(instance, objective="latency", method="dp", gap=0.0, max_devices=1)
    assert (np.inf if result.objective is None else result.objective) == pytest.approx(best)


def test_pin_by_pattern_replaces_the_instances_pin():
    instance = chain().replace(pin=(("gpu0",),) * 6)
    result = solve(instance, pin={"layer.[0-2]": ("gpu1",), "layer.5": ("gpu2", "cpu")}, contiguous=False)
    assert [result.assignment[f"layer.{i}"] for i in (0, 1, 2, 3, 4)] == ["gpu1"] * 3 + ["gpu0"] * 2
    assert result.assignment["layer.5"] == "gpu2"
    assert check(instance, result) == []
    assert check(chain(), result) != []  # another instance


def test_an_exact_id_is_no_pattern():
    instance = chain(2).replace(ids=("a[0]", "a0"), names=("a[0]", "a0"))
    applied = overrides.apply(instance, Options(pin={"a[0]": ("gpu1",)}))
    assert applied.pin == (("gpu1",), ())


def test_forbid_together_apart_use():
    instance = chain()
    result = solve(
        instance,
        forbid={"*": ("gpu0",)},
        together=(("layer.0", "layer.3"),),
        apart=(("layer.4", "layer.5"),),
        use_devices=("gpu", "cpu"),
        contiguous=False,
    )
    assert result.status is Status.INFEASIBLE  # gpu0 is forbidden to all and must be used
    result = solve(
        instance, together=(("layer.0", "layer.3"),), apart=(("layer.4", "layer.5"),), use_devices=("gpu",)
    )
    place = result.assignment
    assert place["layer.0"] == place["layer.3"] == place["layer.1"]
    assert place["layer.4"] != place["layer.5"]
    assert set(place.values()) == {"gpu0", "gpu1", "gpu2"}
    assert result.objective == 4.0
    assert check(instance, result) == []


def test_together_joins_groups_and_keeps_their_members():
    instance = chain(4).replace(colocate=("g", None, "h", "h"))
    applied = overrides.apply(instance, Options(together=(("layer.0", "layer.2"),)))
    assert applied.colocate == ("g", None, "g", "g")


def test_max_devices():
    assert solve(chain(), max_devices=2).objective == 3.0
    assert solve(chain(), max_devices=1, method="dp").objective == 6.0
    assert len({*solve(chain(), max_devices=2, method="local-search").assignment.values()}) <= 2


def test_a_start_that_breaks_a_rule_is_refused():
    earlier = solve(chain())
    plan = plan_of(chain(), earlier)
    with pytest.raises(UsageError, match="does not hold here"):
        solve(chain(), start=plan, max_devices=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pin": {"nothing": ("gpu0",)}}, "no node is called 'nothing'"),
        ({"pin": {"layer.0": ("gpu7",)}}, "'gpu7' is no device"),
        ({"apart": (("layer.0",),)}, "needs at least two nodes"),
        ({"use_devices": ("tpu",)}, "'tpu' is no device"),
        ({"use_devices": ("gpu0", "gpu0")}, "'gpu0' is listed twice"),
        ({"use_devices": ("gpu", "gpu0")}, "'gpu0' is listed twice"),
        ({"apart": (("layer.*",),), "method": "dp"}, "method dp cannot keep nodes apart"),
        ({"use_devices": ("gpu0",), "objective": "latency"}, "for throughput only"),
        ({"apart": (("layer.*",),), "method": "milp", "formulation": "paper"}, "paper's program"),
        ({"max_devices": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_kept_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        solve(chain(), **options)


def test_rules_of_the_instance_are_checked():
    for wrong in (Constraints(apart=((0,),)), Constraints(apart=((0, 9),)), Constraints(use_devices=("x",))):
        with pytest.raises(InputError, match=r"constraints"):
            chain().replace(constraints=wrong)
