"""What the command line accepts; defaults and meanings are those of `placer.options.Options`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from placer import __version__
from placer.choices import close_to, none_of, offer
from placer.cli.batch_arguments import add_batch
from placer.cli.exit_codes import EXIT_CODES, ExitCode
from placer.cli.export_arguments import add_export
from placer.cli.import_arguments import add_devices, add_import, add_profile
from placer.cli.option_arguments import add_method, add_options
from placer.cli.output import Command, file_name
from placer.cli.report_arguments import add_report
from placer.methods.registry import METHODS
from placer.simulation.trace import DEFAULT_SAMPLES

__all__ = ["parse", "parser"]

DESCRIPTION = """\
Place the operators of a neural network on several devices, with a proven bound.

An instance is a graph of operators with costs and a description of the devices, in placer's JSON format or
the paper's (recognised by content). Try:

  placer import onnx model.onnx --devices 4xt4 --out graph.json     an instance of a real model
  placer info  data/gpt_training.json            what is in it
  placer solve data/gpt_training.json            the best pipeline for training, proven
  placer solve data/latency.json --objective latency --out plan.json
  placer check data/latency.json plan.json       verify a plan from the files alone
  placer export plan.json --to dot --out plan.dot                   for other tools (placer export --help)
  placer report plan.json --instance data/latency.json --out plan.html
  placer simulate data/latency.json plan.json --trace trace.json
                                                 run it event by event, timeline for Perfetto
"""

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


class _Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(ExitCode.BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of the choices, listing them."""
        if action.choices is not None and value not in action.choices:
            if action.dest == "command":
                self.error(none_of("command", value, action.choices))
            raise argparse.ArgumentError(action, f"invalid value {value!r}{offer(value, action.choices)}")

    def unknown(self, arguments: Sequence[str]) -> NoReturn:
        """Refuse arguments that are none, with the option that is close to the first."""
        known = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        close = close_to(arguments[0].partition("=")[0], known) if arguments[0].startswith("-") else None
        hint = "" if close is None else f" (did you mean {close}?)"
        self.error(f"unrecognized arguments: {' '.join(arguments)}{hint}")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse all arguments; the command itself complains about those that it does not know."""
    top, commands = _parsers()
    args, unknown = top.parse_known_args(argv)
    if unknown:
        commands.choices[args.command].unknown(unknown)
    return args


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    return _parsers()[0]


def _parsers() -> tuple[_Parser, argparse._SubParsersAction[_Parser]]:
    top = _Parser(
        prog="placer",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"placer {__version__}")
    top.add_argument(
        "--debug",
        action="store_true",
        help="show what the solvers log, and the traceback of an internal error",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, summary: str, **more: Any) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **more,
        )
        # Without a default here, so that the option may stand before or after the command.
        made.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return made

    for add in COMMANDS:
        add(command)
    return top, commands


def _add_solve(command: Command) -> None:
    solve = command("solve", "find a placement and prove how good it is", epilog=SOLVE_EXAMPLES)
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


def _add_check(command: Command) -> None:
    check = command("check", "verify a result from the files alone: loads, memory, contiguity, objective")
    _add_plan(check)
    check.add_argument("--json", action="store_true", help="print the findings as JSON")


def _add_info(command: Command) -> None:
    info = command("info", "say what is in an instance")
    info.add_argument("instance", metavar="INSTANCE", help="instance file")
    info.add_argument("--json", action="store_true", help="print as JSON")


def _add_compare(command: Command) -> None:
    compare = command(
        "compare",
        "run several methods on one instance and tabulate them, or compare two batches",
        epilog=COMPARE_EXAMPLES,
    )
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


def _add_simulate(command: Command) -> None:
    simulate = command(
        "simulate", "run a plan event by event: time per sample, idle time, memory", epilog=SIMULATE_EXAMPLES
    )
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
        default=DEFAULT_SAMPLES,
        metavar="N",
        help=f"samples or microbatches in the trace (default: {DEFAULT_SAMPLES})",
    )
    simulate.add_argument("--json", action="store_true", help="print the figures as JSON")


def _add_sweep(command: Command) -> None:
    sweep = command(
        "sweep",
        "solve with more or fewer devices, more or less memory, faster or slower links",
        epilog=SWEEP_EXAMPLES,
    )
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


def _add_schema(command: Command) -> None:
    command("schema", "print the JSON Schema of the instance format")


def _add_plan(command: argparse.ArgumentParser) -> None:
    command.add_argument("instance", metavar="INSTANCE", help="instance file")
    command.add_argument("result", metavar="RESULT", help="result document, or a split in the paper's format")


def _add_output(command: argparse.ArgumentParser, what: str) -> None:
    output = command.add_argument_group("output")
    output.add_argument("--out", type=file_name, metavar=what, help="write the result to this file")
    output.add_argument("--json", action="store_true", help="print the result document alone")
    output.add_argument("--quiet", action="store_true", help="no progress on standard error")


COMMANDS = (
    _add_solve,
    _add_check,
    _add_info,
    _add_compare,
    _add_simulate,
    _add_sweep,
    add_report,
    add_export,
    add_import,
    add_profile,
    add_devices,
    add_batch,
    _add_schema,
)
"""What adds a command with its arguments, in the order of the help."""
