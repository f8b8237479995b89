"""Reading and writing the files of the project; formats are recognised by content."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from placer.errors import InputError, NotAnInstanceError, UsageError
from placer.formats import documents, native, paper_json
from placer.formats.text import parse_json, read_text, validate, write_text
from placer.instance.instance import Instance, expect_instance
from placer.instance.rules import UNPRINTABLE
from placer.plans.plan import Plan
from placer.plans.result import Result

__all__ = ["load", "load_result", "load_split", "loads", "save", "save_result"]


def load(path: str | Path | dict[str, Any]) -> Instance:
    """Read an instance file, in the native or the paper's JSON format (recognised by content).

    Parameters
    ----------
    path
        The file; or the document itself, as ``json.load`` returns it.

    Returns
    -------
    Instance

    Raises
    ------
    InputError
        One line that names the file, the place and the rule broken.
    """
    if isinstance(path, dict):
        return _instance(path, source="", name="instance")
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"load: expected the path of an instance, or its document; got {path!r:.80}")
    return loads(
        read_text(path), source=str(path), name=Path(path).name.removesuffix(".gz").removesuffix(".json")
    )


def loads(text: str, *, source: str, name: str) -> Instance:
    """Read an instance from JSON text.

    Parameters
    ----------
    text
        A document in the native or the paper's format.
    source
        What errors call it.
    name
        Name of the instance where the format holds none.

    Raises
    ------
    NotAnInstanceError
        When it is another kind of document.
    InputError
        One line that names the source, the place and the rule broken.
    """
    return _instance(parse_json(text, source), source=source, name=name)


def _instance(document: Any, *, source: str, name: str) -> Instance:
    try:
        if native.is_native_instance(document):
            native.check_version(document)
            return native.to_instance(validate(documents.NativeInstance, document))
        if paper_json.is_paper_instance(document):
            # Names of files may hold what names of instances must not.
            return paper_json.to_instance(
                validate(paper_json.PaperInstance, document), UNPRINTABLE.sub("\ufffd", name)
            )
    except InputError as error:
        raise error.within(source) from None
    raise NotAnInstanceError(f"not an instance: {_what_it_is(document)}", source=source)


def load_result(path: str | Path) -> Result:
    """Read a result document.

    Raises
    ------
    InputError
        One line that names the file, the place and the rule broken.
    """
    source = str(path)
    document = parse_json(read_text(path), source)
    if not isinstance(document, dict) or document.get("format") != "placer-result":
        raise InputError(f"not a result: {_what_it_is(document)}", source=source)
    try:
        return validate(Result, document)
    except InputError as error:
        raise error.within(source) from None


def load_split(path: str | Path, instance: Instance, *, pieces: bool = False) -> Plan:
    """Read a split in the paper's result format as a plan for ``instance``.

    Parameters
    ----------
    path
        The file.
    instance
        The instance that was split.
    pieces
        Whether to read it as a latency plan: each accelerator entry is one piece.

    Raises
    ------
    InputError
        One line that names the file, the place and the rule broken.
    """
    source = str(path)
    document = parse_json(read_text(path), source)
    if not paper_json.is_paper_split(document):
        raise InputError(f"not a split of the paper's format: {_what_it_is(document)}", source=source)
    try:
        return paper_json.to_plan(validate(paper_json.PaperSplit, document), instance, pieces=pieces)
    except InputError as error:
        raise error.within(source) from None


def save(instance: Instance, path: str | Path) -> None:
    """Write an instance in the native format, whole or not at all.

    Parameters
    ----------
    instance
        What ``load`` or an import returned.
    path
        The file.

    Raises
    ------
    UsageError
        When it is no instance.
    InputError
        When the file cannot be written.
    """
    expect_instance(instance)
    write_text(path, native.to_json(instance))


def save_result(result: Result, path: str | Path) -> None:
    """Write a result document, whole or not at all."""
    write_text(path, result.to_json())


def _what_it_is(document: Any) -> str:
    """Say what a document is that is not what was expected."""
    if not isinstance(document, dict):
        kind = {list: "a list", str: "a string", type(None): "null", bool: "true or false"}
        return f"the top level must be an object, got {kind.get(type(document), 'a number')}"
    if document.get("format") == "placer-result":
        return "this is a result document"
    if document.get("format") == documents.FORMAT or paper_json.is_paper_instance(document):
        return "this is an instance"
    if paper_json.is_paper_split(document):
        return "this is a split in the paper's result format"
    if "format" in document:
        return f"the format {document['format']!r} is not known"
    return f'neither "format": "{documents.FORMAT}" nor the fields of the paper\'s format are there'
