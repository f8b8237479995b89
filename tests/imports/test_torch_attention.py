"""Attention as one kernel or as products and a softmax, however the model has it."""

import json

import pytest

from placer.errors import UsageError
from placer.imports.gradients import backward_pass
from placer.imports.model import Kind

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'torch'; none for this Python)")

from placer.imports.torch_export import exported  # noqa: E402
from placer.imports.torch_model import model_of, read_torch  # noqa: E402

SDPA = "scaled_dot_product_attention"
HEADS, SHARED, SIZE, TOKENS = 8, 2, 16, 64
WIDTH = HEADS * SIZE


class Block(torch.nn.Module):
    """Attention of grouped heads by hand, or by torch's function; over a cache, if there is one."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.q = torch.nn.Linear(WIDTH, WIDTH, bias=False)
        self.k = torch.nn.Linear(WIDTH, SHARED * SIZE, bias=False)
        self.v = torch.nn.Linear(WIDTH, SHARED * SIZE, bias=False)
        self.o = torch.nn.Linear(WIDTH, WIDTH, bias=False)
        self.bias = torch.nn.Parameter(torch.zeros(HEADS, 1, 1))

    def forward(self, x, keys=None, values=None):
        batch, tokens, _ = x.shape
        q, k, v = (part(x).view(batch, tokens, -1, SIZE).transpose(1, 2) for part in (self.q, self.k, self.v))
        if keys is not None:
            k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        cache = (k, v) if keys is not None else ()
        seen = k.shape[2]
        k, v = (
            t[:, :, None].expand(-1, -1, HEADS // SHARED, -1, -1).reshape(batch, HEADS, seen, SIZE)
            for t in (k, v)
        )
        mask = torch.full((tokens, seen), -1e9, device=x.device).triu(1 + seen - tokens)
        if self.how == "sdpa":
            out = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask)
        else:
            scores = q @ k.transpose(2, 3) * SIZE**-0.5
            if self.how == "bias":
                scores = scores + self.bias
            if self.how == "products":  # what is added is computed from the tokens: no mask
                scores = scores + q @ (v.transpose(2, 3) + 1)
            shares = (scores + mask).softmax(-1)
            out = shares @ v
            if self.how == "shown":
                return self.o(out.transpose(1, 2).reshape(batch, tokens, WIDTH)), shares
        return (self.o(out.transpose(1, 2).reshape(batch, tokens, WIDTH)), *cache)


def block(how, attention, tokens=TOKENS, cached=0):
    def make():
        cache = [torch.zeros(1, SHARED, cached, SIZE) for _ in range(2)] if cached else []
        return Block(how), (torch.zeros(1, tokens, WIDTH), *cache)

    return read_torch(make, attention=attention)


def attentions(model):
    return [o for o in model.operators if o.op == SDPA]


@pytest.mark.parametrize("how", ["sdpa", "eager"])
def test_one_kernel_by_hand(how):
    """Reads queries and the two heads of keys and values, writes the result; four bytes a number."""
    model = block(how, "fused")
    (kernel,) = attentions(model)
    assert kernel.flops == 2 * 2 * HEADS * TOKENS * TOKENS * SIZE
    assert kernel.moved_bytes == 4 * TOKENS * (WIDTH + 2 * SHARED * SIZE + WIDTH)
    kept = backward_pass(model).stash_bytes
    assert sum(kept) == 4 * TOKENS * (3 * WIDTH + 2 * SHARED * SIZE)  # tokens, queries, result; keys, values
    assert [o.op for o in model.operators if o.kind is not Kind.VIEW] == ["linear"] * 3 + [SDPA, "linear"]
    assert all(w.trainable for w in model.weights.values())  # no mask is left


@pytest.mark.parametrize("how", ["sdpa", "eager"])
def test_scores_in_memory_by_hand(how):
    model = block(how, "eager")
    assert not attentions(model)
    matrix = 4 * HEADS * TOKENS * TOKENS
    softmax = next(o for o in model.operators if o.op == "softmax")
    assert softmax.moved_bytes == 2 * matrix
    assert (
        sum(o.moved_bytes for o in model.operators) > 9 * matrix
    )  # written or read: 2 x scale, mask, softmax
    kept = dict(zip((o.op for o in model.operators), backward_pass(model).stash_bytes, strict=True))
    assert kept["softmax"] == matrix
    assert model.flops(Kind.PRODUCT) == block(how, "fused").flops(Kind.PRODUCT)


def test_both_forms_cost_the_same():
    """Of one model, exported with attention as a call and by hand."""
    for attention in ("fused", "eager"):
        one, other = block("sdpa", attention), block("eager", attention)
        assert sum(o.flops for o in one.operators) == sum(o.flops for o in other.operators)
        moved, again = (sum(o.moved_bytes for o in m.operators) for m in (one, other))
        assert moved == pytest.approx(again, rel=0.02)
        assert sum(backward_pass(one).stash_bytes) == sum(backward_pass(other).stash_bytes)


def test_what_is_no_single_kernel_stays():
    assert not attentions(block("shown", "fused"))  # the shares leave the model
    assert not attentions(block("products", "fused"))  # scores of two products
    (kernel,) = attentions(block("bias", "fused"))
    assert kernel.weights == ("bias",)
    assert kernel.moved_bytes == 4 * (TOKENS * (2 * WIDTH + 2 * SHARED * SIZE) + HEADS)


def test_a_step_of_decoding_reads_its_cache_once():
    cached = 4095
    model = block("eager", "fused", tokens=1, cached=cached)
    (kernel,) = attentions(model)
    assert kernel.moved_bytes == 4 * (2 * SHARED * SIZE * (cached + 1) + 2 * WIDTH)
    grown = [o for o in model.operators if o.op == "cat"]
    assert [o.moved_bytes for o in grown] == [2 * 4 * SHARED * SIZE] * 2  # in place
    assert (
        sum(o.moved_bytes for o in block("eager", None, tokens=1, cached=cached).operators)
        > 3 * kernel.moved_bytes
    )


def test_ways_that_are_not_known():
    with pytest.raises(UsageError, match="attention"):
        read_torch(lambda: Block("sdpa"), attention="flash")


def llama(layers, way, **changes):
    from tests.support.torch_zoo import decoder

    module, words = decoder("llama", tokens=256, num_hidden_layers=layers, **changes)
    module.set_attn_implementation(way)
    return module, words


@pytest.mark.parametrize("way", ["sdpa", "eager"])
def test_activations_of_a_block_in_training(way):
    """34 bytes per token and width of Korthikanti et al. 2022 without scores; up to 43 with a gate.

    The formula, ``s b h (34 + 5 a s / h)`` in 16 bits, has a plain block with an MLP of four widths; this one
    has three matrices of 2.7 widths, and norms of several kernels.
    """
    pytest.importorskip("transformers", reason="transformers is not installed (extra 'dev')")
    width, tokens = 128, 256
    found = exported(lambda: llama(2, way, intermediate_size=344, num_key_value_heads=8))

    def kept(attention):
        model = model_of(found, "bf16", attention)
        bytes_of = zip(model.operators, backward_pass(model).stash_bytes, strict=True)
        block = [b for o, b in bytes_of if (o.module or "").startswith("model.layers.1")]
        return sum(block) / tokens / width

    assert 34 <= kept("fused") <= 43
    scores = 2 * 8 * tokens / width  # shares of 8 heads, which the backward pass reads
    assert kept("eager") == pytest.approx(kept("fused") + scores, abs=2.5)


@pytest.mark.parametrize("way", ["sdpa", "eager"])
def test_operations_of_import_hf(way, tmp_path):
    pytest.importorskip("transformers", reason="transformers is not installed (extra 'dev')")
    from placer.imports.language_operators import work_on
    from placer.instance.origin import Source
    from placer.language.configuration import read_configuration

    module, _ = llama(2, way)
    config = module.config.to_dict() | {"architectures": ["LlamaForCausalLM"], "dtype": "float32"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    language = read_configuration(tmp_path, precision="fp32")
    work = {"sequence": 256}
    other = work_on(language, work, Source("hf", ""), training=False, single_experts=False)
    model = read_torch(lambda: llama(2, way), attention="fused")
    assert model.flops(Kind.PRODUCT) == other.flops(Kind.PRODUCT)
    assert model.flops() == pytest.approx(other.flops(), rel=0.01)
    ours, theirs = ([o for o in m.operators if o.op in (SDPA, "attention")] for m in (model, other))
    assert [o.moved_bytes for o in ours] == [o.moved_bytes for o in theirs]
