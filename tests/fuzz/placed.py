"""From a result document to a plan in the oracle's terms."""

from placer.plans.result import Result
from tests.fuzz.oracle.model import Model
from tests.fuzz.oracle.plan import Placed


def placed_of(model: Model, result: Result) -> Placed:
    """Read the plan out of a result, by names."""
    assert result.assignment is not None
    at = {name: d for d, name in enumerate(model.names)}
    pieces: dict[int, list[list[int]]] = {}
    for piece in sorted(result.pieces or (), key=lambda piece: piece.order):
        pieces.setdefault(at[piece.device], []).append([model.ids.index(v) for v in piece.nodes])
    return Placed(
        device=[at[result.assignment[v]] for v in model.ids],
        stages=None if result.stages is None else [at[name] for name in result.stages],
        recompute=[at[name] for name in result.recompute],
        replicas=[[at[name] for name in group] for group in result.replicas],
        pieces=pieces,
    )
