"""Reading layered flows and their results; every defect becomes one line that names the place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from placer.choices import none_of
from placer.errors import InputError, UsageError
from placer.formats.text import parse_json, read_text, validate
from placer.instance.rules import UNPRINTABLE
from placer.layered_flow.flow_check import SINK, SOURCE
from placer.layered_flow.flow_problem import FlowProblem
from placer.layered_flow.flow_result import FlowResult

__all__ = ["FlowDocument", "flow_document", "load_flow", "load_flow_result", "to_problem"]

FORMAT = "placer-flow"
MAX_LAYERS, MAX_DEVICES, MAX_RATE = 10_000, 2_000, 1e12
Rate = Annotated[float, Field(ge=0, le=MAX_RATE, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FlowDevice(_Strict):
    """A device."""

    name: Name = Field(description="Unique name, neither source nor sink.")
    tokens_per_s: Annotated[list[Rate], Field(min_length=1)] = Field(
        description="Most tokens per second with one layer, with two, ...; it holds no more than are listed."
    )


class FlowLink(_Strict):
    """A link in one direction."""

    source: Name = Field(alias="from", description="A device, or source.")
    target: Name = Field(alias="to", description="A device, or sink.")
    tokens_per_s: Rate = Field(description="Most tokens per second.")


class FlowDocument(_Strict):
    """Layers, devices and links; no link, no flow."""

    format: Literal["placer-flow"] = Field(description="Marks the format.")
    version: Literal[1] = Field(description="Version of the format.")
    layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)] = Field(description="Layers of the model.")
    devices: Annotated[list[FlowDevice], Field(max_length=MAX_DEVICES)] = Field(description="The devices.")
    links: list[FlowLink] = Field(description="The links.")


def load_flow(file: str | Path | dict[str, Any]) -> FlowProblem:
    """Read a layered flow from a file, or from the document itself.

    Raises
    ------
    InputError
        One line that names the file, the place and the rule broken.
    """
    if isinstance(file, dict):
        return to_problem(_document(file))
    if not isinstance(file, str | os.PathLike):
        raise UsageError(f"flow: expected the path of a layered flow, or its document; got {file!r:.80}")
    try:
        return to_problem(_document(parse_json(read_text(file), str(file))))
    except InputError as error:
        raise error if error.source else error.within(str(file)) from None


def load_flow_result(path: str | Path) -> FlowResult:
    """Read the result of a layered flow.

    Raises
    ------
    InputError
        One line that names the file, the place and the rule broken.
    """
    document = parse_json(read_text(path), str(path))
    if not isinstance(document, dict) or "ranges" not in document:
        raise InputError("not the result of a layered flow: there are no ranges", source=str(path))
    try:
        return validate(FlowResult, document)
    except InputError as error:
        raise error.within(str(path)) from None


def _document(document: Any) -> FlowDocument:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = f", but {document['format']!r}" if isinstance(document, dict) and "format" in document else ""
        raise InputError(f'not a layered flow: the format is not "{FORMAT}"{found}')
    return validate(FlowDocument, document)


def to_problem(document: FlowDocument) -> FlowProblem:
    """Translate a document.

    Raises
    ------
    InputError
        When names are not unique, reserved or unknown, or a link cannot be.
    """
    index: dict[str, int] = {}
    for i, device in enumerate(document.devices):
        place, name = f"devices[{i}].name", device.name
        if name in (SOURCE, SINK):
            raise InputError(f"{name!r} is reserved for an end of the flow", place=place)
        if name in index:
            raise InputError(f"{name!r} is also the name of devices[{index[name]}]", place=place)
        if UNPRINTABLE.search(name):
            raise InputError("control or invisible characters are not allowed", place=place)
        index[name] = i
    n = len(index)
    links = np.full((n + 1, n + 1), np.nan)
    for i, link in enumerate(document.links):
        place = f"links[{i}]"
        for field, end, alone in (("from", link.source, SOURCE), ("to", link.target, SINK)):
            if end not in index and end != alone:
                raise InputError(none_of("device", end, [*index, alone]), place=f"{place}.{field}")
        a, b = index.get(link.source, n), index.get(link.target, n)
        if a == b:
            what = "serves no layer" if a == n else "leads back to where it starts"
            raise InputError(f"a link from {link.source} to {link.target} {what}", place=place)
        if not np.isnan(links[a, b]):
            raise InputError(f"a second link from {link.source} to {link.target}", place=place)
        links[a, b] = link.tokens_per_s
    return FlowProblem(
        layers=document.layers,
        names=tuple(index),
        rates=tuple(np.array(device.tokens_per_s[: document.layers]) for device in document.devices),
        links=np.nan_to_num(links),
    )


def flow_document(problem: FlowProblem) -> dict[str, Any]:
    """Write a layered flow as a document that `to_problem` reads."""
    ends = [*problem.names, SINK]
    starts = [*problem.names, SOURCE]
    return {
        "format": FORMAT,
        "version": 1,
        "layers": problem.layers,
        "devices": [
            {"name": name, "tokens_per_s": rate.tolist()}
            for name, rate in zip(problem.names, problem.rates, strict=True)
        ],
        "links": [
            {"from": starts[a], "to": ends[b], "tokens_per_s": float(problem.links[a, b])}
            for a, b in np.argwhere(problem.links > 0).tolist()
        ],
    }
