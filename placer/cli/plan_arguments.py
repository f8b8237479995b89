"""What the commands about instances and plans accept."""

from __future__ import annotations

import argparse

from placer.cli.common_arguments import add_quiet
from placer.cli.exit_codes import EXIT_CODES
from placer.cli.option_arguments import add_method, add_options
from placer.cli.output import Command, file_name
from placer.methods.registry import METHODS

TRACE_SAMPLES = 8

__all__ = ["add_check", "add_compare", "add_info", "add_schema", "add_simulate", "add_solve", "add_sweep"]

SOLVE_EXAMPLES = (
    """\
examples:
  placer solve graph.json                              best contiguous pipeline, any exact method
  placer solve graph.json --no-contiguous --gap 0.01   a device may serve several stages; 1 % is enough
  placer solve graph.json --schedule gpipe             training, all forwards before all backwards
  placer solve graph.json --objective latency --pieces 2
  placer solve graph.json --time-limit 10 --out plan.json --json
  placer solve graph.json --pin 'embed*=gpu0' --apart expert0,expert1 --max-devices 3
  placer solve graph.json --keep plan.json --keep-nodes 'encoder.*'   the rest is planned again

"""
    + EXIT_CODES
)


CHECK_EXAMPLES = (
    """\
examples:
  placer check graph.json plan.json      a result of placer solve, or a split of the paper's code
  placer check config.json served.json   an answer of placer serve, and the MODEL that it is about
  placer check plan/instance.json plan/training.json
                                         what placer plan train found, with what comes once per step

"""
    + EXIT_CODES
)


COMPARE_EXAMPLES = (
    """\
examples:
  placer compare graph.json --methods dp,milp,greedy   one instance, a process per method
  placer compare before/ after/                        two batches: exit code 1 if a result got worse

"""
    + EXIT_CODES
)

SWEEP_EXAMPLES = (
    """\
examples:
  placer sweep graph.json --vary devices=2..16                 how many devices are worth it
  placer sweep graph.json --vary devices:a100=1..4 --vary devices:t4=0..8
  placer sweep graph.json --vary memory=16GiB,24GiB,40GiB --out memory.csv
  placer sweep graph.json --vary bandwidth=x0.1,x0.5,x1 --results points/

A plan for less is a start for more, and a bound for more holds for less.

"""
    + EXIT_CODES
)


SIMULATE_EXAMPLES = (
    """\
examples:
  placer simulate graph.json plan.json                          time per sample against the plan's objective
  placer simulate graph.json plan.json --trace trace.json       open it on https://ui.perfetto.dev
  placer simulate training.json plan.json --microbatches 16     fill, drain and memory of an optimizer step

Contiguous training under 1f1b and sequential communication keeps s microbatches in flight on the s-th device
from the end, as PipeDream does.  Elsewhere a device serves each of its stages once per round.

"""
    + EXIT_CODES
)


def add_solve(command: Command) -> None:
    """Add the command."""
    solve = command(epilog=SOLVE_EXAMPLES)
    solve.add_argument("instance", metavar="INSTANCE", help="instance file")
    add_method(solve)
    add_options(solve)
    solve.add_argument("--start", metavar="RESULT", help="start from the plan of an earlier result")
    solve.add_argument(
        "--keep", metavar="RESULT", help="pin nodes to where an earlier result has them, plan the rest again"
    )
    solve.add_argument(
        "--keep-nodes",
        action="append",
        metavar="NODE",
        help="which nodes --keep pins (repeatable; default: all)",
    )
    solve.add_argument(
        "--near",
        metavar="RESULT",
        help="among plans that are as good, move fewest nodes from an earlier result",
    )
    _add_output(solve, "RESULT.json")


def add_check(command: Command) -> None:
    """Add the command."""
    check = command(epilog=CHECK_EXAMPLES)
    _add_plan(check)
    check.add_argument("--json", action="store_true", help="print the findings as JSON")


def add_info(command: Command) -> None:
    """Add the command."""
    info = command()
    info.add_argument("instance", metavar="INSTANCE", help="instance file")
    info.add_argument("--json", action="store_true", help="print as JSON")


def add_compare(command: Command) -> None:
    """Add the command."""
    compare = command(epilog=COMPARE_EXAMPLES)
    compare.add_argument("instance", metavar="INSTANCE", help="instance file, or folder of a batch")
    compare.add_argument(
        "other", metavar="DIR_B", nargs="?", help="folder of another batch: what got better or worse in it"
    )
    compare.add_argument(
        "--methods",
        metavar="A,B,...",
        help="methods to run, by default all that apply: " + ", ".join(METHODS),
    )
    add_options(compare)
    compare.add_argument(
        "--noise",
        type=float,
        default=0.5,
        metavar="REL",
        help="two batches: relative difference of times that is noise, beyond 0.1 s (default: 0.5)",
    )
    _add_output(compare, "TABLE.json|TABLE.csv")


def add_simulate(command: Command) -> None:
    """Add the command."""
    simulate = command(epilog=SIMULATE_EXAMPLES)
    _add_plan(simulate)
    simulate.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help="inference: samples to run (default: enough to reach the steady state)",
    )
    simulate.add_argument(
        "--microbatches",
        type=int,
        metavar="M",
        help="training: microbatches of the optimizer step to run (default: the plan's or the instance's)",
    )
    simulate.add_argument(
        "--trace",
        type=file_name,
        metavar="FILE.json",
        help="write a timeline for Perfetto or chrome://tracing",
    )
    simulate.add_argument(
        "--trace-samples",
        type=int,
        default=TRACE_SAMPLES,
        metavar="N",
        help=f"samples or microbatches in the trace (default: {TRACE_SAMPLES})",
    )
    simulate.add_argument("--json", action="store_true", help="print the figures as JSON")


def add_sweep(command: Command) -> None:
    """Add the command."""
    sweep = command(epilog=SWEEP_EXAMPLES)
    sweep.add_argument("instance", metavar="INSTANCE", help="instance file")
    sweep.add_argument(
        "--vary",
        action="append",
        required=True,
        metavar="WHAT=VALUES",
        help="devices=2..16, memory=8GiB,16GiB, bandwidth=x0.5,x1,x2 or max-ms=20,40; for one class of "
        "devices devices:NAME=... (repeatable: all combinations)",
    )
    add_method(sweep)
    add_options(sweep)
    sweep.add_argument(
        "--results", type=file_name, metavar="DIR", help="write instance and result of every point there"
    )
    _add_output(sweep, "TABLE.json|TABLE.csv")


def add_schema(command: Command) -> None:
    """Add the command."""
    command()


def _add_plan(command: argparse.ArgumentParser) -> None:
    command.add_argument("instance", metavar="INSTANCE", help="instance file")
    command.add_argument("result", metavar="RESULT", help="result document, or a split in the paper's format")


def _add_output(command: argparse.ArgumentParser, what: str) -> None:
    output = command.add_argument_group("output")
    output.add_argument("--out", type=file_name, metavar=what, help="write the result to this file")
    output.add_argument("--json", action="store_true", help="print the result document alone")
    add_quiet(output)
