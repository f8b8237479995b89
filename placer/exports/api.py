"""Writing a verified plan in the format of the tool that is to run or show it."""

from __future__ import annotations

from pathlib import Path

from placer.arrays import distinct
from placer.choices import none_of
from placer.errors import InputError, UsageError
from placer.exports import FORMATS, ExportInfo, load_export
from placer.exports.placement import Placement
from placer.exports.served_instance_export import INSTANCE_FORMATS, export_served_instance
from placer.exports.server_export import SERVER_FORMATS, export_serving
from placer.formats.files import load, load_result
from placer.formats.replace import replaced_file, replaced_folder
from placer.formats.text import check_writable, parse_json, read_text
from placer.instance import overrides
from placer.instance.instance import Instance
from placer.plans.check import check, plan_of
from placer.plans.result import Result
from placer.serving.disaggregated_result import is_disaggregated
from placer.serving.serving_file import is_serving_result, load_serving_result
from placer.serving.serving_plan import ServingResult

__all__ = ["export"]


def export(
    result: Result | str | Path,
    to: str,
    out: str | Path,
    *,
    instance: Instance | str | Path | None = None,
    model: str | Path | None = None,
) -> list[str]:
    """Write a plan in another tool's format.

    Parameters
    ----------
    result
        The result, or its file; or the file of an answer of `placer serve`.
    to
        Name of the format (see `placer.exports.FORMATS`; of an answer `SERVER_FORMATS`).
    out
        File to write, whole or not at all; for ``onnx-parts`` a folder that is empty or does not exist.
    instance
        The instance, or its file; by default the file that the result was solved from.
    model
        The model that the instance was imported from, where the format needs it; what a server loads.

    Returns
    -------
    list of str
        Remarks: what the target does differently from the plan.

    Raises
    ------
    InputError
        When a file cannot be read, or the result does not hold for the instance.
    UsageError
        When the format is unknown, needs something that is missing, or cannot express the plan.
    """
    if not isinstance(result, Result) and (answer := _served(result)) is not None:
        if to in INSTANCE_FORMATS:
            return export_served_instance(answer, to, out, source=str(result), model=model, instance=instance)
        return export_serving(answer, to, out, source=str(result), model=model)
    if to not in FORMATS:
        served = f"{to} is for results of placer serve: " if to in SERVER_FORMATS else ""
        raise UsageError(served + none_of("format", to, FORMATS))
    source = "result" if isinstance(result, Result) else str(result)
    document = result if isinstance(result, Result) else load_result(result)
    file = None if isinstance(instance, Instance) else _instance_file(document, source, instance)
    graph = instance if isinstance(instance, Instance) else load(str(file))
    placement = _verified(graph, document, source, None if model is None else str(model))
    info = FORMATS[to]
    _check_fits(info, placement)
    if not info.is_folder:  # a folder must be empty, so that it holds no input
        check_writable(out, None if isinstance(result, Result) else result, file, model)
    with (replaced_folder if info.is_folder else replaced_file)(out) as path:
        remarks = load_export(to)(placement, path)
    return remarks + _unsaid(info, placement)


def _served(path: str | Path) -> ServingResult | None:
    """Read an answer of ``placer serve``; None when the file is something else."""
    document = parse_json(read_text(path), str(path))
    if is_disaggregated(document):
        raise UsageError(
            f"{path}: an answer with prefill and decode groups has no export: start a server for each group"
        )
    if not is_serving_result(document):
        return None
    return load_serving_result(path)


def _instance_file(document: Result, source: str, given: str | Path | None) -> Path:
    """Path of the instance: the one given, or the one that the result remembers."""
    if given is not None:
        return Path(given)
    remembered = document.instance.file
    if remembered is None:
        raise UsageError(
            f"{source} does not say where its instance {document.instance.name!r} is; name it with --instance"
        )
    path = Path(source).parent / remembered
    if not path.is_file():
        raise UsageError(f"the instance of {source} is no longer at {path}; name it with --instance")
    return path


def _verified(instance: Instance, document: Result, source: str, model: str | None) -> Placement:
    """Check the result against the instance; nothing unverified is exported."""
    if document.assignment is None:
        raise InputError(f"there is no plan to export: {document.message or document.status}", source=source)
    found = check(instance, document)
    if found:
        raise InputError(f"not exported, the result does not hold: {found[0]}", source=source)
    instance = overrides.apply(instance, document.options)
    return Placement(instance, plan_of(instance, document), document, model)


def _check_fits(info: ExportInfo, placement: Placement) -> None:
    """Refuse what a format cannot do whatever the plan looks like in detail."""
    source = placement.instance.source
    if info.sources and source is not None and source.kind not in info.sources:
        kinds = " and ".join(info.sources)
        raise UsageError(
            f"{info.name} is for {kinds} models, and the instance comes from a {source.kind} one"
        )
    if info.needs_model and placement.model is None:
        name = "MODEL.onnx" if source is None else source.name
        raise UsageError(f"export to {info.name} needs the model: --model {name}")
    if placement.plan.teams and not info.knows_replicas:
        shared = placement.label(placement.plan.teams[0].devices[0])
        raise UsageError(
            f"{info.name} cannot express this plan: {shared} share a stage (plan with --replicas 1)"
        )
    split = next((team for team in placement.plan.teams if team.shards > 1), None)
    if split is not None and not info.knows_shards:
        shared = placement.label(split.devices[0])
        raise UsageError(
            f"{info.name} cannot express this plan: {shared} split their nodes (plan with --shards 1)"
        )


def _unsaid(info: ExportInfo, placement: Placement) -> list[str]:
    """Say what a format leaves out of the plan."""
    again = placement.plan.computed_again
    if info.knows_recompute or not again.any():
        return []
    names = ", ".join(placement.label(d) for d in distinct(placement.plan.device[again]).tolist())
    return [f"the plan recomputes activations on {names}, which {info.name} does not say"]
