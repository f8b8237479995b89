"""Shards found in graphs: against published formulas, against language models, and by hand."""

import json
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from placer.cli import main
from placer.errors import UsageError
from placer.imports.api import import_onnx, import_torch
from placer.imports.language_api import as_each_has_it
from placer.imports.tensor_axes import Axes
from placer.instance.origin import Source
from placer.language.configuration import language_model

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional
B, S, H, HEADS = 3, 16, 48, 6


class Attention(nn.Module):
    """Heads of queries, fewer of keys and values; one product for all three, or one each."""

    def __init__(self, width, heads, kv_heads, *, bias, fused):
        super().__init__()
        size = width // heads
        self.sizes = [heads * size, kv_heads * size, kv_heads * size]
        self.shape = (heads, kv_heads, size)
        ways = [sum(self.sizes)] if fused else self.sizes
        self.first = nn.ModuleList(nn.Linear(width, n, bias=bias) for n in ways)
        self.last = nn.Linear(width, width, bias=bias)

    def forward(self, x):
        batch, tokens, width = x.shape
        heads, kv_heads, size = self.shape
        made = [first(x) for first in self.first]
        q, k, v = made[0].split(self.sizes, dim=-1) if len(made) == 1 else made
        q = q.view(batch, tokens, heads, size).transpose(1, 2)
        k, v = (part.view(batch, tokens, kv_heads, size).transpose(1, 2) for part in (k, v))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != kv_heads)
        return self.last(out.transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):
    """A layer of a transformer: of GPT, or of Llama with a gate."""

    def __init__(self, *, kv_heads=HEADS, gate=False, fused=False):
        super().__init__()
        width, inner = H, 4 * H
        norm = nn.RMSNorm if gate else nn.LayerNorm
        self.before, self.behind = norm(width), norm(width)
        self.attention = Attention(width, HEADS, kv_heads, bias=not gate, fused=fused)
        self.gate = nn.Linear(width, inner, bias=False) if gate else None
        self.up = nn.Linear(width, inner, bias=not gate)
        self.down = nn.Linear(inner, width, bias=not gate)

    def forward(self, x):
        x = x + self.attention(self.before(x))
        y = self.behind(x)
        inner = F.gelu(self.up(y)) if self.gate is None else F.silu(self.gate(y)) * self.up(y)
        return x + self.down(inner)


class Tower(nn.Module):
    """Token embedding, a block, a norm and a head."""

    def __init__(self, vocabulary=101, **block):
        super().__init__()
        self.table = nn.Embedding(vocabulary, H)
        self.layer = Block(**block)
        self.norm = (nn.RMSNorm if block.get("gate") else nn.LayerNorm)(H)
        self.head = nn.Linear(H, vocabulary, bias=False)

    def forward(self, tokens):
        return self.head(self.norm(self.layer(self.table(tokens))))


def planned(module, *shape, shards, dtype=torch.bfloat16, **options):
    options = {"training": True, "optimizer": "mixed-adam", **options}
    return import_torch(
        lambda: (module().to(torch.bfloat16), (torch.zeros(shape, dtype=dtype),)),
        cluster="a100-80gb:1",
        shards=shards,
        **options,
    )


@cache
def tower(*, sequence_parallel=False, **block):
    """A tower that 2, 3, 4 or 6 devices split."""
    return planned(
        lambda: Tower(**block),
        B,
        S,
        dtype=torch.long,
        shards=[1, 2, 3, 4, 6],
        sequence_parallel=sequence_parallel,
    )


def split_evenly(instance):
    """Figures of the degrees that divide the heads."""
    return [shards for shards in instance.shards if shards.degree != 4]


def in_layer(instance, values):
    """Sum over the operators of the layer, both passes, by direction."""
    found = np.zeros(2)
    for v, name in enumerate(instance.names):
        if name.startswith("layer."):
            found[int(instance.backward[v])] += values[v]
    return found


@pytest.mark.parametrize("sequence_parallel", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_a_layer_of_gpt_keeps_what_the_formula_says(sequence_parallel, fused):
    # Korthikanti et al., 2022: s b h (10 + 24 / t), or all over t; two of the ten are masks of dropout.
    # Behind the layer, norm and head keep what they read, two bytes a number each.
    for shards in split_evenly(tower(sequence_parallel=sequence_parallel, fused=fused)):
        t = shards.degree
        per_number = (8 + 24 + 4) / t if sequence_parallel else 8 + 24 / t + 4
        assert shards.activation_bytes.sum() == pytest.approx(B * S * H * per_number, rel=1e-12)


def test_weights_and_sums_of_a_layer_of_gpt():
    found = tower(fused=False)
    stream = 2 * B * S * H
    for shards in split_evenly(found):
        t = shards.degree
        cut, whole = 12 * H * H + 3 * H + 4 * H, 4 * H + 2 * H
        assert in_layer(found, shards.weight_bytes).sum() == pytest.approx(2 * (cut / t + whole))
        assert in_layer(found, shards.collective_bytes).tolist() == [2 * stream, 2 * stream]
        assert shards.collective_bytes.sum() == 6 * stream  # and the embedding forward, the head backward


LLAMA = {
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "vocab_size": 101,
    "hidden_size": H,
    "intermediate_size": 4 * H,
    "num_hidden_layers": 1,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 3,
}


@pytest.mark.parametrize("sequence_parallel", [False, True])
def test_a_llama_is_split_as_the_import_of_its_configuration_splits_it(sequence_parallel):
    found = tower(gate=True, kv_heads=3, sequence_parallel=sequence_parallel)
    products = [o is not None and o.op in ("linear", "scaled_dot_product_attention") for o in found.origin]
    for shards in found.shards[1::2]:
        assert shards.degree in (3, 6)  # three heads of keys and values: one each, or one for two devices
        other, sums = as_each_has_it(
            language_model(LLAMA),
            "a100-80gb:1",
            shards.degree,
            source=Source("hf", "m"),
            work={"batch": B, "sequence": S, "sequence_parallel": sequence_parallel},
            by="operator",
            training=True,
            optimizer="mixed-adam",
        )
        assert shards.weight_bytes.sum() == pytest.approx(other.weight_bytes.sum(), rel=1e-12)
        assert shards.collective_bytes.sum() == sums.sum()
        same = [o is not None and o.op in ("linear", "attention") for o in other.origin]
        assert shards.time_ms[products].sum() == pytest.approx(other.time_ms[same].sum(), rel=1e-9)


def test_heads_that_a_degree_does_not_divide_stay_whole_and_are_named():
    found = tower(fused=False)
    (shards,) = [shards for shards in found.shards if shards.degree == 4]
    assert in_layer(found, shards.collective_bytes).tolist() == [2 * B * S * H] * 2
    (note,) = [note for note in found.source.notes if note.startswith("4 shards")]
    assert "3 of 8 products are split; whole on each device: linear (4)" in note
    assert "not in 4 parts, such as layer.attention.first.0" in note


class Chain(nn.Module):
    """Products with nothing but activations between them."""

    def __init__(self, widths):
        super().__init__()
        self.products = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(widths))

    def forward(self, x):
        for product in self.products:
            x = F.relu(product(x))
        return x


def test_products_of_a_chain_form_pairs():
    found = planned(lambda: Chain([8, 16, 8, 16, 8]), B, 8, shards=[2])
    (shards,) = found.shards
    assert shards.weight_bytes.tolist()[:7:2] == [128, 128, 128, 128]
    # Pairs of the inner widths: two sums of 8 numbers forward, one backward (no gradient for the input).
    assert shards.collective_bytes.sum() == 3 * 2 * B * 8


class Experts(nn.Module):
    """A router and stacked experts that all tokens pass."""

    def __init__(self):
        super().__init__()
        self.norm, self.router = nn.LayerNorm(8), nn.Linear(8, 4, bias=False)
        self.up, self.down = (nn.Parameter(torch.zeros(4, *shape)) for shape in ((8, 32), (32, 8)))

    def forward(self, x):
        y = self.norm(x)
        share = self.router(y).softmax(-1).t().unsqueeze(-1)
        return x + (torch.bmm(F.gelu(torch.bmm(y.expand(4, -1, -1), self.up)), self.down) * share).sum(0)


def test_experts_are_split_inside_and_routers_not():
    found = planned(Experts, B, 8, shards=[2])
    weights = {name: w for name, w in zip(found.ids, found.shards[0].weight_bytes, strict=True) if w}
    assert sorted(weights.values()) == [2 * 16, 2 * 32, 2 * 4 * 8 * 16, 2 * 4 * 8 * 16]


class Positions(nn.Module):
    """A pair of products behind a table of which always the same rows are taken."""

    def __init__(self):
        super().__init__()
        self.table, self.chain = nn.Embedding(64, 8), Chain([8, 16, 8])

    def forward(self, x):
        return self.chain(F.layer_norm(x + self.table(torch.arange(x.shape[0])), [8]))


def test_tables_of_positions_stay_whole():
    found = planned(Positions, B, 8, shards=[2])
    (shards,) = found.shards
    assert shards.weight_bytes.sum() == 2 * (64 * 8 + 8 * 16)
    assert shards.collective_bytes.sum() == 2 * 2 * B * 8


def test_what_forms_no_pairs_and_measured_times_are_refused(tmp_path):
    class Norms(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.product = nn.LayerNorm(8), nn.Linear(8, 8)

        def forward(self, x):
            return self.norm(self.product(x))

    with pytest.raises(UsageError, match="cannot be split into 2 shards: no products form pairs"):
        planned(Norms, B, 8, shards=[2])
    with pytest.raises(UsageError, match="--profile and --shards exclude each other"):
        planned(Norms, B, 8, shards=[2], profiles=["times.csv"])
    with pytest.raises(UsageError, match="applies to --shards"):
        planned(Norms, B, 8, shards=[], sequence_parallel=True)
    with pytest.raises(UsageError, match="shards are at least 1"):
        planned(Norms, B, 8, shards=[0])


def test_factors_are_refined_by_views_and_side_by_side():
    axes = Axes()
    for name, shape in (("all", [40]), ("q", [24]), ("k", [8]), ("v", [8]), ("heads", [6, 4])):
        axes.add(name, shape)
    axes.split(axes.dims["all"][0], [axes.dims[name][0] for name in "qkv"])
    axes.same(axes.dims["q"][0], [f for dim in axes.dims["heads"] for f in dim])
    (head, inner) = axes.resolved(axes.dims["q"][0])
    assert [axes.size(head), axes.size(inner)] == [6, 4]
    assert axes.share("all", {head: 3}) == pytest.approx((24 / 3 + 16) / 40)
    axes.keep(axes.dims["all"][0])
    assert all(axes.is_whole(f) for f in axes.of("all"))


def test_factors_that_do_not_fit_stay_whole():
    axes = Axes()
    axes.add("a", [6])
    axes.add("b", [3, 2])
    axes.add("c", [2, 3])
    flat = {name: [f for dim in axes.dims[name] for f in dim] for name in "abc"}
    axes.same(flat["a"], flat["b"])
    assert not any(axes.is_whole(f) for f in axes.of("a"))
    axes.same(flat["a"], flat["c"])
    assert all(axes.is_whole(f) for name in "abc" for f in axes.of(name))


def test_the_command_writes_the_figures_of_an_onnx_model(tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    weights = {"w1": (8, 48), "b1": (48,), "w2": (16, 8)}
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["all"]),
            helper.make_node("Split", ["all", "sizes"], ["gate", "up", "rest"], axis=1),
            helper.make_node("Mul", ["gate", "up"], ["some"]),
            helper.make_node("Mul", ["some", "rest"], ["inner"]),
            helper.make_node("MatMul", ["inner", "w2"], ["y"]),
        ],
        "gated",
        [helper.make_tensor_value_info("x", float32, (B, 8))],
        [helper.make_tensor_value_info("y", float32, (B, 8))],
        [
            helper.make_tensor(name, float32, shape, np.zeros(shape, np.float32).tobytes(), raw=True)
            for name, shape in weights.items()
        ]
        + [helper.make_tensor("sizes", onnx.TensorProto.INT64, (3,), [16, 16, 16])],
    )
    model, out = tmp_path / "m.onnx", tmp_path / "m.json"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), model)
    args = ["import", "onnx", str(model), "--devices", "2xt4", "--shards", "1,4", "--out", str(out)]
    assert main(args) == 0
    assert "4 shards: 2 of 2 products are split" in capsys.readouterr().err
    nodes = json.loads(out.read_text())["nodes"]
    kept = {node["id"]: node["shards"]["4"] for node in nodes if "shards" in node}
    assert (
        kept["all"]["weight_bytes" if "weight_bytes" in kept["all"] else "memory_bytes"] == 4 * (8 + 1) * 12
    )
    assert kept["y"]["collective_bytes"] == 4 * B * 8
    direct = import_onnx(model, cluster="2xt4", shards=[4])
    assert direct.shards[0].collective_bytes.sum() == 4 * B * 8
