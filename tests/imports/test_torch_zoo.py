"""FLOPs of whole models against torch's own counter, which runs them on real numbers."""

import pytest

from placer.imports.api import to_instance
from placer.imports.model import Kind
from tests.support.torch_zoo import DECODERS, OTHERS, SMALL, decoder, other

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'torch'; none for this Python)")
pytest.importorskip("transformers", reason="transformers is not installed (extra 'dev')")

from placer.imports.torch_model import read_torch  # noqa: E402

slow = pytest.mark.slow


def made(family):
    return decoder(family) if family in DECODERS else other(family)


def biases(model):
    """What the counter leaves out: an addition per output."""
    width = {"fp32": 4}[model.precision]
    return sum(
        model.values[o.outputs[0]].size_bytes / width
        for o in model.operators
        if o.op in ("linear", "addmm", "conv1d", "conv2d") and any("bias" in key for key in o.weights)
    )


def counted(family):
    """Products as torch counts them; experts one by one, since it knows no grouped product."""
    from torch.utils.flop_counter import FlopCounterMode

    module, args = made(family)
    module.set_attn_implementation("eager")  # the counter does not know attention's form on a processor
    for part in module.modules():
        if hasattr(getattr(part, "config", None), "_experts_implementation"):
            part.config._experts_implementation = "batched_mm"
    named = args if isinstance(args, dict) else {"input_ids": args[0]}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(**named)
    return counter.get_total_flops()


@pytest.mark.parametrize(
    "family",
    [f if f in ("llama", "mixtral") else pytest.param(f, marks=slow) for f in (*DECODERS, *OTHERS)],
)
def test_products_agree_with_the_counter_of_torch(family):
    model = read_torch(lambda: made(family))
    assert all(o.flops is not None for o in model.operators)
    assert model.flops(Kind.PRODUCT) - biases(model) == pytest.approx(counted(family), rel=1e-6)


def test_experts_by_formula():
    """Each token meets two of eight experts: three matrices each."""
    tokens, hidden, inner = 64, SMALL["hidden_size"], SMALL["intermediate_size"]
    model = read_torch(lambda: decoder("mixtral"))
    grouped = [o for o in model.operators if "grouped_mm" in o.op]
    assert len(grouped) == 2 * SMALL["num_hidden_layers"]
    assert sum(o.flops for o in grouped) == 2 * 2 * (2 * tokens * hidden * inner * 3)
    totals = {
        by: sum(o.flops for o in to_instance(model, "a100:2", by=by).origin if o and o.flops)
        for by in ("operator", "layer", "module")
    }
    assert len({round(total) for total in totals.values()}) == 1
    assert totals["module"] == pytest.approx(model.flops())
