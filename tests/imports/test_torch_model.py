"""PyTorch models: published sizes, every parameter with its readers, and what is refused."""

import dataclasses

import pytest

from placer.errors import InputError, UsageError
from placer.imports.model import Kind
from tests.support import models

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'torch'; none for this Python)")

from placer.imports.api import to_instance  # noqa: E402
from placer.imports.torch_model import read_torch  # noqa: E402


@pytest.fixture(scope="module")
def bert():
    pytest.importorskip("transformers", reason="transformers is not installed (extra 'dev')")
    return read_torch(models.bert)


@pytest.fixture(scope="module")
def gpt2():
    pytest.importorskip("transformers", reason="transformers is not installed (extra 'dev')")
    return read_torch(models.gpt2)


@pytest.fixture(scope="module")
def mixed():
    return read_torch(models.mixed)


def test_bert_base(bert):
    """109.48 M parameters (Hugging Face, bert-base-uncased); 22.5 GFLOPs at 128 tokens.

    The latter of table 4 of Sun et al. 2020 (MobileBERT), where a multiply-add is two.
    """
    assert bert.parameters == 109_482_240
    assert bert.flops(Kind.PRODUCT) == pytest.approx(22.5e9, rel=0.02)


def test_gpt2_small(gpt2):
    """124.44 M parameters (Hugging Face, gpt2).

    FLOPs by the formula of Narayanan et al. 2021 (Megatron-LM, appendix), one pass, a multiply-add as two:
    24 B s l h² (1 + s / 6h) + 2 B s h V.
    """
    assert gpt2.parameters == 124_439_808
    s, blocks, h, vocabulary = models.TOKENS, 12, 768, 50257
    published = 24 * s * blocks * h**2 * (1 + s / (6 * h)) + 2 * s * h * vocabulary
    assert gpt2.flops(Kind.PRODUCT) == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize("name", ["bert", "mixed"])
def test_products_agree_with_the_counter_of_torch(name, request):
    """torch.utils.flop_counter, an independent count, sees the same products (biases are not among them)."""
    from torch.utils.flop_counter import FlopCounterMode

    model, factory = request.getfixturevalue(name), getattr(models, name)
    with torch.device("meta"):
        module, args = factory()
    with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.device("meta"):
        module.eval()(*args)
    biases = sum(
        model.values[o.outputs[0]].size_bytes / 4
        for o in model.operators
        if o.op in ("addmm", "linear", "conv2d") and any("bias" in key for key in o.weights)
    )
    counted = sum(o.flops for o in model.operators if o.kind is Kind.PRODUCT and o.op != "lstm") - biases
    lstm = sum(o.flops for o in model.operators if o.op == "lstm")
    assert counted + lstm == pytest.approx(counter.get_total_flops(), rel=1e-6)


@pytest.mark.parametrize("name", ["bert", "gpt2", "mixed"])
@pytest.mark.parametrize("by", ["operator", "layer", "module"])
def test_every_tensor_of_the_state_has_readers_on_one_device(name, by, request):
    with torch.device("meta"):
        module, _ = getattr(models, name)()
    instance = to_instance(request.getfixturevalue(name), "4xa100-nvlink", by=by, tied="colocate")
    readers = {}
    for v, origin in enumerate(instance.origin):
        for key in origin.parameters if origin is not None else ():
            readers.setdefault(key, []).append(v)
    assert readers.keys() == set(module.state_dict())
    for key, nodes in readers.items():
        groups = {instance.colocate[v] for v in nodes}
        assert len(nodes) == 1 or (len(groups) == 1 and None not in groups), key
    trained = {id(p): p.numel() for p in module.parameters() if p.requires_grad}
    assert instance.weight_bytes.sum() == 4 * sum(trained.values())


def test_tied_weights_are_counted_once_and_colocated(gpt2):
    instance = to_instance(gpt2, "4xa100-nvlink", by="module", tied="colocate")
    (group,) = instance.groups.values()
    assert [instance.ids[v] for v in group] == ["transformer.wte", "lm_head"]
    names = {"transformer.wte.weight", "lm_head.weight"}
    assert all(names <= set(instance.origin[v].parameters) for v in group)
    copied = to_instance(gpt2, "4xa100-nvlink", by="module")
    assert not copied.groups
    assert copied.weight_bytes.sum() - instance.weight_bytes.sum() == 4 * 768 * 50257


def test_modules_read_like_the_model(bert):
    from placer.imports.granularity import Granularity, partition

    parts = partition(bert, Granularity.MODULE)
    blocks = [f"encoder.layer.{i}" for i in range(12)]
    assert [part.id for part in parts] == ["embeddings", *blocks, "pooler"]


def test_what_is_special(mixed):
    """In-place operators, frozen parameters, statistics, constants and unread parameters."""
    model = mixed
    weights = {name: w for w in model.weights.values() for name in w.names}
    assert not weights["frozen"].trainable
    assert not weights["norm.running_mean"].trainable
    assert "ramp" not in weights  # not persistent: no part of the state
    reader = next(o for o in model.operators if "spare.weight" in o.weights)
    assert reader.op == model.operators[0].op  # nothing is nearer
    lstm = next(o for o in model.operators if o.op == "lstm")
    assert lstm.flops == 2 * 2 * 64 * 4 * 16 * (8 + 16)
    chunks = next(o for o in model.operators if len(o.outputs) == 2)
    assert chunks.kind is Kind.VIEW
    assert set(chunks.outputs) < set(chunks.members)


def test_precision(mixed):
    half = read_torch(models.mixed, precision="bf16")
    assert half.precision == "bf16"
    assert 2 * sum(w.size_bytes for w in half.weights.values() if w.trainable) == sum(
        w.size_bytes for w in mixed.weights.values() if w.trainable
    )


@pytest.mark.parametrize(
    ("spec", "error", "rule"),
    [
        ("bert", UsageError, "expected MODULE:FACTORY"),
        ("no.such.module:f", UsageError, "cannot be imported"),
        ("tests.support.models:missing", UsageError, "has no function 'missing'"),
        ("no_such_file.py:f", UsageError, "cannot be imported"),
        ("tests.support.models:raises", InputError, "the factory raised ValueError: no such checkpoint"),
        ("tests.support.models:returns_nothing", InputError, "must return"),
    ],
)
def test_bad_factories(spec, error, rule):
    with pytest.raises(error, match=rule):
        read_torch(spec)


def test_a_file_with_a_factory(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import torch\ndef f():\n    return torch.nn.Linear(3, 5), (torch.zeros(2, 3),)\n")
    model = read_torch(f"{path}:f")
    assert [o.flops for o in model.operators] == [2 * 2 * 3 * 5 + 10]
    assert dataclasses.astuple(model.source)[:2] == ("torch", f"{path}:f")


def test_activations_are_costed():
    def make():
        nn = torch.nn
        return nn.Sequential(nn.Linear(8, 8), nn.Hardswish(), nn.PReLU(), nn.LogSigmoid()), (
            torch.zeros(4, 8),
        )

    operations = {o.op: o.flops for o in read_torch(make).operators}
    assert operations == {"linear": 2 * 4 * 64 + 32, "hardswish": 96, "prelu": 64, "log_sigmoid": 96}
