"""Operators without a FLOP rule: which of them may be products that no plan should leave out."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from placer.errors import InputError, UsageError
from placer.imports.model import Kind, Model, Operator
from placer.imports.precision import PRECISIONS

__all__ = ["check_costed"]

MATTERS = 0.01
"""Share of the model's operations from which on a missing rule is an error."""


def check_costed(model: Model, modelled: Sequence[int], allowed: Sequence[str] = ()) -> None:
    """Refuse models of which too much would count as nothing.

    Of an operator without a rule it is only known what it reads and writes.  As a product of its two largest
    operands, of ``m k`` and ``k n`` numbers, it would do ``2 m k n = 2 sqrt(m k * k n * m n)`` operations; a
    type of operator that may do a share of them that matters has to be allowed by name.

    Parameters
    ----------
    model
        The model.
    modelled
        Operators whose times are modelled, not measured.
    allowed
        Operator types that may count as nothing.

    Raises
    ------
    InputError
        Naming the types that are left.
    UsageError
        When a type that is allowed has rules, or does not occur.
    """
    without = [model.operators[i] for i in modelled if model.operators[i].flops is None]
    unknown = sorted(set(allowed) - {o.op for o in model.operators})
    if unknown:
        raise UsageError(f"--allow-uncosted: the model has no operator {unknown[0]!r}")
    may: dict[str, float] = {}
    loops = set()
    for o in without:
        if o.op not in allowed:
            may[o.op] = may.get(o.op, 0.0) + _as_product(model, o)
            if o.kind is Kind.PRODUCT:
                loops.add(o.op)
    known = model.flops()
    matter = sorted(op for op, flops in may.items() if op in loops or flops > MATTERS * (known + flops))
    if not matter:
        return
    count = {op: sum(o.op == op for o in without) for op in matter}
    listed = ", ".join(f"{op} ({count[op]}, up to {_flops(may[op])})" for op in matter)
    formula = (
        " a formula (torch.utils.flop_counter.register_flop_formula)," if model.source.kind == "torch" else ""
    )
    raise InputError(
        f"no FLOP rule for what may be products: {listed}; the rest of the model has {_flops(known)}. Give"
        f"{formula} measured times (--profile), or --allow-uncosted {','.join(matter)} to count bytes alone"
    )


def _as_product(model: Model, o: Operator) -> float:
    """Operations if it were a product of its two largest operands."""
    width = PRECISIONS[model.precision or "fp32"]
    sizes = [model.values[key].size_bytes / width for key in o.inputs]
    sizes += [float(model.weights[key].elements) for key in o.weights]
    if len(sizes) < 2:
        return 0.0
    *_, smaller, larger = sorted(sizes)
    return 2.0 * sqrt(smaller * larger * sum(model.values[key].size_bytes / width for key in o.outputs))


def _flops(count: float) -> str:
    for factor, unit in ((1e12, "TFLOPs"), (1e9, "GFLOPs"), (1e6, "MFLOPs")):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} FLOPs"
