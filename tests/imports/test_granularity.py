"""Merging keeps the graph acyclic and loses nothing; modules read like the model."""

import numpy as np
import pytest

from placer.errors import UsageError
from placer.imports.granularity import Granularity, partition
from placer.imports.model import Kind, Model, Operator, Value, Weight, producers
from placer.imports.module_blocks import block_labels, module_labels
from placer.imports.notes import granularity_note
from placer.instance.origin import Source


def operator(name, inputs, weights=(), module=None, kind=Kind.OTHER):
    return Operator(
        id=name,
        name=name,
        op="Op",
        members=(name,),
        inputs=tuple(inputs),
        outputs=(name,),
        weights=tuple(weights),
        flops=1.0,
        moved_bytes=1.0,
        module=module,
        kind=Kind.PRODUCT if weights else kind,
    )


def model(*operators):
    values = {key: Value(4.0, True) for o in operators for key in (*o.inputs, *o.outputs)}
    weights = {key: Weight((key,), 4.0, 1, True, True) for o in operators for key in o.weights}
    return Model("m", Source("onnx", "m"), operators, values, weights)


def members(found, whole):
    return [[whole.operators[i].id for i in part.operators] for part in found]


def test_layers_take_what_trails_them():
    """A residual block: the sum joins the branch that comes last, the leading cast the first layer."""
    whole = model(
        operator("cast", ["x"]),
        operator("conv1", ["cast"], ["w1"]),
        operator("relu", ["conv1"]),
        operator("conv2", ["relu"], ["w2"]),
        operator("sum", ["relu", "conv2"]),
        operator("head", ["sum"], ["w3"]),
    )
    found = partition(whole, Granularity.LAYER)
    assert members(found, whole) == [["cast", "conv1", "relu"], ["conv2", "sum"], ["head"]]


def test_blocks_without_names_end_where_one_value_is_left():
    whole = model(
        operator("stem", ["x"], ["w0"]),
        operator("a", ["stem"], ["w1"]),
        operator("b", ["stem"], ["w2"]),
        operator("join", ["a", "b"]),
        operator("relu", ["join"]),
        operator("c", ["relu"], ["w3"]),
        operator("sum", ["c", "relu"]),
    )
    found = partition(whole, Granularity.MODULE)
    assert members(found, whole) == [["stem"], ["a", "b", "join", "relu"], ["c", "sum"]]
    assert [part.id for part in found] == ["block0", "block1", "block2"]


def test_modules_that_interleave_are_split_not_closed_into_a_cycle():
    """``a`` feeds ``b``, which feeds ``a`` again: the second half of ``a`` is a node of its own."""
    whole = model(
        operator("one", ["x"], ["w0"], module="net.0"),
        operator("two", ["one"], ["w1"], module="net.1"),
        operator("three", ["two"], ["w2"], module="net.0"),
        operator("four", ["three"], ["w3"], module="net.2"),
    )
    found = partition(whole, Granularity.MODULE)
    assert [part.id for part in found] == ["net.0", "net.1", "net.0#2", "net.2"]


def test_labels():
    paths = [
        "emb.word",
        "emb.norm",
        "enc",
        "enc.layer.0.fc",
        "enc.layer.1.mlp.0",
        "enc.norm",
        "pool.fc",
        None,
    ]
    assert module_labels(paths) == [
        "emb",
        "emb",
        None,
        "enc.layer.0",
        "enc.layer.1",
        "enc.norm",
        "pool",
        None,
    ]


OF_LANGUAGE_MODELS = (Granularity.SUBLAYER, Granularity.EXPERT)


@pytest.mark.parametrize("by", OF_LANGUAGE_MODELS)
def test_other_models_have_no_sublayers(by):
    with pytest.raises(UsageError, match=f"by {by} applies to language models"):
        partition(model(operator("o", ["x"], ["w"], None)), by)


@pytest.mark.parametrize("by", [by for by in Granularity if by not in OF_LANGUAGE_MODELS])
def test_random_graphs_stay_acyclic_and_whole(by):
    """Every operator is in one part; parts are numbered in topological order."""
    for seed in range(150):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 30))
        operators = []
        for i in range(n):
            reads = [f"o{j}" for j in range(i) if rng.random() < 3 / (i + 1)] or ["x"]
            weights = [f"w{i}"] if rng.random() < 0.4 else []
            module = rng.choice([None, "m", "m.0", f"m.{i // 5}.a", f"m.{rng.integers(3)}", "head"])
            operators.append(operator(f"o{i}", reads, weights, module))
        whole = model(*operators)
        found = partition(whole, by)
        assert sorted(i for part in found for i in part.operators) == list(range(n))
        assert len({part.id for part in found}) == len(found)
        number = {i: p for p, part in enumerate(found) for i in part.operators}
        source = producers(operators)
        for i, o in enumerate(operators):
            assert all(number[source[key]] <= number[i] for key in o.inputs if key in source)


@pytest.mark.parametrize(
    ("name", "layers", "blocks"),
    [
        ("resnet50", 54, 18),  # 53 convolutions and the classifier; stem, 16 residual blocks, classifier
        ("vgg19", 19, 19),
        ("squeezenet", 26, 18),  # stem, 8 fire modules of squeeze and expand, last convolution
        ("densenet121", 121, 63),  # stem, 58 dense layers, 3 transitions, classifier
        ("inception_v1", 58, 13),  # three convolutions, nine modules, classifier
    ],
)
def test_blocks_of_known_models(name, layers, blocks):
    pytest.importorskip("onnx", reason="onnx is not installed (extra 'onnx')")
    from placer.imports.onnx_model import read_onnx

    whole = read_onnx(f"light:{name}")
    assert len(partition(whole, Granularity.LAYER)) == layers
    assert len(partition(whole, Granularity.MODULE)) == blocks


def chained(*rows):
    """A chain of layers with a weight each, by module; a row may say what it reads instead."""
    made = []
    for k, row in enumerate(rows):
        path, reads = row if isinstance(row, tuple) else (row, k - 1)
        made.append(operator(f"o{k}", [f"o{reads}" if reads >= 0 else "x"], [f"w{k}"], module=path))
    return model(*made)


def block(path):
    return [f"{path}.up", f"{path}.down"]


def test_stages_are_split_into_their_blocks():
    """As in convolutional networks and Swin: what lies between the blocks of a stage stands alone."""
    whole = chained(
        "stem",
        *block("stages.0.blocks.0"),
        "stages.1.downsample",
        *block("stages.1.blocks.0"),
        *block("stages.1.blocks.1"),
        *block("stages.1.blocks.2"),
        "head",
    )
    found = list(dict.fromkeys(block_labels(whole)))
    stage = [f"stages.1.blocks.{k}" for k in range(3)]
    assert found == ["stem", "stages.0", "stages.1.downsample", *stage, "head"]
    assert [part.id for part in partition(whole, Granularity.MODULE)] == found


def test_blocks_may_be_numbered_within_their_names():
    """DenseNet and RegNet: no part of a path is a number."""
    rows = [row for b in (1, 2) for k in (1, 2, 3) for row in block(f"features.dense{b}.layer{k}")]
    assert len(set(block_labels(chained(*rows)))) == 6


def test_what_repeats_within_a_block_does_not_split_it():
    """Parts of different make, parts that are a layer each, a small share of the block, and branches."""
    different = chained("b.0.layer.0.q", "b.0.layer.0.o", "b.0.layer.1.up", "b.0.layer.1.down", *block("b.1"))
    assert set(block_labels(different)) == {"b.0", "b.1"}
    single = chained(*[f"b.{k}.mlp.{j}" for k in range(2) for j in range(3)])
    assert set(block_labels(single)) == {"b.0", "b.1"}
    rest = [f"b.0.other{c}" for c in "abcdef"]
    share = chained(*rest, *block("b.0.parts.0"), *block("b.0.parts.1"), *block("b.1"))
    assert set(block_labels(share)) == {"b.0", "b.1"}
    halves = (("up", 0), ("down", 1))
    experts = [(f"b.0.experts.{k}.{m}", later * (2 * k + 1)) for k in range(4) for m, later in halves]
    branches = chained("b.0.router", *experts, *block("b.1"))
    assert set(block_labels(branches)) == {"b.0", "b.1"}


def test_modules_are_suggested_where_nodes_are_many():
    """Four blocks of 300 layers each; nothing is suggested where there are few nodes, or modules as many."""

    def note(whole, by=Granularity.OPERATOR):
        return granularity_note(whole, partition(whole, by), by)

    large = chained(*[f"b.{k}.l" for k in range(4) for _ in range(300)])
    assert note(large) == "by operator: 1200 nodes; --by module makes 4"
    assert note(large, Granularity.MODULE) == "by module"
    assert note(chained(*[f"b.{k}.l" for k in range(4) for _ in range(30)])) == "by operator"
    assert note(chained(*[f"b.{k}" for k in range(1200)])) == "by operator"
