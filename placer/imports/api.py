"""Imports as functions: the only place that composes reading, costs, granularity and training."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from placer.choices import none_of
from placer.errors import InputError, UsageError
from placer.imports.assemble import assemble
from placer.imports.catalogue import Cluster, find_cluster
from placer.imports.costs import costs
from placer.imports.gradients import backward_pass
from placer.imports.granularity import Granularity, partition
from placer.imports.model import Model
from placer.imports.notes import granularity_note, residence_notes, working_note
from placer.imports.profiles import read_profiles
from placer.imports.reserves import reserved
from placer.imports.residence import residence
from placer.imports.shard_figures import shards_of_degree, sums_per_node
from placer.imports.sharded_model import split_degrees, split_models
from placer.imports.working import working
from placer.instance.instance import Instance
from placer.instance.training import DeviceGroup, Optimizer, Training

__all__ = [
    "Devices",
    "GraphOptions",
    "ImportOptions",
    "import_onnx",
    "import_pipedream",
    "import_torch",
    "to_instance",
]

logger = logging.getLogger(__name__)

Devices = str | Cluster | Sequence[str]
"""A cluster of the catalogue, counts of devices, a TOML file, a list of devices, or a cluster."""


class ImportOptions(TypedDict, total=False):
    """Options of every import, explained by `to_instance`."""

    by: str
    training: bool
    optimizer: str | None
    microbatches: int
    profiles: Sequence[str]
    tied: str
    reserve: float | None
    allow_uncosted: Sequence[str]
    name: str | None


class GraphOptions(ImportOptions, total=False):
    """Options of imports that know the operators of a model, explained by `import_onnx`."""

    shards: Sequence[int]
    sequence_parallel: bool
    attention: str | None


@dataclasses.dataclass(frozen=True)
class _Chosen:
    """The options with their defaults, checked."""

    by: str = "operator"
    training: bool = False
    optimizer: str | None = None
    microbatches: int = 1
    profiles: Sequence[str] = ()
    tied: str = "copy"
    reserve: float | None = None
    allow_uncosted: Sequence[str] = ()
    name: str | None = None

    def __post_init__(self) -> None:
        for what, value, choices in (
            ("treatment of tied weights", self.tied, ("copy", "colocate")),
            ("granularity", self.by, list(Granularity)),
            ("optimizer", self.optimizer or "adam", list(Optimizer)),
        ):
            if value not in choices:
                raise UsageError(none_of(what, value, choices))
        if not self.training and (self.optimizer is not None or self.microbatches != 1):
            raise UsageError("optimizer and microbatches apply to training only")


def import_onnx(
    path: str | Path,
    *,
    cluster: Devices,
    dims: Mapping[str, int] | None = None,
    values: Mapping[str, Sequence[float]] | None = None,
    passes: Mapping[str, int] | None = None,
    external_data: bool = False,
    run: bool = True,
    precision: str | None = None,
    **options: Unpack[GraphOptions],
) -> Instance:
    """Make an instance of an ONNX model.

    Parameters
    ----------
    path
        The file, or ``light:NAME`` for a model that comes with the onnx package.
    cluster
        A cluster of the catalogue, counts of devices (``a100:4,t4:2``), a TOML file, a list, or a cluster.
    dims
        Sizes of the inputs' dimensions, by symbol or ``input:axis``.
    values
        Numbers of inputs that sizes or conditions depend on.
    passes
        How often loops run that no number in the model ends, by their first output; ``""`` for all others.
    external_data
        Whether shapes may be read from files beside the model.
    run
        Whether ONNX Runtime, if it is there, may run the model once for shapes that do not follow otherwise.
    precision
        ``fp32``, ``tf32``, ``fp16``, ``bf16`` or ``int8``; that of the weights by default.
    **options
        ``shards``: into how many shards nodes may be split (`placer.imports.cuts`); ``sequence_parallel``:
        whether these divide rows, too; ``attention``: ``fused`` (one kernel, which keeps no scores and reads
        no mask and no repeated keys and values) or ``eager`` (products and a softmax), by default as the
        model has it, operator by operator.  And those of `to_instance`.

    Raises
    ------
    InputError, UsageError
        When the model cannot be read or planned; when an option does not fit, or onnx is not installed.
    """
    from placer.imports.onnx_model import read_onnx

    shards, sequence_parallel = options.pop("shards", ()), options.pop("sequence_parallel", False)
    attention = options.pop("attention", None)
    degrees = split_degrees(shards, options.get("profiles", ()), sequence_parallel=sequence_parallel)
    model = read_onnx(
        path,
        dims=dims,
        values=values,
        passes=passes,
        external_data=external_data,
        run=run,
        precision=precision,
        axes=bool(degrees),
        attention=attention,
    )
    return _with_shards(model, cluster, degrees, sequence_parallel, options)


def import_torch(
    factory: str | Callable[[], Any] | tuple[Any, ...],
    *,
    cluster: Devices,
    precision: str | None = None,
    attention: str | None = None,
    shards: Sequence[int] = (),
    sequence_parallel: bool = False,
    watch: Callable[[str], None] | None = None,
    **options: Unpack[ImportOptions],
) -> Instance:
    """Make an instance of a PyTorch model.

    Parameters
    ----------
    factory
        ``MODULE:FACTORY`` or a function; it is called with the meta device as default and returns the model
        and its example inputs: ``(module, args)`` or ``(module, args, kwargs)``.  It is your code, and runs.
        Or such a tuple itself.
    cluster, precision, **options
        As for `import_onnx`.
    attention
        ``fused``: one kernel, which keeps no scores and reads no mask and no repeated keys and values;
        ``eager``: products and a softmax.  By default fused, and with ``profiles`` as the model has it, since
        that is what was measured.
    shards, sequence_parallel
        As for `import_onnx`.
    watch
        Told what is being done, whenever that changes: an import of a large model takes minutes.

    Raises
    ------
    InputError
        When the model cannot be exported or planned.
    UsageError
        When an option does not fit, or torch is not installed.
    """
    from placer.imports.torch_model import read_torch

    if attention is None and not options.get("profiles"):
        attention = "fused"
    degrees = split_degrees(shards, options.get("profiles", ()), sequence_parallel=sequence_parallel)
    model = read_torch(factory, precision=precision, attention=attention, axes=bool(degrees), watch=watch)
    if watch is not None:
        watch(f"making nodes of {len(model.operators)} operators")
    return _with_shards(model, cluster, degrees, sequence_parallel, options)


def import_pipedream(path: str | Path, *, cluster: Devices, **options: Unpack[ImportOptions]) -> Instance:
    """Make an instance of a layer profile in PipeDream's format: a training graph unless told otherwise.

    Parameters
    ----------
    path
        The file (``graph.txt``).
    cluster, **options
        As for `import_onnx`; the measured times are taken for every accelerator of the cluster, and
        ``training`` is on unless it says otherwise.

    Raises
    ------
    InputError
        Naming the line that is wrong.
    """
    from placer.imports.pipedream_profile import read_pipedream

    return to_instance(read_pipedream(path), cluster, **({"training": True} | options))


def _with_shards(
    model: Model, cluster: Devices, degrees: Sequence[int], sequence_parallel: bool, options: ImportOptions
) -> Instance:
    """Make an instance, with the figures of each device that splits nodes."""
    splits = split_models(model, degrees, sequence_parallel=sequence_parallel)
    notes = (*model.notes, *(split.note for split in splits))
    whole = to_instance(dataclasses.replace(model, notes=notes), cluster, **options)
    by = options.get("by", Granularity.OPERATOR)
    found = [
        shards_of_degree(
            whole, to_instance(split.model, cluster, **options), split.degree, sums_per_node(split.model, by)
        )
        for split in splits
    ]
    if found and whole.is_training:
        group = DeviceGroup(sequence_parallel=sequence_parallel)
        whole = whole.replace(training=dataclasses.replace(whole.training, group=group))
    return whole.replace(shards=tuple(found))


def to_instance(model: Model, cluster: Devices, **options: Unpack[ImportOptions]) -> Instance:
    """Make an instance of a model that was read.

    Parameters
    ----------
    model
        The model.
    cluster
        Where it is to run.
    by
        What becomes a node: ``operator``, ``layer`` or ``module``; of language models also ``sublayer`` or
        ``expert``.
    training
        Whether to add the backward pass (its rules: `placer.imports.gradients`).
    optimizer
        What is kept per weight (see `placer.instance.training`); ``adam`` for training by default.
    microbatches
        Microbatches per optimizer step.
    profiles
        Measured times, as ``FILE`` or ``TYPE=FILE``.
    tied
        ``copy`` lets each reader of a shared weight keep a copy, ``colocate`` keeps the readers together.
    reserve
        Share of each accelerator's memory that is kept free; that of the cluster by default (0.1).
    allow_uncosted
        Operator types without a FLOP rule that may count as bytes alone, though they may be matrix products.
    name
        Name of the instance.

    Raises
    ------
    InputError, UsageError
        When options do not fit, or the result breaks a rule of instances.
    """
    chosen = _Chosen(**options)
    training = chosen.training
    found = find_cluster(cluster)
    backward = backward_pass(model)
    if training and all(factor is None for factor in backward.factor):
        raise InputError(f"{model.source.name}: there is nothing to train in it")
    how = Training(Optimizer(chosen.optimizer or "adam"), chosen.microbatches) if training else Training()
    profiles = read_profiles(chosen.profiles, found)
    cost = costs(model, backward, found, profiles, chosen.allow_uncosted)
    parts = partition(model, Granularity(chosen.by))
    devices = sum(cls.count for cls in found.classes)
    where = residence(model, parts, devices=devices, copy=chosen.tied == "copy")
    work = working(model, parts, cost.shares(parts))
    placed, kept = reserved(found, model, where, work, how, share=chosen.reserve)
    instance = assemble(model, parts, cost, backward if training else None, placed, where, work, how)
    notes = (*model.notes, granularity_note(model, parts, Granularity(chosen.by)), *cost.notes)
    notes += (*residence_notes(model, where, training=training), working_note(parts, work), *kept)
    for note in notes:
        logger.info("%s", note)
    source = dataclasses.replace(model.source, notes=notes)
    return instance.replace(name=chosen.name or model.name, source=source)
