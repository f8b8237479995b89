"""Cells and rows of the table, and its columns, which come from the registries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import BaseModel

from placer.exports import FORMATS
from placer.formats import documents
from placer.methods.registry import METHODS
from placer.options import Objective, Options


class Verdict(StrEnum):
    """What is done with a field or an option."""

    OBEYED = "obeyed"
    REFUSED = "refused"
    NO_PLAN = "no plan"
    MEANINGLESS = "without meaning"


@dataclass(frozen=True)
class Cell:
    """A verdict, and the words of a refusal or the reason."""

    verdict: Verdict
    words: str = ""


OBEYED = Cell(Verdict.OBEYED)


def refused(words: str) -> Cell:
    """The request is an error that says so."""
    return Cell(Verdict.REFUSED, words)


def no_plan(words: str) -> Cell:
    """The method ends without a plan and says so."""
    return Cell(Verdict.NO_PLAN, words)


def meaningless(why: str) -> Cell:
    """The answer is the same with and without it."""
    return Cell(Verdict.MEANINGLESS, why)


class Kind(StrEnum):
    """What a row is about, which decides who has to know it."""

    COST = "cost"
    """What a plan costs."""
    MEMORY = "memory"
    """Which plans fit."""
    RULE = "rule"
    """Which plans are allowed."""
    GOAL = "goal"
    """Which of the plans that are as good is wanted."""
    LABEL = "label"
    """What something is called or comes from; no plan depends on it."""
    SEARCH = "search"
    """How plans are searched for."""
    HOLDER = "holder"
    """Holds fields that have rows of their own."""


@dataclass(frozen=True)
class Row:
    """A field (``"node.pin"``) or an option (``"option pin"``).

    ``throughput`` and ``latency`` are the cells of methods where ``cells`` names none by column; ``shown``
    are the columns whose output a label changes.
    """

    name: str
    kind: Kind
    throughput: Cell = OBEYED
    latency: Cell = OBEYED
    cells: Mapping[str, Cell] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    why: str = ""

    def cell(self, column: str) -> Cell:
        """The cell of a column."""
        if column in self.cells:
            return self.cells[column]
        if self.kind in (Kind.HOLDER, Kind.LABEL, Kind.SEARCH):
            return OBEYED if column in self.shown else meaningless(self.why)
        if column in METHOD_COLUMNS:
            return self.latency if METHOD_COLUMNS[column][1] is Objective.LATENCY else self.throughput
        if column == "evaluator" and self.kind is not Kind.COST:
            return meaningless("rules and memory are the verifier's")
        if column == "simulation" and self.kind in (Kind.RULE, Kind.GOAL):
            return meaningless("it runs whatever plan it is given")
        if self.kind is Kind.GOAL:
            return meaningless("every plan that is good enough holds")
        return OBEYED


def _method_columns() -> dict[str, tuple[str, Objective]]:
    """Column of every method and objective; ``paper`` is ``milp`` with the paper's program."""
    found = {}
    for name, info in METHODS.items():
        for objective in (Objective.THROUGHPUT, Objective.LATENCY):  # tests/methods/test_goals: the others
            if objective in info.objectives:
                end = " latency" if objective is Objective.LATENCY else ""
                found[name + end] = (name, objective)
                if name == "milp":
                    found[f"paper{end}"] = ("paper", objective)
    return found


METHOD_COLUMNS = _method_columns()
EXPORT_COLUMNS = tuple(f"export {name}" for name in FORMATS)
COLUMNS = ("evaluator", "verifier", *METHOD_COLUMNS, "simulation", *EXPORT_COLUMNS, "page")
MODELS: dict[str, type[BaseModel]] = {
    "instance": documents.NativeInstance,
    "node": documents.NativeNode,
    "origin": documents.NativeOrigin,
    "source": documents.NativeSource,
    "class": documents.NativeClass,
    "link": documents.NativeLink,
    "uplink": documents.NativeLink,
    "server": documents.NativeServer,
    "cluster": documents.NativeCluster,
    "training": documents.NativeTraining,
    "group": documents.NativeGroup,
    "constraints": documents.NativeConstraints,
}
"""Models of the format by what their fields belong to."""


def names() -> list[str]:
    """Names of all rows that there must be."""
    fields = [f"{what}.{name}" for what, model in MODELS.items() for name in model.model_fields]
    return fields + [f"option {name}" for name in Options.model_fields]
