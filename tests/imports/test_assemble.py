"""Merged instances cost what their operators cost; the backward pass by hand."""

import numpy as np
import pytest

from placer.imports.api import to_instance
from placer.imports.catalogue import find_cluster
from placer.imports.gradients import backward_pass
from placer.imports.granularity import Granularity, partition
from placer.imports.model import Kind, Model, Operator, Stash, Value, Weight
from placer.imports.working import live_bytes
from placer.instance.origin import Source
from placer.plans.evaluate import device_loads

CLUSTER = """
[links.wire]
gb_per_s = 1
source = "test"
[devices.slow]
memory_gib = 1
bandwidth_gb_per_s = 1
peak_tflops = { fp32 = 0.001 }
compute_efficiency = 1
bandwidth_efficiency = 1
launch_ms = 0
link = "wire"
source = "test"
[clusters.three]
classes = [{ device = "slow", count = 3 }]
"""


@pytest.fixture
def cluster(tmp_path):
    path = tmp_path / "three.toml"
    path.write_text(CLUSTER)
    return find_cluster(str(path))


def operator(name, inputs, outputs=None, weights=(), flops=1e6, kind=Kind.OTHER, **more):
    return Operator(
        id=name,
        name=name,
        op="Op",
        members=(name,),
        inputs=tuple(inputs),
        outputs=tuple(outputs or [name]),
        weights=tuple(weights),
        flops=flops,
        moved_bytes=0.0,
        kind=kind,
        **more,
    )


def chain():
    """Build conv, relu, split into two, matmul of both, sum with the relu; sizes in bytes."""
    operators = (
        operator("conv", ["x"], weights=["w"], flops=4e6, kind=Kind.PRODUCT),
        operator("relu", ["conv"], stash=Stash.OUTPUT),
        operator("split", ["relu"], ["a", "b"], flops=0.0, kind=Kind.VIEW),
        operator("matmul", ["a", "b"], flops=8e6, kind=Kind.PRODUCT),
        operator("sum", ["matmul", "relu"], flops=1e6, kind=Kind.SUM, stash=Stash.NOTHING),
    )
    sizes = {"x": 50, "conv": 1000, "relu": 1000, "a": 300, "b": 700, "matmul": 1000, "sum": 1000}
    values = {key: Value(float(size), True) for key, size in sizes.items()}
    weights = {"w": Weight(("w",), 36.0, 9, True, True)}
    return Model("chain", Source("onnx", "c"), operators, values, weights)


def test_backward_rules():
    """First layer: only its weights need a gradient; of the product of two activations, both do."""
    found = backward_pass(chain())
    assert found.factor == (1.0, 1.0, 0.0, 2.0, 1.0)
    # kept: the convolution's input; the relu's output for itself and, through the views, for the product
    assert found.stash_bytes == (50.0, 1000.0, 0.0, 0.0, 0.0)
    assert found.values == {"conv", "relu", "a", "b", "matmul", "sum"}


def test_frozen_models_have_no_backward_pass():
    model = chain()
    model.weights["w"] = Weight(("w",), 36.0, 9, False, False)
    assert backward_pass(model).factor == (None,) * 5


def test_training_graph(cluster):
    instance = to_instance(chain(), cluster, training=True, optimizer="adam", microbatches=4)
    at = {v: i for i, v in enumerate(instance.ids)}
    times = {v: instance.time_ms[i, 0] for v, i in at.items()}
    assert [times[v] for v in ("conv", "relu", "split", "matmul", "sum")] == [4, 1, 0, 8, 1]
    assert times["matmul/backward"] == 16
    assert times["conv/backward"] == 4
    edges = {(instance.ids[u], instance.ids[w]) for u, w in instance.edges}
    # the sum hands one gradient of 1000 bytes to both operands
    assert {("sum/backward", "matmul/backward"), ("sum/backward", "relu/backward")} <= edges
    assert instance.output_bytes[at["sum/backward"]] == 1000
    # both gradients of the product go to the split
    assert instance.output_bytes[at["matmul/backward"]] == 1000
    assert ("conv", "conv/backward") in edges
    assert instance.training.microbatches == 4
    assert instance.weight_bytes[at["conv"]] == 36
    assert instance.resident_bytes[at["conv"]] == 4 * 36
    assert instance.activation_bytes[at["relu"]] == 1000


def test_values_that_go_different_ways_have_senders(cluster):
    """Both halves go to the product; a second reader of one of them calls for senders."""
    model = chain()
    more = operator("extra", ["a"])
    values = model.values | {"extra": Value(300.0, True)}
    model = Model("m", model.source, (*model.operators, more), values, model.weights)
    instance = to_instance(model, cluster)
    at = {v: i for i, v in enumerate(instance.ids)}
    assert instance.output_bytes[at["split"]] == 0
    assert [instance.output_bytes[at[f"split/out{k}"]] for k in range(2)] == [300, 700]
    assert instance.colocate[at["split"]] == instance.colocate[at["split/out0"]] is not None
    device = np.zeros(instance.n, dtype=np.int64)
    device[at["matmul"]], device[at["extra"]] = 1, 2
    loads = device_loads(instance, device)
    sent = {"relu": 1000, "a": 300, "b": 700, "matmul": 1000}
    # device 0 sends both halves (relu stays, the sum is there too) and receives the product
    assert loads.send_ms.sum(axis=0)[0] == pytest.approx((sent["a"] + sent["b"]) / 1e6)
    assert loads.receive_ms.sum(axis=0)[0] == pytest.approx(sent["matmul"] / 1e6)
    assert loads.receive_ms.sum(axis=0)[2] == pytest.approx(sent["a"] / 1e6)


def test_peak_of_live_activations():
    """At the product: relu and its two views (no bytes of their own), and the product."""
    assert max(live_bytes(chain())) == 3000  # relu, matmul and the sum being written


@pytest.mark.parametrize("by", [Granularity.LAYER, Granularity.MODULE])
@pytest.mark.parametrize("name", ["inception_v1", "shufflenet", "densenet121"])
def test_merging_changes_no_load(name, by, cluster):
    """Any assignment of parts costs as much as the same assignment of their operators."""
    pytest.importorskip("onnx", reason="onnx is not installed (extra 'onnx')")
    from placer.imports.onnx_model import read_onnx

    model = read_onnx(f"light:{name}")
    parts = partition(model, by)
    fine, coarse = to_instance(model, cluster), to_instance(model, cluster, by=by)
    rng = np.random.default_rng(0)
    for _ in range(10):
        place = rng.integers(0, 3, len(parts))
        by_id = {part.id: place[p] for p, part in enumerate(parts)}
        of_operator = {
            model.operators[i].id: place[p] for p, part in enumerate(parts) for i in part.operators
        }
        few = np.array([by_id[v.partition("/out")[0] if v not in by_id else v] for v in coarse.ids])
        many = np.array(
            [of_operator[v.partition("/out")[0] if v not in of_operator else v] for v in fine.ids]
        )
        a, b = device_loads(fine, many), device_loads(coarse, few)
        for what in ("compute_ms", "receive_ms", "send_ms"):
            np.testing.assert_allclose(getattr(a, what), getattr(b, what), rtol=1e-9, err_msg=what)
    assert fine.weight_bytes.sum() == pytest.approx(coarse.weight_bytes.sum())


@pytest.mark.parametrize("name", ["resnet50", "inception_v1"])
def test_training_totals_do_not_depend_on_granularity(name, cluster):
    pytest.importorskip("onnx", reason="onnx is not installed (extra 'onnx')")
    from placer.imports.onnx_model import read_onnx

    model = read_onnx(f"light:{name}")
    by = {g: to_instance(model, cluster, by=g, training=True) for g in ("operator", "layer", "module")}
    for instance in by.values():
        backward = instance.backward
        ahead, behind = instance.time_ms[~backward].sum(), instance.time_ms[backward].sum()
        assert ahead == pytest.approx(by["operator"].time_ms[~by["operator"].backward].sum())
        assert 1.8 < behind / ahead < 2  # all products but the first cost twice, the rest once
        assert instance.activation_bytes.sum() == pytest.approx(by["operator"].activation_bytes.sum())
        assert instance.weight_bytes.sum() == 4 * model.parameters
