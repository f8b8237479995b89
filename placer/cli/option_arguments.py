"""Arguments for the options of a solve; defaults and meanings are those of `placer.options.Options`."""

from __future__ import annotations

import argparse
from typing import Any, Protocol

from placer.methods.registry import METHODS
from placer.objectives import OBJECTIVES
from placer.options import Communication, Formulation, Objective, Options, Recompute, Schedule

__all__ = ["OptionGroup", "add_method", "add_options", "file_name", "options_from"]


class OptionGroup(Protocol):
    """What options are added to: a parser, or what makes them take several values."""

    def add_argument_group(self, title: str | None = None, description: str | None = None) -> Any:
        """Start a group of options."""


def file_name(text: str) -> str:
    """Read the name of a file or folder to write; a type for argparse."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def add_method(command: argparse.ArgumentParser) -> None:
    """Add the option that chooses the method."""
    listed = "; ".join(f"{info.name}: {info.summary}" for info in METHODS.values())
    command.add_argument(
        "--method",
        choices=METHODS,
        default=_default("method"),
        metavar="METHOD",
        help=f"{listed} (default: {_default('method')})".replace("%", "%%"),
    )


def add_options(command: OptionGroup) -> None:
    """Add all options of a plan and of the search for it."""
    plan = command.add_argument_group("the plan")
    plan.add_argument(
        "--objective",
        choices=list(Objective),
        default=_default("objective"),
        metavar="{" + ",".join(Objective) + "}",
        help="what is minimised: "
        + "; ".join(f"{name}: {info.summary}" for name, info in OBJECTIVES.items())
        + " (default: throughput)",
    )
    plan.add_argument(
        "--contiguous",
        action=argparse.BooleanOptionalAction,
        default=_default("contiguous"),
        help="whether data may only flow forward from device to device (default: yes)",
    )
    plan.add_argument(
        "--schedule",
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
        "--max-ms",
        type=float,
        metavar="MS",
        help="most time per sample, where the objective is another one (default: no limit)",
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
        help=f"stop after so long, reading included, and keep the best plan (default: {_limited()})",
    )
    search.add_argument(
        "--gap",
        type=float,
        default=_default("gap"),
        metavar="REL",
        help="proven gap to stop at (default: 1e-4)",
    )
    search.add_argument(
        "--threads",
        type=int,
        default=_default("threads"),
        metavar="N",
        help="threads of the solver (default: 1)",
    )
    search.add_argument(
        "--seed", type=int, default=_default("seed"), metavar="N", help="of random choices (default: 0)"
    )
    search.add_argument(
        "--memory-limit-mb",
        type=int,
        default=_default("memory_limit_mb"),
        metavar="MB",
        help="resident memory that a search may take before it stops with what it has, apart from the "
        "instance and from 150 MiB for libraries (default: 4096)",
    )
    search.add_argument("--split", metavar="FILE", help="a split in the paper's format, for method expert")


def _add_overrides(command: OptionGroup) -> None:
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


def _limited() -> str:
    """Say which methods have a time limit of their own."""
    own = {
        name: info.default_time_limit for name, info in METHODS.items() if info.default_time_limit is not None
    }
    return ", ".join(f"{limit:g} for {name}" for name, limit in own.items()) + ", none for the others"


def _default(name: str) -> Any:
    return Options.model_fields[name].default


def options_from(args: argparse.Namespace) -> dict[str, Any]:
    """Options of a solve from parsed arguments."""
    given = {name: getattr(args, name) for name in Options.model_fields if hasattr(args, name)}
    return {name: value for name, value in given.items() if value is not None}
