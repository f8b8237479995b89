"""What is done with a plan: verification of altered ones, simulation, exports."""

import math
import random
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from placer.errors import InputError, UsageError
from placer.exports.api import export
from placer.formats import native
from placer.formats.files import load, load_result
from placer.instance import overrides
from placer.instance.fingerprint import fingerprint
from placer.instance.instance import Instance
from placer.plans.check import check, plan_of
from placer.plans.figures import objective_ms
from placer.plans.result import Result
from placer.plans.verify import violations
from placer.simulation import simulate
from placer.solving.solve import solve
from tests.fuzz.alter import altered
from tests.fuzz.oracle.model import Model
from tests.fuzz.oracle.plan import judge_plan
from tests.fuzz.placed import placed_of

EQUAL = 1e-9


def tampered(model: Model, instance: Instance, result: Result, rng: random.Random) -> Iterator[str]:
    """Alter a plan: the verification must say what the oracle says."""
    found = altered(model, result, rng)
    if found is None:
        return
    words, changed = found
    broken, value = judge_plan(model, placed_of(model, changed))
    if model.near_miss:
        return
    other = bool(broken) or not math.isclose(value, result.objective or 0.0, rel_tol=EQUAL)
    if other and not check(instance, changed):
        yield f"check accepts {words}: {broken or value}"
    inside = overrides.apply(instance, result.options)
    plan = plan_of(inside, changed)
    wrong = violations(inside, plan, result.options)
    if bool(wrong) != bool(broken):
        yield f"{words} breaks {wrong[:1]}, the oracle says {broken[:1]}"
    elif not wrong and not math.isclose(value, objective_ms(inside, plan, result.options), rel_tol=EQUAL):
        yield f"{words}: objective {objective_ms(inside, plan, result.options)!r}, the oracle says {value!r}"


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
    """Write the plan for other tools: it is written, or refused in words; a split is read again."""
    to = rng.choice(("dot", "csv", "graphml", "paper-json"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        try:
            export(result, to, out, instance=instance)
        except (UsageError, InputError) as error:
            if to != "paper-json" or "not hold" in str(error):
                yield f"{to}: {error}"
            return
        except Exception as error:
            yield f"{to}: {type(error).__name__}: {str(error)[:150]}"
            return
        if to == "paper-json":
            yield from _read_again(instance, result, out)


def written(instance: Instance, result: Result) -> Iterator[str]:
    """Instance and result are the same after they were written and read."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "instance.json", Path(folder) / "result.json"
        paths[0].write_text(native.to_json(instance))
        paths[1].write_text(result.to_json())
        again, document = load(paths[0]), load_result(paths[1])
    if fingerprint(again) != fingerprint(instance):
        yield "the instance is another one after it was written and read"
    if document != result:
        yield "the result is another one after it was written and read"
    yield from check(again, document)
    words = f"{result.message} {' '.join(result.hints)}"
    if re.search(r"\b(nan|inf|None)\b", words):
        yield f"says {words!r}"


def _read_again(instance: Instance, result: Result, split: Path) -> Iterator[str]:
    """The method ``expert`` finds the plan in the split that was written, if it is of its kind."""
    if result.options.per_device_contiguity:  # its devices may be in a circle
        return
    changes = {
        "method": "expert",
        "formulation": "ordered",
        "split": str(split),
        "balance": False,
        "near": {},
    }
    try:
        again = solve(instance, result.options, **changes)
    except UsageError:  # what the method does not know
        return
    if again.objective is None or not math.isclose(again.objective, result.objective or 0.0, rel_tol=EQUAL):
        yield f"paper-json: read again {again.objective!r}, was {result.objective!r} ({again.message})"
