"""Imports as functions: the only place that composes reading, costs, granularity and training."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from placer.choices import none_of
from placer.cluster import DeviceClass
from placer.errors import InputError, UsageError
from placer.imports.assemble import assemble
from placer.imports.catalogue import Cluster, find_cluster
from placer.imports.costs import costs
from placer.imports.gradients import backward_pass, largest_operator_bytes, peak_live_bytes
from placer.imports.granularity import Granularity, partition
from placer.imports.model import Model
from placer.imports.profiles import read_profiles
from placer.instance import Instance
from placer.training import Optimizer, Training

__all__ = ["import_onnx", "import_pipedream", "import_torch", "to_instance"]

logger = logging.getLogger(__name__)


def import_onnx(
    path: str | Path,
    *,
    cluster: str | Cluster,
    dims: Mapping[str, int] | None = None,
    precision: str | None = None,
    **options: Any,
) -> Instance:
    """Make an instance of an ONNX model.

    Parameters
    ----------
    path
        The file, or ``light:NAME`` for a model that comes with the onnx package.
    cluster
        A cluster of the catalogue, counts of devices (``a100:4,t4:2``), a TOML file, or a cluster.
    dims
        Values of symbolic dimensions by name, or of ``input:axis``.
    precision
        ``fp32``, ``tf32``, ``fp16``, ``bf16`` or ``int8``; that of the weights by default.
    **options
        Those of `to_instance`.

    Raises
    ------
    InputError
        When the model cannot be read or planned.
    UsageError
        When an option does not fit, or onnx is not installed.
    """
    from placer.imports.onnx_model import read_onnx

    return to_instance(read_onnx(path, dims=dims, precision=precision), cluster, **options)


def import_torch(
    factory: str | Callable[[], Any] | tuple[Any, ...],
    *,
    cluster: str | Cluster,
    precision: str | None = None,
    **options: Any,
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

    Raises
    ------
    InputError
        When the model cannot be exported or planned.
    UsageError
        When an option does not fit, or torch is not installed.
    """
    from placer.imports.torch_model import read_torch

    return to_instance(read_torch(factory, precision=precision), cluster, **options)


def import_pipedream(
    path: str | Path, *, cluster: str | Cluster, training: bool = True, **options: Any
) -> Instance:
    """Make an instance of a layer profile in PipeDream's format: a training graph unless told otherwise.

    Parameters
    ----------
    path
        The file (``graph.txt``).
    cluster, **options
        As for `import_onnx`; the measured times are taken for every accelerator of the cluster.
    training
        Whether to add the backward pass.

    Raises
    ------
    InputError
        Naming the line that is wrong.
    """
    from placer.imports.pipedream import read_pipedream

    return to_instance(read_pipedream(path), cluster, training=training, **options)


def to_instance(
    model: Model,
    cluster: str | Cluster,
    *,
    by: str = "operator",
    training: bool = False,
    optimizer: str | None = None,
    microbatches: int = 1,
    profiles: Sequence[str] = (),
    tied: str = "colocate",
    allow_uncosted: Sequence[str] = (),
    name: str | None = None,
) -> Instance:
    """Make an instance of a model that was read.

    Parameters
    ----------
    model
        The model.
    cluster
        Where it is to run.
    by
        What becomes a node: ``operator``, ``layer`` or ``module``.
    training
        Whether to add the backward pass (its rules: `placer.imports.gradients`).
    optimizer
        What is kept per weight (see `placer.training`); ``adam`` for training by default.
    microbatches
        Microbatches per optimizer step.
    profiles
        Measured times, as ``FILE`` or ``TYPE=FILE``.
    tied
        ``colocate`` keeps the readers of a shared weight together, ``copy`` lets each keep a copy.
    allow_uncosted
        Operator types without a FLOP rule that may count as bytes alone, though they may be matrix products.
    name
        Name of the instance.

    Raises
    ------
    InputError, UsageError
        When options do not fit, or the result breaks a rule of instances.
    """
    if tied not in ("colocate", "copy"):
        raise UsageError(none_of("treatment of tied weights", tied, ("colocate", "copy")))
    if by not in list(Granularity):
        raise UsageError(none_of("granularity", by, Granularity))
    if not training and (optimizer is not None or microbatches != 1):
        raise UsageError("optimizer and microbatches apply to training only")
    found = find_cluster(cluster) if isinstance(cluster, str) else cluster
    backward = backward_pass(model)
    if training and all(factor is None for factor in backward.factor):
        raise InputError(f"{model.source.name}: there is nothing to train in it")
    cost = costs(model, backward, found, read_profiles(profiles, found), allow_uncosted)
    work = largest_operator_bytes(model) if training else peak_live_bytes(model)
    placed = found.model_copy(update={"classes": tuple(_reserving(cls, work) for cls in found.classes)})
    instance = assemble(
        model,
        partition(model, Granularity(by)),
        cost,
        backward if training else None,
        placed,
        training=Training(Optimizer(optimizer or "adam"), microbatches) if training else Training(),
        copy_tied=tied == "copy",
    )
    working = f"working memory of {work:.0f} bytes reserved on every accelerator"
    notes = (*model.notes, f"by {by}", *cost.notes, working)
    for note in notes:
        logger.info("%s", note)
    return instance.replace(name=name or model.name, source=dataclasses.replace(model.source, notes=notes))


def _reserving(cls: DeviceClass, work: float) -> DeviceClass:
    """Reserve working memory on the members of a class."""
    if cls.is_host or cls.memory_limit_bytes == float("inf"):
        return cls
    reserve = min(cls.memory_limit_bytes, cls.reserve_bytes(0) + work)
    return dataclasses.replace(cls, memory_reserve_bytes=reserve)
