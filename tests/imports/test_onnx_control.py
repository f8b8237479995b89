"""Branches and loops of ONNX models, against ONNX Runtime."""

import json

import numpy as np
import pytest

from placer.errors import InputError

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra 'onnx')")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from placer.exports.api import export  # noqa: E402
from placer.imports.api import import_onnx  # noqa: E402
from placer.imports.model import Kind  # noqa: E402
from placer.imports.onnx_model import read_onnx  # noqa: E402
from tests.support.onnx_graphs import (  # noqa: E402
    BOOL,
    INT,
    body,
    floats,
    ints,
    node,
    save,
    session,
    sizes,
    value,
)

# -- branches --------------------------------------------------------------------------------------


def conditional(folder, condition, inputs, tensors=()):
    """A cheap branch and a costly one, which has weights and two operators."""
    cheap = body([node("Neg", "x", "n")], [], [value("n", [4, 4])])
    costly = body(
        [node("MatMul", "x,w", "m"), node("Relu", "m", "r"), node("MatMul", "r,w", "o")],
        [],
        [value("o", [4, 4])],
        [floats("w", 4, 4)],
    )
    nodes = [*condition, node("If", "c", "y", then_branch=cheap, else_branch=costly), node("Tanh", "y", "z")]
    return save(folder, nodes, [value("x", [4, 4]), *inputs], [value("z", None)], tensors)


def test_a_branch_that_is_known_takes_the_place_of_the_operator(tmp_path):
    """Of a shape: four rows are not five."""
    condition = [node("Shape", "x", "s"), node("Gather", "s,zero", "d"), node("Equal", "d,five", "c")]
    path = conditional(tmp_path, condition, [], [ints("zero", 0), ints("five", 5)])
    model = read_onnx(path)
    assert [o.op for o in model.operators] == ["MatMul", "Relu", "MatMul", "Tanh"]
    assert [o.id for o in model.operators][:2] == ["y/else_branch/m", "y/else_branch/r"]
    assert model.parameters == 16


def test_a_branch_that_is_unknown_counts_as_the_costlier(tmp_path):
    path = conditional(tmp_path, [], [value("c", [], BOOL)])
    model = read_onnx(path)
    assert [o.op for o in model.operators] == ["If", "Tanh"]
    assert model.operators[0].flops == 2 * 2 * 64 + 16
    assert model.operators[0].kernels == 3
    assert [model.weights[w].elements for w in model.operators[0].weights] == [16]
    assert any(
        "costlier branch (else: 272 FLOPs, against 16); --value c=N decides it" in n for n in model.notes
    )
    assert [o.op for o in read_onnx(path, values={"c": (1,)}).operators] == ["Neg", "Tanh"]


@pytest.mark.parametrize("values", [None, {"c": (0,)}, {"c": (1,)}])
def test_parts_of_a_model_with_branches(tmp_path, values):
    """Parts compute the whole, the operator whole or its branch cut in two."""
    path = conditional(tmp_path, [], [value("c", [], BOOL)])
    instance = import_onnx(path, cluster="t4:2", values=values)
    from tests.support.plans import planned

    devices = [f"t4#{min(v, 1)}" for v in range(instance.n)]
    names = [d.name for d in instance.devices][:2]
    result = planned(instance, [names[int(d[-1])] for d in devices], contiguous=False)
    remarks = export(result, "onnx-parts", tmp_path / "parts", instance=instance, model=path)
    assert any("If 'y' takes its" in remark for remark in remarks) == (values is not None)
    feeds = {"x": np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)}
    for flag in (True, False) if values is None else (bool(values["c"][0]),):
        tensors = feeds | {"c": np.array(flag)}
        expected = session(path).run(None, tensors)[0]
        for part in json.loads((tmp_path / "parts" / "manifest.json").read_text())["parts"]:
            feed = {name: tensors[name] for name in part["inputs"]}
            made = session(tmp_path / "parts" / part["file"]).run(part["outputs"], feed)
            tensors |= dict(zip(part["outputs"], made, strict=True))
        np.testing.assert_allclose(tensors["z"], expected, rtol=1e-6)


# -- loops -----------------------------------------------------------------------------------------


def looped(folder, limit=(), begin=(), inputs=(), ends=("Identity", "go", "on"), state=None):
    """``x = x w`` per pass; what ends it is up to the caller."""
    inner = body(
        [node(ends[0], *ends[1:]), node("MatMul", "a,w", "b"), node("Identity", "b", "scan")],
        [value("i", [], INT), value("go", [], BOOL), value("a", None)],
        [value("on", [], BOOL), value("b", None), value("scan", None)],
    )
    reads = [limit[0].name if limit else "", begin[0].name if begin else "", "x"]
    nodes = [helper.make_node("Loop", reads, ["y", "all"], body=inner)]
    tensors = [floats("w", 4, 4), *(t for t in (*limit, *begin) if isinstance(t, TensorProto))]
    given = [value("x", [2, 4]), *inputs]
    return save(folder, nodes, given, [value("y", None), value("all", None)], tensors)


def test_a_loop_counts_its_passes(tmp_path):
    path = looped(tmp_path, limit=[ints("n", 7)])
    model = read_onnx(path)
    (loop,) = model.operators
    assert (loop.flops, loop.kernels) == (7 * 2 * 8 * 4, 7)
    assert sizes(model)["all"] == 7 * 2 * 4 * 4
    assert session(path).run(["all"], {"x": np.ones((2, 4), np.float32)})[0].shape == (7, 2, 4)


def test_a_loop_without_a_number_is_refused_with_what_would_help(tmp_path):
    path = looped(tmp_path, limit=[value("n", [], INT)], inputs=[value("n", [], INT)])
    with pytest.raises(InputError, match=r"give --value n=N, or --passes y=N"):
        read_onnx(path)
    assert read_onnx(path, values={"n": (3,)}).flops() == 3 * 64
    assert read_onnx(path, passes={"y": 5}).flops() == 5 * 64
    assert read_onnx(path, passes={"": 0}).flops() == 0


def test_a_loop_whose_condition_is_false_runs_once(tmp_path):
    inner = body(
        [node("MatMul", "a,w", "b"), node("Identity", "never", "on")],
        [value("i", [], INT), value("go", [], BOOL), value("a", None)],
        [value("on", [], BOOL), value("b", None)],
    )
    nodes = [helper.make_node("Loop", ["n", "", "x"], ["y"], body=inner)]
    tensors = [floats("w", 4, 4), numpy_helper.from_array(np.array(False), "never")]
    inputs = [value("x", [2, 4]), value("n", [], INT)]
    assert read_onnx(save(tmp_path, nodes, inputs, [value("y", None)], tensors)).flops() == 64


def test_a_loop_that_may_end_early_counts_to_its_limit(tmp_path):
    """Its condition depends on the data."""
    inner = body(
        [
            node("ReduceSum", "a", "t", keepdims=0),
            node("Greater", "t,zero", "on"),
            node("MatMul", "a,w", "b"),
        ],
        [value("i", [], INT), value("go", [], BOOL), value("a", None)],
        [value("on", [], BOOL), value("b", None)],
    )
    nodes = [helper.make_node("Loop", ["n", "", "x"], ["y"], body=inner)]
    tensors = [floats("w", 4, 4), ints("n", 9), numpy_helper.from_array(np.float32(0), "zero")]
    model = read_onnx(save(tmp_path, nodes, [value("x", [2, 4])], [value("y", None)], tensors))
    assert model.flops(Kind.PRODUCT) == 9 * (64 + 8 + 1)
    assert any("may end before its limit of 9 passes" in note for note in model.notes)


def test_a_counter_in_the_model_ends_a_loop(tmp_path):
    """``while k < len(x): k += 2``, over a state that grows by a row each time."""
    inner = body(
        [
            node("Add", "k,two", "k2"),
            node("Less", "k2,end", "on"),
            helper.make_node("Concat", ["a", "row"], ["b"], axis=0),
            node("MatMul", "b,w", "c"),
        ],
        [value("i", [], INT), value("go", [], BOOL), value("k", [], INT), value("a", None)],
        [value("on", [], BOOL), value("k2", [], INT), value("c", None)],
    )
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s,zero", "end"),
        node("Less", "zero,end", "start"),
        helper.make_node("Loop", ["", "start", "zero", "x"], ["last", "y"], body=inner),
    ]
    tensors = [floats("w", 4, 4), floats("row", 1, 4), ints("zero", 0), ints("two", 2)]
    path = save(tmp_path, nodes, [value("x", ["n", 4])], [value("y", None)], tensors)
    for rows in (3, 8):
        passes = -(-rows // 2)
        model = read_onnx(path, dims={"n": rows})
        assert model.flops() == sum(2 * (rows + p) * 16 for p in range(1, passes + 1)) + 0
        made = session(path).run(["y"], {"x": np.ones((rows, 4), np.float32)})[0]
        assert sizes(model)["y"] == made.nbytes


def test_scan_runs_once_per_slice(tmp_path):
    inner = body(
        [node("Add", "h,t", "s"), node("MatMul", "s,w", "h2"), node("Identity", "h2", "o")],
        [value("h", [1, 4]), value("t", [1, 4])],
        [value("h2", [1, 4]), value("o", [1, 4])],
        [floats("w", 4, 4)],
    )
    nodes = [
        helper.make_node("Scan", ["h0", "x"], ["h", "y"], body=inner, num_scan_inputs=1, scan_input_axes=[1])
    ]
    path = save(
        tmp_path, nodes, [value("x", [1, 6, 4])], [value("h", None), value("y", None)], [floats("h0", 1, 4)]
    )
    model = read_onnx(path)
    assert model.flops() == 6 * (4 + 2 * 16)
    assert model.operators[0].kernels == 12
    assert sizes(model)["y"] == session(path).run(["y"], {"x": np.ones((1, 6, 4), np.float32)})[0].nbytes


def test_sequences_of_tensors(tmp_path):
    nodes = [
        helper.make_node("SplitToSequence", ["x", "three"], ["parts"], axis=0),
        node("SequenceAt", "parts,last", "p"),
        node("SequenceInsert", "parts,p", "more"),
        helper.make_node("ConcatFromSequence", ["more"], ["y"], axis=0),
        node("MatMul", "y,w", "z"),
    ]
    tensors = [ints("three", 3), ints("last", -1), floats("w", 4, 2)]
    path = save(tmp_path, nodes, [value("x", [8, 4])], [value("z", None)], tensors)
    model = read_onnx(path)
    assert (
        sizes(model)["z"]
        == session(path).run(None, {"x": np.ones((8, 4), np.float32)})[0].nbytes
        == 10 * 2 * 4
    )
    assert sizes(model)["more"] == 10 * 4 * 4
