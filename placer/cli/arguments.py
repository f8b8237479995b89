"""What the command line accepts; defaults and meanings are those of `placer.options.Options`."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from placer import __version__
from placer.methods import METHODS
from placer.options import Communication, Formulation, Objective, Options, Recompute, Schedule
from placer.simulation.trace import DEFAULT_SAMPLES

__all__ = ["options_from", "parser"]

DESCRIPTION = """\
Place the operators of a neural network on several devices, with a proven bound.

An instance is a graph of operators with costs and a description of the devices, in placer's JSON format or
the paper's (recognised by content). Try:

  placer info  data/gpt_training.json            what is in it
  placer solve data/gpt_training.json            the best pipeline for training, proven
  placer solve data/latency.json --objective latency --out plan.json
  placer check data/latency.json plan.json       verify a plan from the files alone
  placer simulate data/latency.json plan.json --trace trace.json
                                                 run it event by event, timeline for Perfetto
"""

EXIT_CODES = """\
exit codes: 0 a verified placement is there; 1 (check, compare, simulate) something does not hold; 2 bad
usage or bad input; 3 proven infeasible; 4 stopped with no placement; 130 interrupted (the best placement so
far is kept)
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
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = _Parser(
        prog="placer",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"placer {__version__}")
    top.add_argument("--debug", action="store_true", help="show the traceback of an internal error")
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

    solve = command("solve", "find a placement and prove how good it is", epilog=SOLVE_EXAMPLES)
    solve.add_argument("instance", metavar="INSTANCE", help="instance file")
    solve.add_argument(
        "--method", choices=METHODS, default=_default("method"), metavar="METHOD", help=_methods_help()
    )
    _add_options(solve)
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

    check = command("check", "verify a result from the files alone: loads, memory, contiguity, objective")
    check.add_argument("instance", metavar="INSTANCE", help="instance file")
    check.add_argument("result", metavar="RESULT", help="result document, or a split in the paper's format")
    check.add_argument("--json", action="store_true", help="print the findings as JSON")

    info = command("info", "say what is in an instance")
    info.add_argument("instance", metavar="INSTANCE", help="instance file")
    info.add_argument("--json", action="store_true", help="print as JSON")

    compare = command("compare", "run several methods on one instance and tabulate them", epilog=EXIT_CODES)
    compare.add_argument("instance", metavar="INSTANCE", help="instance file")
    compare.add_argument(
        "--methods",
        metavar="A,B,...",
        help="methods to run, by default all that apply: " + ", ".join(METHODS),
    )
    _add_options(compare)
    _add_output(compare, "TABLE.json|TABLE.csv")

    _add_simulate(command("simulate", "run a plan event by event: time per sample, idle time, memory"))

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
        help="devices=2..16, memory=8GiB,16GiB or bandwidth=x0.5,x1,x2; for one class of devices "
        "devices:NAME=... (repeatable: all combinations)",
    )
    sweep.add_argument(
        "--method", choices=METHODS, default=_default("method"), metavar="METHOD", help=_methods_help()
    )
    _add_options(sweep)
    sweep.add_argument("--results", metavar="DIR", help="write instance and result of every point there")
    _add_output(sweep, "TABLE.json|TABLE.csv")

    command("schema", "print the JSON Schema of the instance format")
    return top


def _add_simulate(command: argparse.ArgumentParser) -> None:
    command.epilog = SIMULATE_EXAMPLES
    command.add_argument("instance", metavar="INSTANCE", help="instance file")
    command.add_argument("result", metavar="RESULT", help="result document, or a split in the paper's format")
    command.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help="inference: samples to run (default: enough to reach the steady state)",
    )
    command.add_argument(
        "--microbatches",
        type=int,
        metavar="M",
        help="training: microbatches of the optimizer step to run (default: the plan's or the instance's)",
    )
    command.add_argument(
        "--trace", metavar="FILE.json", help="write a timeline for Perfetto or chrome://tracing"
    )
    command.add_argument(
        "--trace-samples",
        type=int,
        default=DEFAULT_SAMPLES,
        metavar="N",
        help=f"samples or microbatches in the trace (default: {DEFAULT_SAMPLES})",
    )
    command.add_argument("--json", action="store_true", help="print the figures as JSON")


def _add_options(command: argparse.ArgumentParser) -> None:
    plan = command.add_argument_group("the plan")
    plan.add_argument(
        "--objective",
        type=Objective,
        choices=list(Objective),
        default=_default("objective"),
        metavar="{throughput,latency}",
        help="time per sample of a pipeline, or time of a single sample (default: throughput)",
    )
    plan.add_argument(
        "--contiguous",
        action=argparse.BooleanOptionalAction,
        default=_default("contiguous"),
        help="whether data may only flow forward from device to device (default: yes)",
    )
    plan.add_argument(
        "--schedule",
        type=Schedule,
        choices=list(Schedule),
        default=_default("schedule"),
        metavar="{1f1b,gpipe}",
        help="pipelined training: minimise max(FW + BW), or max FW + max BW (default: 1f1b)",
    )
    plan.add_argument(
        "--microbatches",
        type=int,
        metavar="M",
        help="training: microbatches per optimizer step; so many at most are in flight on a device "
        "(default: what the instance says)",
    )
    plan.add_argument(
        "--recompute",
        type=Recompute,
        choices=list(Recompute),
        default=_default("recompute"),
        metavar="{none,auto,all}",
        help="training: stages that keep what they receive instead of their activations, and compute these "
        "again in the backward pass (default: none)",
    )
    plan.add_argument(
        "--replicas",
        type=int,
        default=_default("replicas"),
        metavar="R",
        help="a stage may run on up to so many identical devices, each taking its share of the samples; in "
        "training they synchronise their weights (default: 1)",
    )
    plan.add_argument(
        "--pieces",
        type=int,
        default=_default("pieces"),
        metavar="Q",
        help="latency: contiguous pieces per accelerator (default: 1)",
    )
    plan.add_argument(
        "--communication",
        type=Communication,
        choices=list(Communication),
        default=_default("communication"),
        metavar="{sequential,overlap,duplex}",
        help="load of a device: compute + in + out, max(compute, in + out) or max(compute, in, out) "
        "(default: sequential)",
    )
    goals = command.add_argument_group("among plans that are as good")
    goals.add_argument(
        "--balance",
        action="store_true",
        help="prefer balanced loads, then fewest transfers, then fewest devices",
    )
    goals.add_argument(
        "--slack",
        type=float,
        default=_default("slack"),
        metavar="REL",
        help="how much worse than the best objective found is as good (default: 0)",
    )
    _add_overrides(command)
    search = command.add_argument_group("the search")
    search.add_argument(
        "--formulation",
        type=Formulation,
        choices=list(Formulation),
        default=_default("formulation"),
        metavar="{ordered,paper}",
        help="program of method milp; the paper's asks only that each device's part be contiguous by itself "
        "(default: ordered)",
    )
    search.add_argument(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="stop after so long and keep the best plan (default: 300 for milp, none for dp)",
    )
    search.add_argument(
        "--gap",
        type=float,
        default=_default("gap"),
        metavar="REL",
        help="proven gap to stop at (default: 1e-4)",
    )
    search.add_argument("--threads", type=int, default=_default("threads"), metavar="N", help="(default: 1)")
    search.add_argument("--seed", type=int, default=_default("seed"), metavar="N", help="(default: 0)")
    search.add_argument(
        "--memory-limit-mb",
        type=int,
        default=_default("memory_limit_mb"),
        metavar="MB",
        help="memory that a search may use before it stops with what it has (default: 4096)",
    )
    search.add_argument("--split", metavar="FILE", help="a split in the paper's format, for method expert")


def _add_overrides(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group(
        "overrides",
        "A NODE is an id, a name or a pattern such as 'encoder.*'; a DEVICE may be a whole class.",
    )
    group.add_argument(
        "--pin",
        action=_ByNode,
        metavar="NODE=DEVICE,...",
        help="these nodes go to one of these devices, whatever pins the instance has (repeatable)",
    )
    group.add_argument(
        "--forbid",
        action=_ByNode,
        metavar="NODE=DEVICE,...",
        help="these nodes must not go there (repeatable)",
    )
    group.add_argument(
        "--together",
        action=_Groups,
        metavar="NODE,NODE,...",
        help="these nodes go to one device (repeatable)",
    )
    group.add_argument(
        "--apart",
        action=_Groups,
        metavar="NODE,NODE,...",
        help="these nodes go to pairwise different devices (repeatable)",
    )
    group.add_argument(
        "--max-devices", type=int, metavar="N", help="at most so many devices hold nodes, hosts included"
    )
    group.add_argument(
        "--use-devices",
        type=_names,
        default=_default("use_devices"),
        metavar="DEVICE,...",
        help="exactly these devices hold nodes, each at least one",
    )


class _ByNode(argparse.Action):
    """Collects NODE=DEVICE,... into a dictionary of tuples."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        node, equals, devices = str(values).rpartition("=")
        if not equals or not node or not _names(devices):
            parser.error(f"argument {option_string}: expected NODE=DEVICE,..., got {values!r}")
        held = dict(getattr(namespace, self.dest) or {})
        held[node] = (*held.get(node, ()), *_names(devices))
        setattr(namespace, self.dest, held)


class _Groups(argparse.Action):
    """Collects NODE,NODE,... into a tuple of groups."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, (*(getattr(namespace, self.dest) or ()), _names(str(values))))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _add_output(command: argparse.ArgumentParser, what: str) -> None:
    output = command.add_argument_group("output")
    output.add_argument("--out", metavar=what, help="write the result to this file")
    output.add_argument("--json", action="store_true", help="print the result document alone")
    output.add_argument("--quiet", action="store_true", help="no progress on standard error")


def _default(name: str) -> Any:
    return Options.model_fields[name].default


def _methods_help() -> str:
    listed = "; ".join(f"{info.name}: {info.summary}" for info in METHODS.values())
    return f"{listed} (default: {_default('method')})".replace("%", "%%")


def options_from(args: argparse.Namespace) -> dict[str, Any]:
    """Options of a solve from parsed arguments."""
    given = {name: getattr(args, name) for name in Options.model_fields if hasattr(args, name)}
    return {name: value for name, value in given.items() if value is not None}
