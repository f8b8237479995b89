"""What the command line accepts; defaults and meanings are those of `placer.options.Options`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any, NoReturn

from placer import __version__
from placer.choices import close_to, none_of, offer
from placer.cli.exit_codes import EXIT_CODES, ExitCode

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

NUMBERS = {
    "invalid int value:": "expected a whole number, got",
    "invalid float value:": "expected a number, got",
}
"""What the library says of numbers, and what users are told."""


class _Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        for said, plain in NUMBERS.items():
            message = message.replace(said, plain)
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
    arguments = sys.argv[1:] if argv is None else list(argv)
    top, commands = _parsers(next((name for name in arguments if name in COMMANDS), ""))
    args, unknown = top.parse_known_args(arguments)
    if unknown:
        commands.choices[args.command].unknown(unknown)
    return args


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    return _parsers(*COMMANDS)[0]


def _parsers(*wanted: str) -> tuple[_Parser, argparse._SubParsersAction[_Parser]]:
    """Build the parsers; only those wanted get their arguments, which takes modules to import."""
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

    for name, (summary, where) in COMMANDS.items():
        command = partial(_add_command, commands, name, summary)
        if name in wanted:
            module, function = where.split(":")
            getattr(import_module(module), function)(command)
        else:
            command()
    return top, commands


def _add_command(
    commands: argparse._SubParsersAction[_Parser], name: str, summary: str, **more: Any
) -> argparse.ArgumentParser:
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


COMMANDS: dict[str, tuple[str, str]] = {
    "solve": (
        "find a placement and prove how good it is",
        "placer.cli.plan_arguments:add_solve",
    ),
    "check": (
        "verify a result from the files alone: loads, memory, contiguity, objective",
        "placer.cli.plan_arguments:add_check",
    ),
    "info": (
        "say what is in an instance",
        "placer.cli.plan_arguments:add_info",
    ),
    "compare": (
        "run several methods on one instance and tabulate them, or compare two batches",
        "placer.cli.plan_arguments:add_compare",
    ),
    "simulate": (
        "run a plan event by event: time per sample, idle time, memory",
        "placer.cli.plan_arguments:add_simulate",
    ),
    "traffic": (
        "simulate requests to a plan of placer serve: waiting, time to first token and per token",
        "placer.cli.traffic_arguments:add_traffic",
    ),
    "sweep": (
        "solve with more or fewer devices, more or less memory, faster or slower links",
        "placer.cli.plan_arguments:add_sweep",
    ),
    "plan": (
        "plan how a model is trained: degrees, stages, microbatches",
        "placer.cli.train_arguments:add_plan",
    ),
    "serve": (
        "plan how a language model is served: layers, batch, context, requests at once",
        "placer.cli.serve_arguments:add_serve",
    ),
    "flow": (
        "put ranges of layers on devices so that most tokens per second pass all of them",
        "placer.cli.flow_arguments:add_flow",
    ),
    "report": (
        "write a page about a plan or a batch: one file that opens offline",
        "placer.cli.report_arguments:add_report",
    ),
    "export": (
        "write a plan in the format of another tool",
        "placer.cli.export_arguments:add_export",
    ),
    "import": (
        "make an instance of a real model",
        "placer.cli.import_arguments:add_import",
    ),
    "profile": (
        "measure a model's operators, or the links, on this machine",
        "placer.cli.measuring_arguments:add_profile",
    ),
    "calibrate": (
        "fit a device of the catalogue to measured times",
        "placer.cli.measuring_arguments:add_calibrate",
    ),
    "devices": (
        "list the catalogue of devices, links and clusters",
        "placer.cli.import_arguments:add_devices",
    ),
    "batch": (
        "solve many instances with many methods; the same command again goes on",
        "placer.cli.batch_arguments:add_batch",
    ),
    "schema": (
        "print the JSON Schema of the instance format",
        "placer.cli.plan_arguments:add_schema",
    ),
}
"""Each command with its summary, and what adds its arguments, in the order of the help."""
