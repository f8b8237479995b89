"""``placer check``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Protocol

from placer.cli.exit_codes import ExitCode
from placer.cli.tables import print_json, print_result, stdout
from placer.errors import InputError, UsageError
from placer.formats import paper_json
from placer.formats.files import load, load_result, load_split
from placer.formats.text import parse_json, read_text, validate
from placer.imports.catalogue import find_cluster
from placer.instance.instance import Instance
from placer.options import Options
from placer.plans.check import check
from placer.plans.result import Result
from placer.plans.status import Stop
from placer.plans.verify import violations
from placer.search.run import Outcome, Run
from placer.serving.disaggregated_check import violations as disaggregated_violations
from placer.serving.disaggregated_result import is_disaggregated, load_disaggregated
from placer.serving.serve import read_served, served
from placer.serving.served_language_model import ServedLanguageModel
from placer.serving.serving_check import violations as served_violations
from placer.serving.serving_file import is_serving_result, load_serving_result
from placer.solving.to_result import to_result
from placer.studies.training.training_check import training_violations
from placer.studies.training.training_plan import TrainingPlan, is_training_plan

__all__ = ["run"]


class Arguments(Protocol):
    """What the command is given."""

    instance: str
    result: str
    json: bool


def run(args: Arguments) -> ExitCode:
    """Verify a result or a split; exit code 1 when something does not hold."""
    document = parse_json(read_text(args.result), args.result)
    if is_serving_result(document):
        return _served(args)
    if is_disaggregated(document):
        return _disaggregated(args)
    instance = load(args.instance)
    if is_training_plan(document):
        return _training(args, document, instance)
    if paper_json.is_paper_split(document):
        return _split(args, instance)
    result = load_result(args.result)
    found = check(instance, result)
    if args.json:
        document = {"holds": not found, "found": found, **result.summary()}
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    elif not found:
        print_result(instance, result, stdout())
        if result.assignment is None:
            print(result.message)
        print("verified: " + _covered(result))
    return _complain(args.result, found)


def _served(args: Arguments) -> ExitCode:
    """Verify an answer of ``placer serve``, on the devices and with the number formats that it names."""
    result = load_serving_result(args.result)
    asked = result.request
    try:
        found = read_served(args.instance, precision=asked.precision, weights=asked.weights)
        devices = None if isinstance(found, Instance) else result.devices
        model, _ = served(found, devices, asked, cache=asked.cache, reserve=asked.reserve)
    except UsageError as error:
        about = f"the answer is about {result.model!r} on {result.devices}"
        raise InputError(f"{about}; here {error}", source=args.instance) from None
    broken = served_violations(model, result)
    if broken and result.model != model.name:
        broken.insert(0, f"the answer is about another model ({result.model!r})")
    if args.json:
        given = result.model_dump(mode="json", include={"status", "value", "bound", "gap"})
        sys.stdout.write(json.dumps({"holds": not broken, "found": broken, **given}, indent=1) + "\n")
    elif result.plan is None and not broken:
        print(f"{result.message}\nverified: that there is no plan is the search's claim")
    elif result.plan is not None and not broken:
        stages = len(result.plan.stages)
        print(
            f"status {result.status}  {result.value:.10g}  {stages} stage{'s' * (stages > 1)}\n"
            "verified: assignment, memory, loads, times and value hold; the bound is the search's"
        )
    return _complain(args.result, broken)


def _disaggregated(args: Arguments) -> ExitCode:
    """Verify an answer of ``placer serve --layout disaggregated``."""
    result = load_disaggregated(args.result)
    asked = result.request
    found = read_served(args.instance, precision=asked.precision, weights=asked.weights)
    model, _ = served(found, result.devices, asked, cache=asked.cache, reserve=asked.reserve)
    if not isinstance(model, ServedLanguageModel):
        raise InputError("an instance has no prompts to disaggregate", source=args.instance)
    broken = disaggregated_violations(model, result)
    if args.json:
        given = result.model_dump(mode="json", include={"status", "value", "bound", "gap"})
        sys.stdout.write(json.dumps({"holds": not broken, "found": broken, **given}, indent=1) + "\n")
    elif not broken and result.value is None:
        print(f"{result.message}\nverified: that there is no plan is the search's claim")
    elif not broken:
        print(
            f"status {result.status}  {result.value:.10g} requests/s\nverified: both groups, memory, loads, "
            "hand-over and value hold; the bound is the search's"
        )
    return _complain(args.result, broken)


def _training(args: Arguments, document: object, instance: Instance) -> ExitCode:
    """Verify the best choice of ``placer plan train``, whose plan lies beside the instance."""
    made = validate(TrainingPlan, document)
    try:
        cluster = find_cluster(made.devices)
    except UsageError as error:
        raise InputError(f"the plan is for {made.devices}; here {error}", source=args.result) from None
    result = load_result(Path(args.instance).parent / "plan.json")
    found = training_violations(made, instance, result, cluster)
    if args.json:
        given = made.model_dump(mode="json", include={"step_ms", "bound_ms", "gap"})
        sys.stdout.write(json.dumps({"holds": not found, "found": found, **given}, indent=1) + "\n")
    elif not found:
        print(
            f"{made.step_ms:.10g} ms per step, {made.tried[0].once_ms:.10g} of them once per step\n"
            "verified: the pipeline, gradients, updates, the step and samples per second hold; the bound is "
            "the search's"
        )
    return _complain(args.result, found)


def _split(args: Arguments, instance: Instance) -> ExitCode:
    """Evaluate a throughput split in the paper's format; it claims nothing, so only rules can break."""
    plan = load_split(args.result, instance)
    contiguous = not violations(instance, plan, Options())
    options = Options(method="expert", contiguous=contiguous)
    found = violations(instance, plan, options)
    if not found:
        result = to_result(instance, instance, options, Outcome(Stop.FINISHED, plan), Run())
        if args.json:
            print_json(result.to_json())
        else:
            print_result(instance, result, stdout())
            kind = "contiguous" if contiguous else "not contiguous"
            print(f"verified: assignment, memory and colocation hold; the split is {kind}")
    return _complain(args.result, found)


def _covered(result: Result) -> str:
    if result.assignment is not None:
        contiguity = "contiguity, " if result.options.contiguous else ""
        return (
            f"assignment, memory, colocation, {contiguity}loads and objective hold; the bound is the solver's"
        )
    return "the document is as it was written; that there is no plan is the solver's claim"


def _complain(source: str, found: list[str]) -> ExitCode:
    for line in found:
        print(f"placer: {source}: {line}", file=sys.stderr)
    return ExitCode.DOES_NOT_HOLD if found else ExitCode.DONE
