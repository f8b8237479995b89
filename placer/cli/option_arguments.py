"""Flags for the options of a solve, made from what `placer.options.Options` declares."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from enum import StrEnum
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from placer.choices import offer
from placer.methods.registry import METHODS
from placer.objectives import OBJECTIVES
from placer.options import Group, Options

__all__ = ["add_method", "add_options", "options_from", "several_values"]

NAMED = "A NODE is an id, a name or a pattern such as 'encoder.*'; a DEVICE may be a whole class."


def add_method(command: argparse.ArgumentParser) -> None:
    """Add the option that chooses the method."""
    command.add_argument("--method", choices=METHODS, metavar="METHOD", help=_help("method"))


def add_options(command: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add all options of a plan and of the search for it, those that are not given being None.

    Parameters
    ----------
    command
        The parser.
    several
        Whether each option takes several values, with commas or repeated.
    """
    for title in Group:
        group = command.add_argument_group(title, NAMED if title is Group.OVERRIDES else None)
        for name in Options.model_fields:
            if _declared(name).get("group") is title:
                flag = f"--{name.replace('_', '-')}"
                group.add_argument(flag, help=_help(name), **_reading(name, several=several))


def options_from(args: object) -> dict[str, Any]:
    """Options that were given, from parsed arguments."""
    given: dict[str, Any] = {name: getattr(args, name, None) for name in Options.model_fields}
    for name in ("pin", "forbid"):
        if given[name] is not None:
            merged: dict[str, tuple[str, ...]] = {}
            for node, devices in given[name]:
                merged[node] = (*merged.get(node, ()), *devices)
            given[name] = merged
    return {name: value for name, value in given.items() if value is not None}


def _declared(name: str) -> dict[str, Any]:
    """Return what the declaration of an option says beside type, default and meaning."""
    declared = Options.model_fields[name].json_schema_extra
    return dict(declared) if isinstance(declared, dict) else {}


def _reading(name: str, *, several: bool) -> dict[str, Any]:
    """Say how argparse reads an option, from its type."""
    kind = Options.model_fields[name].annotation
    shown = {"metavar": _declared(name).get("metavar")}
    if kind is bool:
        return {"action": _YesAndNo if several else argparse.BooleanOptionalAction}
    if get_origin(kind) is dict:
        return shown | {"action": "append", "type": _devices_by_node}
    if get_origin(kind) is tuple:
        return shown | {"action": "append" if _repeatable(name) else "store", "type": _names}
    if any(get_origin(part) is tuple for part in get_args(kind)):
        return shown | {"action": "append" if several else "store", "type": _one_or_several}
    one: Any = next((part for part in get_args(kind) if part is not NoneType), kind)
    one = get_args(one)[0] if get_origin(one) is Annotated else one
    choices: list[Any] | None = None
    if get_origin(kind) is Literal:
        one, choices = type(one), list(get_args(kind))
    elif issubclass(one, StrEnum):
        one, choices = str, [str(value) for value in one]
    if choices is not None:
        shown = {"metavar": "{" + ",".join(map(str, choices)) + "}"}
    if several:
        return shown | {"action": "extend", "type": several_values(one, choices)}
    return shown | {"type": one, "choices": choices}


def _repeatable(name: str) -> bool:
    """Whether a flag is given once for each entry: by node, or by group of nodes."""
    kind = Options.model_fields[name].annotation
    return get_origin(kind) is dict or (get_origin(kind) is tuple and get_origin(get_args(kind)[0]) is tuple)


def _help(name: str) -> str:
    """Say what an option means, and what holds when it is not given."""
    meaning, default = Options.model_fields[name].description, _default(name)
    if name in (listed := _registered()):
        meaning = "; ".join(f"{entry}: {summary}" for entry, summary in listed[name].items())
    if _repeatable(name):
        meaning = f"{meaning} (repeatable)"
    return (f"{meaning} (default: {default})" if default else str(meaning)).replace("%", "%%")


def _registered() -> dict[str, dict[str, str]]:
    """Return the summaries of an option's values, where a registry has them."""
    return {
        "method": {name: info.summary for name, info in METHODS.items()},
        "objective": {str(name): info.summary for name, info in OBJECTIVES.items()},
    }


def _default(name: str) -> str:
    """Say what holds when an option is not given; nothing where that goes without saying."""
    default = Options.model_fields[name].default
    if name == "time_limit":
        limits = {name: info.default_time_limit for name, info in METHODS.items()}
        own = [f"{limit:g} for {method}" for method, limit in limits.items() if limit is not None]
        return ", ".join([*own, "none for the others"])
    if isinstance(default, bool):
        return "yes" if default else "no"
    if default is None or isinstance(default, tuple | dict):
        return str(_declared(name).get("unset", ""))
    return f"{default:g}" if isinstance(default, float) else str(default)


class _YesAndNo(argparse.BooleanOptionalAction):
    """Collects the values of ``--name`` and ``--no-name``, which may both be given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        value = not (option_string or "").startswith("--no-")
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or []), value])


def _devices_by_node(text: str) -> tuple[str, tuple[str, ...]]:
    """Read NODE=DEVICE,...; a type for argparse."""
    node, equals, devices = text.rpartition("=")
    if not equals or not node or not _names(devices):
        raise argparse.ArgumentTypeError(f"expected NODE=DEVICE,..., got {text!r}")
    return node, _names(devices)


def _one_or_several(text: str) -> int | tuple[int, ...]:
    """Read N, or N,...: with a comma exactly these; a type for argparse."""
    try:
        values = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        values = ()
    if not values or min(values) < 1:
        raise argparse.ArgumentTypeError(f"expected whole numbers of at least 1, got {text!r}")
    return values if "," in text else values[0]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def several_values(kind: Callable[[str], Any], choices: Any = None) -> Callable[[str], list[Any]]:
    """Make a type for argparse that reads values separated by commas."""

    def read(text: str) -> list[Any]:
        values = []
        for part in filter(None, map(str.strip, text.split(","))):
            try:
                value = kind(part)
            except ValueError:
                value = None
            if value is None or (choices is not None and value not in choices):
                raise argparse.ArgumentTypeError(f"invalid value {part!r}{offer(part, choices or ())}")
            values.append(value)
        if not values:
            raise argparse.ArgumentTypeError("no value")
        return values

    return read
