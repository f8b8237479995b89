"""The native format: round trips, defaults, identity, schema."""

import json
import math

import jsonschema
import networkx as nx
import numpy as np
import pytest

from placer.errors import InputError
from placer.formats import documents, native
from placer.formats.files import load, save
from placer.formats.graph import from_networkx, to_networkx
from placer.formats.text import validate
from placer.instance.cluster import DeviceClass, Kind, Link
from placer.instance.constraints import Constraints
from placer.instance.fingerprint import fingerprint
from placer.instance.instance import Instance
from placer.instance.origin import Origin
from placer.instance.training import Optimizer, Training
from tests.formats.test_bad_input import NATIVE, PAPER, changed
from tests.support.random_instances import random_cluster_memory, random_instance
from tests.support.workloads import THROUGHPUT, needs_workloads, workload

FIELDS = (
    "name", "ids", "names", "classes", "colocate", "layer", "pin", "forbid", "training", "origin", "source",
    "order",
)  # fmt: skip
ARRAYS = (
    "memory_bytes",
    "weight_bytes",
    "activation_bytes",
    "transfer_ms",
    "output_bytes",
    "edges",
    "backward",
    "class_time_ms",
    "class_transfer_ms",
)


def read(document) -> Instance:
    return native.to_instance(validate(documents.NativeInstance, document))


def assert_same(a: Instance, b: Instance) -> None:
    for field in FIELDS:
        assert getattr(a, field) == getattr(b, field), field
    for field in ARRAYS:
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field), err_msg=field)
    assert fingerprint(a) == fingerprint(b)


def test_what_is_read():
    instance = read(NATIVE)
    assert instance.types == ("cpu", "gpu")
    assert instance.time_ms.tolist() == [[2, 1], [math.inf, 1], [2, 1]]
    assert instance.memory_bytes.tolist() == [3, 0, 0]
    np.testing.assert_array_equal(instance.transfer_ms, [0.5, np.nan, 0])
    np.testing.assert_array_equal(instance.output_bytes, [np.nan, 100, np.nan])
    assert instance.edges.tolist() == [[0, 1], [1, 2]]
    assert instance.backward.tolist() == [False, False, True]
    assert instance.colocate == (None, None, "g")
    assert instance.classes == (
        DeviceClass("acc", "gpu", 2, Kind.ACCELERATOR, 10, Link(1.0, 1e6, 0.0)),
        DeviceClass("host", "cpu", 1, Kind.HOST),
    )
    # 100 bytes over 1e6 bytes/s are 0.1 ms
    np.testing.assert_allclose(instance.class_transfer_ms[:, 0], [0.5, 0.1, 0])


def test_integers_are_labels():
    document = changed(NATIVE, ("nodes/0/id", 7), ("edges/0", [7, "b"]), ("nodes/0/colocate", 3))
    instance = read(document)
    assert instance.ids[0] == "7"
    assert instance.colocate[0] == "3"
    assert instance.edges[0].tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(40))
def test_round_trip(tmp_path, seed):
    instance = random_instance(
        seed, nodes=8, training=seed % 2 == 0, heterogeneous=seed % 3 == 0, overrides=seed % 4 == 0
    )
    save(instance, tmp_path / "instance.json")
    assert_same(load(tmp_path / "instance.json"), instance)
    assert_same(from_networkx(to_networkx(instance), instance.classes), by_source(instance))


@pytest.mark.parametrize("seed", range(20))
def test_round_trip_of_clusters_with_reserves_and_orders(tmp_path, seed):
    instance = random_cluster_memory(seed)
    save(instance, tmp_path / "instance.json")
    assert_same(load(tmp_path / "instance.json"), instance)
    judge = jsonschema.Draft202012Validator(documents.schema())
    judge.validate(json.loads(native.to_json(instance)))


def by_source(instance: Instance) -> Instance:
    """networkx lists edges by source; nothing else may change."""
    return instance.replace(edges=instance.edges[np.argsort(instance.edges[:, 0], kind="stable")])


def test_names_layers_and_odd_text_survive(tmp_path):
    instance = Instance.build(
        name="große „Sache“ [bold]",
        ids=["a b", "[red]x[/red]", "0"],
        names=["first", "zweite ✓", "0"],
        layer=["l", None, "l"],
        types=["gpu"],
        time_ms=[[0.1 + 0.2], [1 / 3], [1e-300]],
        memory_bytes=[2.0**60 / 3, 1, 0],
        edges=[(2, 0), (0, 1)],
        classes=[DeviceClass("acc", "gpu", 1)],
    )
    save(instance, tmp_path / "odd.json")
    assert_same(load(tmp_path / "odd.json"), instance)
    assert fingerprint(load(tmp_path / "odd.json")) == fingerprint(instance)


def test_identity_is_of_the_content(tmp_path):
    """Layout of the file, order of edges and of the device types do not matter; each number does."""
    base = fingerprint(read(NATIVE))
    assert fingerprint(read(changed(NATIVE, ("edges", NATIVE["edges"][::-1])))) == base
    assert fingerprint(read(changed(NATIVE, ("name", "other")))) == base
    assert fingerprint(read(changed(NATIVE, ("nodes/0/time_ms", {"cpu": 2, "gpu": 1})))) == base
    path = tmp_path / "x.json"
    path.write_text(json.dumps(NATIVE, indent=7, sort_keys=True))
    assert fingerprint(load(path)) == base
    for change in (
        ("nodes/0/time_ms/gpu", 1.0000000000000002),
        ("nodes/0/transfer_ms", 0.25),
        ("nodes/0/memory_bytes", 4),
        ("nodes/1/output_bytes", 101),
        ("nodes/2/colocate", "h"),
        ("nodes/0/pin", ["acc"]),
        ("nodes/0/layer", "l"),
        ("edges/1", ["a", "c"]),
        ("cluster/classes/0/count", 3),
        ("cluster/classes/0/link/latency_ms", 0.1),
        ("cluster/classes/0/memory_reserve_bytes", 1),
        ("cluster/classes/0/memory_reserve_bytes", [0, 1]),
        ("cluster/order", ["acc1", "acc0"]),
        ("cluster/order", ["acc0", "acc1"]),
    ):
        assert fingerprint(read(changed(NATIVE, change))) != base, change


def test_paper_and_native_are_one_instance(tmp_path):
    path = tmp_path / "paper.json"
    path.write_text(json.dumps(PAPER))
    instance = load(path)
    save(instance, tmp_path / "native.json")
    assert_same(load(tmp_path / "native.json"), instance)


@needs_workloads
@pytest.mark.workload
@pytest.mark.parametrize("name", THROUGHPUT)
def test_workloads_survive(tmp_path, name):
    instance = workload("throughput", name)
    save(instance, tmp_path / "native.json")
    assert_same(load(tmp_path / "native.json"), instance)


def test_files_are_valid_by_the_schema():
    schema = documents.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    judge = jsonschema.Draft202012Validator(schema)
    judge.validate(NATIVE)
    for seed in range(20):
        instance = random_instance(seed, heterogeneous=True, overrides=True, training=True)
        judge.validate(json.loads(native.to_json(instance)))
    for change in (
        ("nodes/0/id", None),
        ("nodes/0/x", 1),
        ("version", 2),
        ("edges/0", ["a"]),
        ("cluster/classes/0/count", -1),
    ):
        assert not judge.is_valid(changed(NATIVE, change)), change


def test_networkx_errors_name_the_node():
    classes = [DeviceClass("acc", "gpu", 1)]
    graph = nx.DiGraph([("a", "b")])
    with pytest.raises(InputError, match=r"^node 'a'\.time_ms: this field is required$"):
        from_networkx(graph, classes)
    nx.set_node_attributes(graph, {v: {"gpu": 1.0} for v in graph}, "time_ms")
    assert from_networkx(graph, classes).edges.tolist() == [[0, 1]]
    graph.nodes["b"]["memory"] = 3
    with pytest.raises(InputError, match=r"^node 'b'\.memory: unknown field \(did you mean 'memory_bytes'"):
        from_networkx(graph, classes)
    with pytest.raises(InputError, match="directed"):
        from_networkx(nx.Graph(), classes)
    with pytest.raises(InputError, match="the node itself is the id"):
        from_networkx(_with_id(), classes)


def _with_id() -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_node("a", id="a", time_ms={"gpu": 1.0})
    return graph


def test_training_memory_and_origin():
    document = changed(
        NATIVE,
        ("nodes/0/weight_bytes", 10),
        ("nodes/0/activation_bytes", 7),
        ("nodes/0/origin", {"op": "Conv", "operators": ["y"], "parameters": ["w", "b"], "flops": 12}),
        ("training", {"optimizer": "adam", "microbatches": 4}),
        ("source", {"kind": "onnx", "name": "m.onnx"}),
    )
    instance = read(document)
    assert instance.resident_bytes.tolist() == [3 + 4 * 10, 0, 0]
    assert instance.origin[0] == Origin("Conv", None, ("y",), ("w", "b"), 12.0)
    assert_same(read(json.loads(native.to_json(instance))), instance)
    bare = instance.replace(origin=(None,) * 3, source=None)
    assert fingerprint(bare) == fingerprint(instance)
    assert fingerprint(instance.replace(training=Training(Optimizer.SGD, 4))) != fingerprint(instance)


def test_constraints():
    ids = [node["id"] for node in NATIVE["nodes"]]
    document = changed(
        NATIVE, ("constraints", {"apart": [ids[:2]], "max_devices": 2, "use_devices": ["acc0", "acc1"]})
    )
    instance = read(document)
    assert instance.constraints == Constraints(((0, 1),), 2, ("acc0", "acc1"))
    assert_same(read(json.loads(native.to_json(instance))), instance)
    assert fingerprint(instance) != fingerprint(read(NATIVE))
    with pytest.raises(InputError, match=r"constraints\.apart\[0\]\[1\]: there is no node 'x'"):
        read(changed(NATIVE, ("constraints", {"apart": [[ids[0], "x"]]})))
