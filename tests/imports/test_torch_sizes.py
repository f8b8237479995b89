"""Models with dynamic shapes: sizes of the example inputs count, and arithmetic on sizes costs nothing."""

import pytest

from placer.errors import InputError

pytest.importorskip("torch", reason="torch is not installed (extra 'torch'; none for this Python)")

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from placer.imports.torch_model import read_torch


class Sized(torch.nn.Module):
    """Reads sizes, computes with them, and branches on them."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 8)

    def forward(self, x, scale=2):
        n = x.size(0)
        if n % 3 == 0:
            x = x * scale
        heads = self.layer(x).reshape(n * 2, -1).reshape(n // 2, 2, 8)
        return heads[:, : min(n, 1)].expand(-1, n - 1, -1) + x.new_ones(n // 2, 1, 8)


def plain():
    return Sized(), (torch.randn(6, 4),)


def declared():
    return *plain(), None, {"x": {0: torch.export.Dim("n", min=2, max=64)}}


def automatic():
    return *plain(), {}, ({0: torch.export.Dim.DYNAMIC},)


def marked():
    module, (x,) = plain()
    torch._dynamo.mark_dynamic(x, 0)
    return module, (x,)


def fake(**more):
    module, _ = plain()
    context = StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC, DimDynamic.STATIC])
    mode = FakeTensorMode(shape_env=ShapeEnv())
    x = mode.from_tensor(torch.randn(6, 4, device="cpu"), symbolic_context=context)
    assert isinstance(x.shape[0], torch.SymInt)
    return module, (x,), more


def operators(model):
    """Operators with their costs; their names have numbers, so they count by their order."""
    numbers = {name: f"{k}" for k, op in enumerate(model.operators) for name in (op.id, *op.outputs)}
    fields = ("op", "flops", "moved_bytes", "weights", "kind")
    return [
        ([getattr(op, field) for field in fields], [numbers.get(name, name) for name in op.inputs])
        for op in model.operators
    ]


@pytest.mark.parametrize("factory", [declared, automatic, marked, fake])
def test_sizes_of_the_example_inputs_count(factory):
    found, fixed = read_torch(factory), read_torch(plain)
    assert operators(found) == operators(fixed)
    # By hand: a product of 6 x 4 and 4 x 8 with a bias.
    assert [op.flops for op in found.operators if op.op == "linear"] == [2 * 6 * 4 * 8 + 6 * 8]
    # 6 is a multiple of 3: the branch is taken.
    assert "mul" in [op.op for op in found.operators]
    assert not [op.op for op in found.operators if "sym" in op.op or "floordiv" in op.op]


def test_it_is_said_that_shapes_are_fixed():
    assert any("sizes of the example inputs" in note for note in read_torch(declared).notes)
    assert read_torch(plain).notes == ()


def test_a_size_that_is_no_number_is_refused():
    size = ShapeEnv().create_unbacked_symint()
    with pytest.raises(InputError, match="stands for no number, u0") as caught:
        read_torch(lambda: fake(scale=size))
    assert "\n" not in str(caught.value)


def test_control_flow_on_data_names_the_line_with_dynamic_shapes():
    class Branch(Sized):
        def forward(self, x):
            return x if x.sum() > 0 else super().forward(x)

    dims = {"x": {0: torch.export.Dim("n")}}
    with pytest.raises(InputError, match=r"depends on data at .*: return x if x.sum\(\) > 0 else") as caught:
        read_torch((Branch(), (torch.randn(6, 4),), {}, dims))
    assert "\n" not in str(caught.value)
