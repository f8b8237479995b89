"""``placer solve``."""

from __future__ import annotations

import os
import sys
import time
from typing import Protocol

from placer.cli.exit_codes import ExitCode
from placer.cli.option_arguments import options_from
from placer.cli.progress import Display
from placer.cli.tables import print_json, print_result, stdout
from placer.errors import InputError, UsageError
from placer.formats.files import load, load_result, save_result
from placer.formats.text import check_writable
from placer.instance.instance import Instance
from placer.instance.overrides import apply, nodes_named
from placer.options import Objective
from placer.plans.check import check, plan_of
from placer.plans.plan import Plan
from placer.plans.result import Result, Status
from placer.plans.status import Stop
from placer.signals import stop_on_signals
from placer.solving.request import make_options
from placer.solving.solve import solve

__all__ = ["exit_code", "run"]

CODES = {
    Status.OPTIMAL: ExitCode.DONE,
    Status.FEASIBLE: ExitCode.DONE,
    Status.INFEASIBLE: ExitCode.INFEASIBLE,
    Status.UNKNOWN: ExitCode.NO_PLAN,
}


class Arguments(Protocol):
    """What the command is given."""

    instance: str
    start: str | None
    keep: str | None
    keep_nodes: list[str] | None
    near: str | None
    split: str | None
    out: str | None
    json: bool
    quiet: bool


def run(args: Arguments) -> ExitCode:
    """Solve an instance; print and write the result."""
    began = time.perf_counter()  # reading counts
    given = options_from(args)
    instance = load(args.instance)
    if args.keep is not None:
        given["pin"] = _kept(instance, args.keep, args.keep_nodes) | given.get("pin", {})
    elif args.keep_nodes:
        raise UsageError("--keep-nodes says which nodes --keep pins; give --keep RESULT as well")
    if args.near is not None:
        given["near"] = _assignment(args.near)
    options = make_options(**given)
    start = None if args.start is None else _start(instance, args.start, options.objective)
    if args.out:
        check_writable(args.out, args.instance, args.start, args.keep, args.near, args.split)
    with stop_on_signals() as interrupt, Display(quiet=args.quiet, objective=options.objective) as display:
        result = solve(
            instance,
            options,
            start=start,
            on_progress=display,
            interrupt=interrupt,
            guard=True,
            began=began,
        )
    if args.out:
        result = _remembering(result, args.instance, args.out)
    # An interrupted search with nothing to show must not replace an earlier result.
    if args.out and not (interrupt.is_set() and result.assignment is None):
        save_result(result, args.out)
    if args.json:
        print_json(result.to_json())
    else:
        print_result(instance, result, stdout())
    if result.assignment is None:
        print(f"placer: {result.status}: {result.message or result.stop}", file=sys.stderr)
    return exit_code(result, interrupted=interrupt.is_set())


def exit_code(result: Result, *, interrupted: bool = False) -> ExitCode:
    """Exit code of a result, by the contract of the command line."""
    return ExitCode.INTERRUPTED if interrupted or result.stop is Stop.INTERRUPTED else CODES[result.status]


def _remembering(result: Result, instance: str, out: str) -> Result:
    """Note in the document where its instance is, seen from where the document will be."""
    file = os.path.relpath(os.path.realpath(instance), os.path.dirname(os.path.realpath(out)))
    return result.model_copy(update={"instance": result.instance.model_copy(update={"file": file})})


def _kept(instance: Instance, path: str, patterns: list[str] | None) -> dict[str, tuple[str, ...]]:
    """Pins that keep nodes where an earlier result, perhaps of another instance, has them."""
    assignment = _assignment(path)
    nodes = {v for pattern in patterns or ["*"] for v in nodes_named(instance, pattern, "keep-nodes")}
    kept: dict[str, tuple[str, ...]] = {
        instance.ids[v]: (assignment[instance.ids[v]],)
        for v in sorted(nodes)
        if instance.ids[v] in assignment
    }
    if not kept:
        raise InputError("places none of the nodes that are to be kept", source=path)
    return kept


def _assignment(path: str) -> dict[str, str]:
    """Read the assignment of an earlier result, perhaps of another instance."""
    assignment = load_result(path).assignment
    if assignment is None:
        raise InputError("holds no plan", source=path)
    return assignment


def _start(instance: Instance, path: str, objective: Objective) -> Plan:
    """Read the plan of an earlier result, which must hold for this instance and objective."""
    earlier = load_result(path)
    if earlier.assignment is None or earlier.options.objective is not objective:
        raise InputError(f"holds no {objective} plan to start from", source=path)
    found = check(instance, earlier)
    if found:
        raise InputError(f"cannot be started from: {found[0]}", source=path)
    return plan_of(apply(instance, earlier.options), earlier)
