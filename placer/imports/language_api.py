"""Language models as instances, from a configuration of Hugging Face or the header of a GGUF file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack, cast

import numpy as np

from placer.arrays import FloatArray
from placer.errors import UsageError
from placer.imports.api import Devices, ImportOptions, to_instance
from placer.imports.granularity import Granularity
from placer.imports.language_operators import work_on
from placer.imports.shard_figures import shards_of_degree, sums_per_node
from placer.instance.instance import Instance
from placer.instance.origin import Source
from placer.instance.training import DeviceGroup
from placer.language.language_model import LanguageModel

__all__ = ["LanguageOptions", "as_each_has_it", "import_gguf", "import_hf", "import_language_model"]


class LanguageOptions(TypedDict, total=False):
    """What a language model does, explained by `import_language_model`."""

    phase: str
    batch: int
    sequence: int
    concurrency: int | None
    cache: str | None
    logits: bool
    attention: str
    shards: Sequence[int]
    sequence_parallel: bool


def import_hf(
    path: str | Path,
    *,
    cluster: Devices,
    precision: str | None = None,
    weights: str | None = None,
    work: LanguageOptions | None = None,
    **options: Unpack[ImportOptions],
) -> Instance:
    """Make an instance of a language model from its Hugging Face configuration: no weights, no torch.

    Parameters
    ----------
    path
        ``config.json``, or the folder that holds it.
    cluster
        As for `import_onnx`.
    precision, weights
        Number format of activations, and of the matrices in layers; those of the configuration by default
        (see `placer.language.configuration.read_configuration`).
    work, **options
        As for `import_language_model`.

    Raises
    ------
    InputError
        When the configuration is wrong, or of an architecture that is not known.
    UsageError
        When an option does not fit.
    """
    from placer.language.configuration import read_configuration

    model = read_configuration(path, precision=precision, weights=weights)
    source = Source("hf", os.path.basename(os.path.abspath(path)))
    return import_language_model(model, cluster, source=source, work=work, **options)


def import_gguf(
    path: str | Path,
    *,
    cluster: Devices,
    work: LanguageOptions | None = None,
    **options: Unpack[ImportOptions],
) -> Instance:
    """Make an instance of a language model from the header of a GGUF file: no weights are read.

    Parameters
    ----------
    path
        The file; of a split file any part, if all are there.
    cluster
        As for `import_onnx`.
    work, **options
        As for `import_language_model`.

    Raises
    ------
    InputError
        When the file is wrong, or of an architecture that is not known.
    UsageError
        When an option does not fit.
    """
    from placer.language.gguf import read_gguf

    source = Source("gguf", os.path.basename(path))
    return import_language_model(read_gguf(path), cluster, source=source, work=work, **options)


def import_language_model(
    model: LanguageModel,
    cluster: Devices,
    *,
    source: Source | None = None,
    work: LanguageOptions | None = None,
    **options: Unpack[ImportOptions],
) -> Instance:
    """Make an instance of a language model.

    Parameters
    ----------
    model
        The language model.
    cluster
        As for `import_onnx`.
    source
        Where it comes from.
    work
        What is done at once, as `placer.imports.language_work.Workload` explains: ``phase`` (``prefill`` or
        ``decode``), ``batch``, ``sequence``, ``concurrency``, ``cache``, ``logits``, ``attention``;
        and into how many shards nodes may be split (``shards``, several numbers), with or without
        ``sequence_parallel``.
    **options
        Those of `to_instance`; ``by`` is ``sublayer`` by default.

    Raises
    ------
    InputError, UsageError
        When options do not fit, or the result breaks a rule of instances.
    """
    asked = dict(work or {})
    degrees = sorted({*cast(Sequence[int], asked.pop("shards", ()))} - {1})
    source = source or Source("hf", model.name)
    whole, _ = as_each_has_it(model, cluster, 1, source=source, work=asked, **options)
    if not degrees:
        return whole
    found = []
    for t in degrees:
        each, sums = as_each_has_it(model, cluster, t, source=source, work=asked, **options)
        found.append(shards_of_degree(whole, each, t, dict(zip(each.ids, sums.tolist(), strict=True))))
    return whole.replace(shards=tuple(found))


def as_each_has_it(
    model: LanguageModel,
    cluster: Devices,
    shards: int,
    *,
    source: Source,
    work: Mapping[str, Any],
    **options: Unpack[ImportOptions],
) -> tuple[Instance, FloatArray]:
    """Make an instance of a language model as each of several devices that split its nodes has it.

    Parameters
    ----------
    model, cluster, source, work, **options
        As for `import_language_model`.
    shards
        How many devices there are.

    Returns
    -------
    instance, collective_bytes
        Outputs are what the device has of them; and what the devices sum up whenever a node runs, ``(n,)``.

    Raises
    ------
    InputError, UsageError
        When the model cannot be split so, or as for `import_language_model`.
    """
    if shards < 1 or not model.can_split(shards):
        raise UsageError(
            f"{model.name} cannot be split into {shards} shards: they divide the heads and the inner widths, "
            "and divide or repeat the heads of keys and values"
        )
    options = {"by": "sublayer", **options}
    made = work_on(
        model,
        {**work, "shards": shards},
        source,
        training=bool(options.get("training")),
        single_experts=options["by"] == Granularity.EXPERT,
    )
    instance = to_instance(made, cluster, **options)
    if instance.is_training:
        how = DeviceGroup(sequence_parallel=bool(work.get("sequence_parallel")))
        samples = cast(int | None, work.get("batch"))
        instance = instance.replace(
            training=dataclasses.replace(instance.training, samples=samples or 1, group=how)
        )
    sums = sums_per_node(made, options["by"])
    return instance, np.array([sums.get(v, 0.0) for v in instance.ids])
