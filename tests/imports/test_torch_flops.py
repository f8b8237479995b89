"""FLOPs of every form of product that torch exports, by hand; and what counts as a view."""

import pytest

from placer.imports.model import Kind

torch = pytest.importorskip("torch", reason="torch is not installed (extra 'torch'; none for this Python)")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from placer.imports.torch_model import read_torch  # noqa: E402


class Calls(nn.Module):
    """Call a function of tensors."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def operators(function, *shapes, dtype=torch.float32):
    """Operators of a function, on tensors without data."""
    args = tuple(
        torch.zeros(s, dtype=dtype, device="meta") if isinstance(s, tuple) else s.to("meta") for s in shapes
    )
    return read_torch((Calls(function), args)).operators


def scanned(start, xs, w):
    from torch._higher_order_ops import scan

    def step(state, x):
        new = state @ w + x
        return new, new.clone()

    return scan(step, start, xs, dim=0)


def branched(x, w):
    return torch.cond(x.sum() > 0, lambda x: x @ w, lambda x: x + 1, (x,))


UNIT = torch.ones(())
OFFSETS = torch.tensor([16, 32, 48, 64], dtype=torch.int32)
PRODUCTS = {
    "matmul": (torch.matmul, [(2, 4, 8), (8, 16)], 2 * 8 * 16 * 8),
    "the same tensor twice": (lambda x: x @ x, [(8, 8)], 2 * 8**3),
    "mm": (torch.mm, [(4, 8), (8, 16)], 2 * 4 * 8 * 16),
    "addmm": (torch.addmm, [(16,), (4, 8), (8, 16)], 2 * 4 * 8 * 16 + 4 * 16),
    "bmm": (torch.bmm, [(2, 4, 8), (2, 8, 16)], 2 * 2 * 4 * 8 * 16),
    "baddbmm": (torch.baddbmm, [(2, 4, 16), (2, 4, 8), (2, 8, 16)], 2 * 2 * 4 * 8 * 16 + 128),
    "addbmm": (torch.addbmm, [(4, 16), (2, 4, 8), (2, 8, 16)], 2 * 2 * 4 * 8 * 16 + 64),
    "mv": (torch.mv, [(4, 8), (8,)], 2 * 32),
    "addmv": (torch.addmv, [(4,), (4, 8), (8,)], 2 * 32 + 4),
    "dot": (torch.dot, [(8,), (8,)], 16),
    "inner": (torch.inner, [(3, 8), (4, 8)], 2 * 3 * 4 * 8),
    "outer": (torch.outer, [(4,), (8,)], 32),
    "kron": (torch.kron, [(2, 3), (4, 5)], 120),
    "tensordot": (lambda a, b: torch.tensordot(a, b, dims=2), [(3, 4, 8), (4, 8, 5)], 2 * 15 * 32),
    "cdist": (torch.cdist, [(10, 8), (12, 8)], 3 * 120 * 8),
    "chain": (torch.chain_matmul, [(10, 2), (2, 30), (30, 3)], 2 * (2 * 30 * 3 + 10 * 2 * 3)),
    "power": (lambda x: torch.linalg.matrix_power(x, 5), [(4, 4)], 3 * 2 * 64),
    "einsum": (lambda a, b: torch.einsum("bij,bjk->bik", a, b), [(2, 3, 4), (2, 4, 5)], 2 * 120),
    "einsum of three": (
        lambda a, b, c: torch.einsum("ij,jk,kl->il", a, b, c),
        [(3, 4), (4, 5), (5, 6)],
        2 * (3 * 4 * 5 + 3 * 5 * 6),
    ),
    "linear": (F.linear, [(3, 4, 8), (16, 8), (16,)], 2 * 12 * 8 * 16 + 12 * 16),
    "bilinear": (F.bilinear, [(3, 4), (3, 5), (6, 4, 5)], 2 * 3 * 120 + 2 * 18 * 5),
    "conv1d": (F.conv1d, [(2, 4, 16), (6, 4, 3)], 2 * 2 * 6 * 14 * 12),
    "conv1d, same": (lambda a, w: F.conv1d(a, w, padding="same"), [(2, 4, 16), (6, 4, 3)], 2 * 192 * 12),
    "conv2d": (lambda a, w: F.conv2d(a, w, groups=4), [(2, 4, 16, 16), (8, 1, 3, 3)], 2 * 2 * 8 * 196 * 9),
    "transposed": (F.conv_transpose2d, [(2, 4, 8, 8), (4, 6, 3, 3)], 2 * 2 * 4 * 64 * 54),
    "attention": (F.scaled_dot_product_attention, [(2, 4, 8, 8), (2, 4, 10, 8), (2, 4, 10, 6)], 640 * 2 * 14),
    "attention of groups": (
        lambda q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True),
        [(2, 4, 8, 16), (2, 2, 8, 16)],
        2 * 2 * 4 * 64 * 32,
    ),
    "attention to itself": (
        lambda x: F.scaled_dot_product_attention(x, x, x), [(1, 2, 8, 16)], 2 * 2 * 64 * 32
    ),
    "gru cell": (
        lambda x, h, a, b: torch.ops.aten.gru_cell(x, h, a, b), [(3, 8), (3, 16), (48, 8), (48, 16)],
        2 * 3 * 48 * 24,
    ),
    "scan": (scanned, [(4, 8), (10, 4, 8), (8, 8)], 10 * (2 * 4 * 8 * 8 + 32)),
    "branches": (branched, [(4, 8), (8, 8)], 2 * 4 * 64),
}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name):
    function, shapes, expected = PRODUCTS[name]
    product = max(operators(function, *shapes), key=lambda o: o.flops)
    assert product.flops == expected
    assert product.kind is Kind.PRODUCT or name in ("outer", "kron")


def test_low_precision():
    (product,) = operators(torch._int_mm, (32, 48), (48, 64), dtype=torch.int8)
    assert product.flops == 2 * 32 * 48 * 64
    small = torch.zeros(32, 32).to(torch.float8_e4m3fn)
    found = operators(
        lambda a, b, s: torch._scaled_mm(a, b.t(), s, s, out_dtype=torch.bfloat16), small, small, UNIT
    )
    assert sum(o.flops for o in found) == 2 * 32**3


def test_experts_cost_what_reaches_them():
    """Each row goes to one expert; a few rows read a few experts only."""
    found = operators(
        lambda a, b, o: torch._grouped_mm(a, b, offs=o), (64, 32), (4, 32, 48), OFFSETS, dtype=torch.bfloat16
    )
    assert found[0].flops == 2 * 64 * 32 * 48
    assert found[0].kind is Kind.PRODUCT
    all_read = 2 * (64 * 32 + 4 * 32 * 48 + 64 * 48) + OFFSETS.numel() * 4
    assert found[0].moved_bytes == all_read
    few = operators(
        lambda a, b, o: torch._grouped_mm(a, b, offs=o), (2, 32), (4, 32, 48), OFFSETS, dtype=torch.bfloat16
    )
    assert few[0].moved_bytes == 2 * (2 * 32 + 2 * 32 * 48 + 2 * 48) + OFFSETS.numel() * 4


VIEWS = {
    "view": lambda x: x.view(-1),
    "reshape": lambda x: x.reshape(8, 4),
    "unsafe view": lambda x: torch.ops.aten._unsafe_view(x, [32]),
    "transpose": lambda x: x.t().mT,
    "permute": lambda x: x.permute(1, 0),
    "expand": lambda x: x.expand(3, 4, 8),
    "squeeze": lambda x: x.unsqueeze(0).squeeze(0),
    "slice": lambda x: x[1:3, ::2],
    "select": lambda x: x[1],
    "split": lambda x: x.split(2)[1],
    "chunk": lambda x: x.chunk(2)[0],
    "unbind": lambda x: x.unbind()[0],
    "detach": lambda x: x.detach(),
    "as strided": lambda x: x.as_strided((2, 2), (1, 2)),
    "unflatten": lambda x: x.unflatten(1, (2, 4)).movedim(0, 1),
    "narrow": lambda x: x.narrow(0, 1, 2),
    "diagonal": lambda x: x.diagonal(),
    "complex": lambda x: torch.view_as_complex(x.view(4, 4, 2)).real,
    "contiguous already": lambda x: x.contiguous(),
    "same type": lambda x: x.to(torch.float32).type_as(x),
    "dropout": lambda x: F.dropout(x, 0.1, False),
    "alias": lambda x: torch.ops.aten.alias(x),
    "reshape alias": lambda x: torch.ops.aten._reshape_alias(x, [32], [1]),
    "copies of views": lambda x: torch.ops.aten.view_copy(torch.ops.aten.permute_copy(x, [0, 1]), [32]),
    "unsafe split": lambda x: torch.ops.aten.unsafe_split(x, 2)[0],
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_cost_nothing(name):
    found = operators(lambda x: torch.relu(VIEWS[name](x)), (4, 8))
    assert len(found) >= 2 or name in ("contiguous already", "dropout", "same type")
    for o in found[:-1]:
        assert (o.kind, o.moved_bytes, o.flops) == (Kind.VIEW, 0.0, 0.0), o.op


@pytest.mark.parametrize(
    "copy",
    [
        lambda x: x.t().contiguous(),
        lambda x: x.t().reshape(-1),
        lambda x: x.clone(),
        lambda x: x.to(torch.float16),
        lambda x: torch.cat([x, x]),
    ],
)
def test_copies_cost_their_bytes(copy):
    found = operators(lambda x: torch.relu(copy(x)), (4, 8))
    assert sum(o.moved_bytes for o in found[:-1] if o.kind is not Kind.VIEW) >= 4 * 32 + 2 * 32
