"""What is done with a plan: verification of altered ones, simulation, exports."""

import math
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from placer import overrides
from placer.check import check, plan_of
from placer.errors import InputError, UsageError
from placer.export import export
from placer.instance import Instance
from placer.report import objective_ms
from placer.result import Piece, Result
from placer.simulation import simulate
from placer.verify import violations
from tests.fuzz.oracle.model import Model
from tests.fuzz.oracle.plan import judge_plan
from tests.fuzz.placed import placed_of

EQUAL = 1e-9


def tampered(model: Model, instance: Instance, result: Result, rng: random.Random) -> Iterator[str]:
    """Move one node: the verification must say what the oracle says."""
    assert result.assignment is not None
    v = rng.randrange(model.n)
    name = rng.choice([d.name for d in _inside(instance, result).devices if d.name in model.names])
    if name == result.assignment[model.ids[v]]:
        return
    pieces = None if result.pieces is None else [p.model_copy() for p in result.pieces]
    if pieces is not None:  # out of its old piece, into the last one of the new device
        node = model.ids[v]
        pieces = [p.model_copy(update={"nodes": [w for w in p.nodes if w != node]}) for p in pieces]
        pieces = [p for p in pieces if p.nodes]
        mine = [p for p in pieces if p.device == name]
        if mine:
            mine[-1].nodes.append(node)
        elif not model.host[model.names.index(name)]:
            pieces.append(Piece(device=name, order=0, nodes=[node], start_ms=0.0, finish_ms=0.0))
    changed = result.model_copy(
        update={"assignment": {**result.assignment, model.ids[v]: name}, "stages": None, "pieces": pieces}
    ).sealed()
    broken, value = judge_plan(model, placed_of(model, changed))
    if model.near_miss:
        return
    moved = f"{model.ids[v]} to {name}"
    other = bool(broken) or not math.isclose(value, result.objective or 0.0, rel_tol=EQUAL)
    if other and not check(instance, changed):
        yield f"check accepts {moved}: {broken or value}"
    found, seen = _verified(instance, changed)
    if bool(found) != bool(broken):
        yield f"{moved} breaks {found[:1]}, the oracle says {broken[:1]}"
    elif not found and not math.isclose(value, seen, rel_tol=EQUAL, abs_tol=0.0):
        yield f"{moved}: objective {seen!r}, the oracle says {value!r}"


def _verified(instance: Instance, result: Result) -> tuple[list[str], float]:
    """The verification's findings about a plan, and its objective by the evaluation."""
    options, inside = result.options, _inside(instance, result)
    plan = replace(plan_of(inside, result), stages=None)
    found = violations(inside, plan, options)
    return found, math.nan if found else objective_ms(inside, plan, options)


def _inside(instance: Instance, result: Result) -> Instance:
    """The instance that a plan is verified against."""
    return overrides.apply(instance, result.options)


def simulated(instance: Instance, result: Result, rng: random.Random) -> Iterator[str]:
    """Run the plan event by event."""
    assert result.objective is not None
    options = result.options
    counts: dict[str, int] = {}
    if options.objective != "latency" and instance.is_training and rng.random() < 0.4:
        counts["microbatches"] = rng.randint(1, 4)
    try:
        simulation = simulate(instance, result, **counts)
    except Exception as error:
        yield f"{type(error).__name__}: {str(error)[:150]}"
        return
    if not simulation.periodic:
        yield "no steady state was found"
    rounding = 1e-12 * simulation.makespan_ms  # of differences between moments
    if not math.isclose(simulation.objective_ms, result.objective, rel_tol=EQUAL, abs_tol=rounding):
        yield f"takes {simulation.objective_ms!r}, the objective is {result.objective!r} {counts or ''}"


def exported(instance: Instance, result: Result, rng: random.Random) -> Iterator[str]:
    """Write the plan for other tools: it is written, or refused in words."""
    to = rng.choice(("dot", "csv", "graphml", "paper-json"))
    with tempfile.TemporaryDirectory() as folder:
        try:
            export(result, to, Path(folder) / "out", instance=instance)
        except (UsageError, InputError) as error:
            if to in ("dot", "csv") and "holds" not in str(error):
                yield f"{to}: {error}"
        except Exception as error:
            yield f"{to}: {type(error).__name__}: {str(error)[:150]}"
