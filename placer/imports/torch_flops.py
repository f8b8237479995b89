"""Floating-point operations and kinds of PyTorch operators, from shapes alone; a multiply-add counts as two.

Works on what an exported graph says of an operator, without importing torch.  What has no rule here may have
one in torch, or consist of operators that do: `placer.imports.torch_costs` looks further.
"""

from __future__ import annotations

from math import log2, prod

from placer.imports import torch_products
from placer.imports.model import Kind, Stash
from placer.imports.onnx_flops import words
from placer.imports.torch_call import Call

__all__ = ["ALLOCATIONS", "CREATIONS", "LOOKUPS", "SCATTERS", "flops", "kind", "stash"]

PER_OUTPUT = {
    2: words(
        "batch_norm _native_batch_norm_legit_no_training _batch_norm_no_update polar prelu _prelu_kernel"
    ),
    3: words("hardswish log_sigmoid log_sigmoid_forward"),
    5: words("softmax _softmax log_softmax _log_softmax _safe_softmax glu"),
    8: words(
        "layer_norm native_layer_norm group_norm native_group_norm rms_norm _fused_rms_norm",
        "gelu instance_norm",
        "upsample_bilinear2d upsample_linear1d upsample_trilinear3d upsample_bicubic2d grid_sampler",
        "grid_sampler_2d grid_sampler_3d _upsample_bilinear2d_aa local_response_norm native_batch_norm",
    ),
    1: words(
        "_to_copy floor_divide upsample_nearest1d upsample_nearest2d upsample_nearest3d outer ger kron",
        "bernoulli multinomial rand_like randn_like randint_like normal isin bucketize",
        "searchsorted nan_to_num",
        "native_dropout dropout cross cumprod",
    ),
}
PER_INPUT = {
    1: words(
        "mean sum amax amin max min prod any all argmax argmin cumsum logsumexp nansum",
        "count_nonzero aminmax",
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d trace nonzero",
        "adaptive_max_pool1d adaptive_max_pool2d _adaptive_avg_pool3d cummax cummin histc",
        "bincount masked_select",
        "col2im mode median nanmedian unique_consecutive _unique2 unique_dim logcumsumexp embedding_bag",
        "_embedding_bag _embedding_bag_forward_only",
    ),
    3: words("var std var_mean std_mean norm linalg_vector_norm frobenius_norm"),
}
POOLS = words("max_pool2d max_pool2d_with_indices avg_pool2d max_pool1d avg_pool1d max_pool3d avg_pool3d")
SORTS = words("sort topk argsort msort kthvalue")
FFT = ("fft_", "_fft_", "stft", "istft")
LINALG = {
    "cholesky": 1 / 3,
    "cholesky_ex": 1 / 3,
    "lu_factor": 2 / 3,
    "lu_factor_ex": 2 / 3,
    "lu": 2 / 3,
    "det": 2 / 3,
    "_det": 2 / 3,
    "_slogdet": 2 / 3,
    "slogdet": 2 / 3,
    "solve": 2,
    "_solve_ex": 2,
    "solve_ex": 2,
    "solve_triangular": 1,
    "inv": 2,
    "inv_ex": 2,
    "qr": 2,
    "householder_product": 2,
    "lstsq": 4,
    "eigh": 9,
    "_eigh": 9,
    "eig": 25,
    "svd": 14,
    "_svd": 14,
    "pinv": 20,
    "matrix_exp": 20,
}
"""Operations of ``linalg_*``, in ``m n min(m, n)`` (Golub and Van Loan, Matrix Computations)."""

LOOKUPS = words("embedding index index_select gather embedding_renorm take take_along_dim _unsafe_index")
"""Of their table, only the rows that are asked for are read."""
ALLOCATIONS = words("empty empty_like new_empty empty_strided new_empty_strided empty_permuted")
CREATIONS = words(
    "zeros_like ones_like full_like new_zeros new_ones new_full arange full zeros ones scalar_tensor",
    "eye linspace",
)
"""They write, and read nothing of the tensor that they are shaped after."""
SCATTERS = words(
    "slice_scatter select_scatter diagonal_scatter as_strided_scatter index_put index_copy",
    "index_fill scatter",
    "scatter_add index_add scatter_reduce index_reduce masked_scatter _index_put_impl",
    "_unsafe_index_put put",
)
"""What in-place writing of a part becomes when a graph is made functional: only that part moves."""
MOVES = (
    LOOKUPS
    | ALLOCATIONS
    | CREATIONS
    | words(
        "cat stack clone copy constant_pad_nd pad repeat roll flip where lift_fresh_copy tril",
        "triu repeat_interleave",
        "slice_scatter select_scatter diagonal_scatter as_strided_scatter index_put index_copy",
        "index_fill scatter",
        "masked_scatter _unsafe_index_put im2col pixel_shuffle pixel_unshuffle",
        "channel_shuffle reflection_pad1d",
        "reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d",
        "replication_pad3d tril_indices",
        "triu_indices one_hot concat block_diag randperm rot90 view_as_complex_copy complex",
        "unfold_copy split_copy",
    )
)
NEEDS_OUTPUT = words("relu sigmoid tanh softmax _softmax log_softmax exp sqrt rsqrt")
FACTORS = words("mul matmul bmm mm linear")
"""The gradient of one operand is that of the result times the other."""
NEEDS_NOTHING = words("add sub neg mean sum _to_copy avg_pool2d adaptive_avg_pool2d diff type_as")


def flops(call: Call) -> float | None:
    """Floating-point operations; None when there is no rule here.

    Parameters
    ----------
    call
        The operator and its arguments.
    """
    product = torch_products.flops(call)
    if product is not None:
        return product
    for table, count in ((PER_OUTPUT, call.out), (PER_INPUT, prod(call.tensors[0]) if call.tensors else 0)):
        for each, names in table.items():
            if call.name in names:
                return float(each * count)
    if call.name in POOLS:
        size = call.values.get("kernel_size", ())
        return float(call.out * prod(size if isinstance(size, list | tuple) else (size,)))
    if call.name in ("scatter_add", "index_add", "scatter_reduce", "index_reduce", "put", "_index_put_impl"):
        return float(prod(call.tensors[-1]))
    if call.name in MOVES:
        return 0.0
    return _of_many_elements(call)


def _of_many_elements(call: Call) -> float | None:
    """Sorting, transforms and decompositions: more than a few operations per element."""
    first = call.tensors[0] if call.tensors else ()
    elements = prod(first)
    if call.name in SORTS:
        return elements * max(1.0, log2(max(first[-1:] or (1,))))
    if call.name.startswith(FFT) and "shift" not in call.name and "freq" not in call.name:
        points = max([elements, *(prod(shape) for shape in call.outputs)])
        return 5.0 * points * max(1.0, log2(max(points if call.name.endswith("n") else first[-1], 2)))
    name = call.name.removeprefix("linalg_")
    if name in LINALG and len(first) >= 2:
        return LINALG[name] * elements * min(first[-2:])
    return None


def kind(name: str, *, view: bool, product: bool = False) -> Kind:
    """Say what an operator does."""
    if product:
        return Kind.PRODUCT
    if view:
        return Kind.VIEW
    if name in ("embedding", "embedding_bag"):
        return Kind.LOOKUP
    return Kind.SUM if name == "add" else Kind.OTHER


def stash(name: str, *, view: bool, operands: int = 2) -> Stash:
    """Say what an operator keeps for its backward pass.

    Parameters
    ----------
    name, view
        The operator, and whether it only shows another's bytes.
    operands
        How many tensors are multiplied or divided, where they are: with one, the other is a number.
    """
    if name in NEEDS_OUTPUT:
        return Stash.OUTPUT
    if name in FACTORS or name == "div":
        if operands < 2:
            return Stash.NOTHING
        return Stash.INPUTS if name == "div" else Stash.FACTORS
    return Stash.NOTHING if view or name in MOVES or name in NEEDS_NOTHING else Stash.INPUTS
