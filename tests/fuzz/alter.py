"""Plans altered at random; most of them break a rule."""

import random
from typing import Any

from placer.plans.result import Piece, Result
from tests.fuzz.oracle.model import Model


def altered(model: Model, result: Result, rng: random.Random) -> tuple[str, Result] | None:
    """Change one thing about a plan; returns what, and the changed document, or None if nothing changes."""
    ways = [_move, _move, _move]
    ways += [_stages] * (len(result.stages or ()) > 1)
    ways += [_recompute] * model.training
    ways += [_replicas] * (2 if model.options.get("replicas", 1) > 1 else 0)
    ways += [_pieces] * 2 * bool(result.pieces)
    changes = rng.choice(ways)(model, result, rng)
    if all(getattr(result, key) == value for key, value in changes.items()):
        return None
    words = ", ".join(f"{key} {value}" for key, value in changes.items() if key != "pieces")
    return words or "other pieces", result.model_copy(update=changes).sealed()


def _move(model: Model, result: Result, rng: random.Random) -> dict[str, Any]:
    """Move a node, of a latency plan into the last piece of its new device."""
    assert result.assignment is not None
    node, name = rng.choice(model.ids), rng.choice(model.names)
    out: dict[str, Any] = {"assignment": {**result.assignment, node: name}, "stages": None}
    if result.pieces is not None and name != result.assignment[node]:
        pieces = [p.model_copy(update={"nodes": [v for v in p.nodes if v != node]}) for p in result.pieces]
        pieces = [p for p in pieces if p.nodes]
        mine = [p for p in pieces if p.device == name]
        if mine:
            mine[-1].nodes.append(node)
        elif not model.host[model.names.index(name)]:
            pieces.append(Piece(device=name, order=0, nodes=[node], start_ms=0.0, finish_ms=0.0))
        out["pieces"] = pieces
    return out


def _stages(model: Model, result: Result, rng: random.Random) -> dict[str, Any]:
    return {"stages": rng.sample(result.stages or [], len(result.stages or []))}


def _recompute(model: Model, result: Result, rng: random.Random) -> dict[str, Any]:
    """One device more or less computes its activations again."""
    return {"recompute": sorted({*result.recompute} ^ {rng.choice(model.names)})}


def _replicas(model: Model, result: Result, rng: random.Random) -> dict[str, Any]:
    """Drop a group of replicas, or make one."""
    assert result.assignment is not None
    if result.replicas and rng.random() < 0.5:
        return {"replicas": result.replicas[1:], "stages": None}
    first = rng.choice(sorted(set(result.assignment.values())))
    group = [first, *rng.sample(model.names, rng.randint(1, min(2, model.D)))]
    return {"replicas": [*result.replicas, group], "stages": None}


def _pieces(model: Model, result: Result, rng: random.Random) -> dict[str, Any]:
    """Put a node into another piece of its device, or the pieces of a device into another order."""
    pieces = [p.model_copy(update={"nodes": list(p.nodes)}) for p in result.pieces or ()]
    device = rng.choice(pieces).device
    mine = [p for p in pieces if p.device == device]
    rest = [p for p in pieces if p.device != device]
    if rng.random() < 0.5:
        rng.shuffle(mine)
    else:
        mine.append(Piece(device=device, order=0, nodes=[], start_ms=0.0, finish_ms=0.0))
        node = rng.choice([v for p in mine for v in p.nodes])
        mine = [p.model_copy(update={"nodes": [v for v in p.nodes if v != node]}) for p in mine]
        rng.choice(mine).nodes.append(node)
        mine = [p for p in mine if p.nodes]
    return {"pieces": [*rest, *(p.model_copy(update={"order": k}) for k, p in enumerate(mine))]}
