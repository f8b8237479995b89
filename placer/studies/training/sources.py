"""Models to train: their costs for each microbatch size, on each of several devices that split them."""

from __future__ import annotations

import os
from pathlib import Path

from placer.errors import UsageError
from placer.imports.api import LanguageOptions, import_language_model
from placer.imports.catalogue import Cluster
from placer.instance.instance import Instance
from placer.language.configuration import read_configuration
from placer.language.gguf import read_gguf
from placer.language.language_model import LanguageModel
from placer.studies.training.choices import TrainingRequest

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
        self._made: dict[tuple[int, int], Instance] = {}
        source = self.base(1, 1).source
        self.notes = () if source is None else source.notes

    @property
    def shards(self) -> list[int]:
        """Degrees in which the model can be split."""
        return [1]

    def base(self, microbatch: int, shards: int) -> Instance:
        """Return the model as each of the devices that split it has it."""
        key = microbatch, shards
        if key not in self._made:
            work: LanguageOptions = {"batch": microbatch}
            if self.request.sequence is not None:
                work["sequence"] = self.request.sequence
            self._made[key] = import_language_model(
                self.model,
                self.cluster,
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
