"""Models to train: their costs for each microbatch size, on each of several devices that split them."""

from __future__ import annotations

import os
from pathlib import Path

from placer.arrays import FloatArray
from placer.errors import UsageError
from placer.imports.catalogue import Cluster
from placer.imports.language_api import as_each_has_it
from placer.instance.instance import Instance
from placer.instance.origin import Source
from placer.language.configuration import read_configuration
from placer.language.gguf import read_gguf
from placer.language.language_model import LanguageModel
from placer.studies.training.training_choices import TrainingRequest

__all__ = ["LanguageSource", "read_model"]


class LanguageSource:
    """A language model.

    Parameters
    ----------
    model
        The model.
    cluster
        Where it is trained.
    request
        Sequence length, granularity and what else costs depend on.
    """

    def __init__(self, model: LanguageModel, cluster: Cluster, request: TrainingRequest) -> None:
        self.model, self.request = model, request
        self.cluster = cluster.model_copy(update={"servers": ()})
        self.name = model.name
        self._made: dict[tuple[int, int], tuple[Instance, FloatArray]] = {}
        source = self.base(1, 1)[0].source
        self.notes = () if source is None else source.notes

    def can_split(self, shards: int) -> bool:
        """Whether so many devices can split its nodes."""
        return self.model.can_split(shards)

    def base(self, microbatch: int, shards: int) -> tuple[Instance, FloatArray]:
        """Return the model as each of the devices that split it has it, and what they sum up, by node."""
        key = microbatch, shards
        if key not in self._made:
            work: dict[str, object] = {
                "batch": microbatch,
                "sequence_parallel": self.request.sequence_parallel,
            }
            if self.request.sequence is not None:
                work["sequence"] = self.request.sequence
            self._made[key] = as_each_has_it(
                self.model,
                self.cluster,
                shards,
                source=Source("hf", self.model.name),
                work=work,
                by=self.request.by,
                training=True,
                optimizer=self.request.optimizer,
                reserve=self.request.reserve,
            )
        return self._made[key]


def read_model(path: str | Path, precision: str | None = None) -> LanguageModel:
    """Read a language model: a configuration of Hugging Face, its folder, or a GGUF file.

    Raises
    ------
    InputError
        When it cannot be read.
    UsageError
        When a number format is given for a file that says its own.
    """
    if str(path).endswith(".gguf") and os.path.isfile(path):
        if precision is not None:
            raise UsageError("--precision does not apply to GGUF: the file says what its weights are")
        return read_gguf(path)
    return read_configuration(path, precision=precision)
