"""Reserve and excess cover what a device holds, for any plan: replayed value by value."""

import numpy as np
import pytest

from placer.imports.api import to_instance
from placer.imports.granularity import Granularity, partition
from placer.imports.model import Kind, Model, Operator, Value, Weight
from placer.imports.residence import residence
from placer.imports.working import live_bytes, working
from placer.instance.origin import Source
from tests.support.torch_zoo import decoder

GIB = 2.0**30


OF_GRAPHS = [by for by in Granularity if by not in (Granularity.SUBLAYER, Granularity.EXPERT)]
"""Those of any model; the others know what operators of a language model are."""


def random_model(seed):
    """A random graph with skip connections, views, and a few large values."""
    rng = np.random.default_rng(seed)
    operators, values = [], {"x": Value(50.0, True)}
    for i in range(int(rng.integers(4, 25))):
        known = list(values)
        inputs = tuple(
            dict.fromkeys(
                str(k) for k in rng.choice(known[-6:], size=min(len(known), int(rng.integers(1, 3))))
            )
        )
        view = bool(rng.random() < 0.2)
        size = (
            values[inputs[0]].size_bytes * float(rng.choice([0.5, 1]))
            if view
            else float(rng.integers(1, 100))
        )
        if rng.random() < 0.1:
            size *= 50
        kind = Kind.VIEW if view else Kind.OTHER
        operators.append(
            Operator(
                f"o{i}", f"o{i}", "Op", (f"o{i}",), inputs, (f"v{i}",), (), 1.0, 0.0, f"block.{i // 3}", kind
            )
        )
        values[f"v{i}"] = Value(size, True)
    return Model("random", Source("onnx", "r"), tuple(operators), values, {}, (list(values)[-1],))


def replayed(model, mine):
    """Most bytes that a device holds while it runs some of the operators in their order.

    Values arrive when their producer has run, and go when nobody here needs them and they were sent.  Views
    share the bytes of what they show.
    """
    shows = {}
    for o in model.operators:
        if o.kind is Kind.VIEW:
            shows[o.outputs[0]] = shows.get(o.inputs[0], o.inputs[0])
    made = {key: i for i, o in enumerate(model.operators) for key in o.outputs}
    most = 0.0
    for now in mine:
        held = {}
        for key, value in model.values.items():
            born = made.get(key, -1)
            read = [j for j in mine if key in model.operators[j].inputs]
            here = born in mine and (born == now or any(j >= now for j in read)) and born <= now
            came = born not in mine and born < now and any(j >= now for j in read)
            if here or came:
                bytes_of = shows.get(key, key)
                held[bytes_of] = max(held.get(bytes_of, 0.0), value.size_bytes)
        most = max(most, sum(held.values()))
    return most


@pytest.mark.parametrize("by", OF_GRAPHS)
@pytest.mark.parametrize("seed", range(12))
def test_any_cut_is_covered(seed, by):
    model = random_model(seed)
    parts = partition(model, by)
    work = working(model, parts, [1.0] * len(parts))
    rng = np.random.default_rng(seed)
    group = {p: g[0] for g in work.groups for p in g}
    for _ in range(20):
        place = rng.integers(0, 3, len(parts))
        place = [place[group.get(p, p)] for p in range(len(parts))]
        for d in range(3):
            mine = sorted(i for p, part in enumerate(parts) if place[p] == d for i in part.operators)
            room = work.reserve_bytes + sum(b for p, b in work.excess_bytes.items() if place[p] == d)
            assert replayed(model, mine) <= room + 1e-9
    whole = work.reserve_bytes + sum(work.excess_bytes.values())
    assert whole <= 1.1 * max(live_bytes(model)) + 1e-9


def chained(sizes, modules=None):
    """Operators one after the other, with outputs of these sizes."""
    operators, values = [], {"x": Value(1.0, True)}
    before = "x"
    for i, size in enumerate(sizes):
        module = None if modules is None else modules[i]
        operators.append(
            Operator(f"o{i}", f"o{i}", "Op", (f"o{i}",), (before,), (f"v{i}",), (), 1e9, 0.0, module)
        )
        before = f"v{i}"
        values[before] = Value(float(size), True)
    return Model("chain", Source("onnx", "c"), tuple(operators), values, {})


def test_only_the_last_node_pays_for_large_outputs():
    """Ten blocks of 1 GiB and a head of 30: the cards before it keep their memory."""
    model = chained([GIB] * 10 + [30 * GIB])
    parts = partition(model, Granularity.OPERATOR)
    work = working(model, parts, [1.0] * 11)
    assert work.reserve_bytes == 2 * GIB
    assert work.excess_bytes == {10: 29 * GIB}
    assert not work.groups


def test_what_passes_large_values_on_stays_together_and_counts_once():
    """After the head a cheap scaling and a cheap activation: 60 GiB live, not three times."""
    model = chained([GIB] * 10 + [30 * GIB] * 3)
    work = working(model, partition(model, Granularity.OPERATOR), [1.0] * 11 + [0.01] * 2)
    assert work.groups == ((10, 11, 12),)
    assert sum(work.excess_bytes.values()) + work.reserve_bytes == 60 * GIB


def test_dear_nodes_are_not_tied_together():
    """All outputs are large: then all devices reserve for them."""
    model = chained([GIB, *range(30, 40)])
    assert not working(model, partition(model, Granularity.OPERATOR), [1.0] * 11).groups


def reading(readers, weight, labels):
    """A chain of which some operators read one tensor."""
    model = chained([1.0] * len(labels), labels)
    operators = tuple(
        Operator(**{**vars(o), "weights": ("w",) if i in readers else ()})
        for i, o in enumerate(model.operators)
    )
    return Model("m", model.source, operators, model.values, {"w": weight})


def test_a_constant_of_several_blocks_lies_once_on_every_device():
    mask = Weight((), 100.0, 25, trainable=False, tied=False)
    labels = [f"layers.{i}" for i in range(6)]
    model = reading(range(6), mask, labels)
    instance = to_instance(model, "a100:2", by="module")
    assert not instance.memory_bytes.any()
    assert instance.classes[0].memory_reserve_bytes == max(live_bytes(model)) + 100
    one = reading([0, 1], mask, ["layers.0"] * 2 + labels[2:])
    found = residence(one, partition(one, Granularity.OPERATOR), devices=2, copy=True)
    assert not found.everywhere


def test_tied_weights_are_copied_or_joined():
    tied = Weight(("embed", "head"), 100.0, 25, trainable=True, tied=True)
    labels = ["embed", *(f"layers.{i}" for i in range(4)), "head"]
    model = reading([0, 5], tied, labels)
    copied = to_instance(model, "a100:2", by="module")
    assert copied.weight_bytes.sum() == 200
    assert not copied.groups
    assert any("each reader keeps a copy" in note for note in copied.source.notes)
    joined = to_instance(model, "a100:2", by="module", tied="colocate")
    assert joined.weight_bytes.sum() == 100
    assert len(joined.groups) == 1
    assert any("--tied copy" in note for note in joined.source.notes)
    single = to_instance(model, "a100:1", by="module")
    assert single.weight_bytes.sum() == 100  # one device holds it once
    layers = to_instance(reading(range(6), tied, labels), "a100:2", by="module")
    assert not layers.weight_bytes.any()  # six readers, two devices: reserved on both
    assert layers.classes[0].memory_reserve_bytes >= 100


def test_what_the_model_writes_stays_with_its_readers():
    cache = Weight(("cache",), 100.0, 25, trainable=False, tied=False, state=True)
    instance = to_instance(reading([0, 3], cache, ["a", "b", "c", "d"]), "a100:2")
    assert instance.memory_bytes.sum() == 100
    assert len(instance.groups) == 1


def test_reserves_are_shares_of_what_there_is():
    named, counted = (to_instance(chained([1.0] * 3), c) for c in ("4xa100-nvlink", "a100:4"))
    assert named.classes[0].reserve_bytes(0) == counted.classes[0].reserve_bytes(0)
    assert named.classes[0].memory_reserve_share == 0.1
    assert any("10 % of each device's memory" in note for note in named.source.notes)
    none = to_instance(chained([1.0] * 3), "a100:4", reserve=0)
    assert none.classes[0].memory_reserve_share == 0


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=pytest.mark.slow) for f in ("gemma2", "deepseek_v3")]
)
def test_real_models_are_covered(family):
    pytest.importorskip("transformers", reason="transformers is not installed (extra 'dev')")
    from placer.imports.torch_model import read_torch

    model = read_torch(lambda: decoder(family, batch=4, vocab_size=32000))
    rng = np.random.default_rng(0)
    for by in OF_GRAPHS:
        parts = partition(model, by)
        work = working(model, parts, [sum(model.operators[i].flops or 0 for i in p.operators) for p in parts])
        assert work.reserve_bytes < 0.5 * max(live_bytes(model))  # the head's values are the largest by far
        group = {p: g[0] for g in work.groups for p in g}
        for _ in range(3):
            cuts = np.sort(rng.integers(0, len(parts), 2))
            place = np.searchsorted(cuts, np.arange(len(parts)), side="right")
            place = [place[group.get(p, p)] for p in range(len(parts))]
            for d in range(3):
                mine = [i for p, part in enumerate(parts) if place[p] == d for i in part.operators]
                room = work.reserve_bytes + sum(b for p, b in work.excess_bytes.items() if place[p] == d)
                assert replayed(model, sorted(mine)) <= room + 1e-9
