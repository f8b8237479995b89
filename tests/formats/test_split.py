"""The paper's result format: backward nodes follow their partners, and defects are named."""

import json
import re

import numpy as np
import pytest

from placer.errors import InputError
from placer.formats.files import load_split
from placer.formats.paper_json import to_split
from placer.instance.cluster import DeviceClass, Kind
from placer.instance.instance import Instance
from placer.options import Communication, Schedule
from placer.plans.evaluate import device_loads
from placer.plans.plan import Plan
from tests.support.workloads import ROOT, known, needs_workloads, workload


@pytest.fixture
def instance() -> Instance:
    """Forward chain 0 -> 1 -> 2, backward 12 -> 11 -> 10, partners colocated."""
    return Instance.build(
        ids=["0", "1", "2", "10", "11", "12"],
        types=["acc", "cpu"],
        time_ms=[[1, 5]] * 6,
        transfer_ms=[0.5] * 6,
        edges=[(0, 1), (1, 2), (2, 5), (5, 4), (4, 3)],
        classes=[DeviceClass("acc", "acc", 2), DeviceClass("cpu", "cpu", 1, Kind.HOST)],
        backward=[False] * 3 + [True] * 3,
        colocate=["a", "b", "c"] * 2,
    )


def split(tmp_path, document):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(document))
    return path


def part(*nodes):
    return {"load": -1, "nodes": list(nodes)}


def test_backward_nodes_follow(tmp_path, instance):
    document = {"cpus": [part(0)], "fpgas": [part(1, 11), part(2)], "maxLoad": -1}
    plan = load_split(split(tmp_path, document), instance)
    assert [instance.devices[d].name for d in plan.device] == ["cpu0", "acc0", "acc1"] * 2
    plan = load_split(split(tmp_path, document), instance, pieces=True)
    assert plan.piece.tolist() == [-1, 0, 0] * 2


def test_round_trip(tmp_path, instance):
    plan = Plan(np.array([2, 0, 1, 2, 0, 1]))
    document = to_split(instance, plan, [3.0, 3.0, 10.0], 10.0)
    written = document.model_dump(exclude_none=True)
    assert written["fpgas"] == [{"load": 3, "nodes": [1, 11]}, {"load": 3, "nodes": [2, 12]}]
    assert written["cpus"] == [{"load": 10, "nodes": [0, 10]}]
    assert written["maxLoad"] == 10
    again = load_split(split(tmp_path, written), instance)
    assert again.device.tolist() == plan.device.tolist()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"fpgas": [part(0, 1), part(9)]}, r"fpgas\[1\]\.nodes\[0\]: there is no node 9"),
        ({"fpgas": [part(0, 1), part(2, 1)]}, r"fpgas\[1\]\.nodes\[1\]: node 1 is listed twice"),
        ({"fpgas": [part(0, 1)]}, r"node '2' is on no device \(2 such nodes\)"),
        (
            {"fpgas": [part(0), part(1), part(2)]},
            r"fpgas\[2\]: the instance has only 2 of these devices",
        ),
        ({"fpgas": [part(0)], "tpus": []}, r"tpus: unknown field .*"),
        ({"fpgas": [{"load": 1}]}, r"fpgas\[0\]\.nodes: this field is required"),
        ([], r"not a split of the paper's format: the top level must be an object, got a list"),
    ],
)
def test_defects_are_named(tmp_path, instance, document, expected):
    path = split(tmp_path, document)
    with pytest.raises(InputError) as caught:
        load_split(path, instance)
    assert re.fullmatch(expected, str(caught.value).removeprefix(f"{path}: ")), str(caught.value)


def test_partners_apart(tmp_path, instance):
    together = instance.replace(colocate=("a", "a", "c", "a", "a", "c"))
    with pytest.raises(
        InputError, match="'10' should follow its forward partners, and they are on acc0, acc1"
    ):
        load_split(split(tmp_path, {"fpgas": [part(0), part(1, 2)]}), together)


@needs_workloads
@pytest.mark.workload
@pytest.mark.parametrize(
    "name",
    ["bert24_inference", "bert24_training", "gnmt_inference", "inceptionv3_inference", "resnet50_inference"],
)
def test_expert_splits_have_the_published_load(name):
    instance = workload("throughput", f"layer_{name}")
    plan = load_split(ROOT / "experts" / f"{name}_expert.json", instance)
    value = device_loads(instance, plan.device).objective_ms(Communication.SEQUENTIAL, Schedule.ONE_F_ONE_B)
    assert value == pytest.approx(known()["throughput"][f"layer_{name}"]["baselines"]["expert"], rel=1e-5)
