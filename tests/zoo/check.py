"""Examine one entry, from where it comes from to its parts at work."""

from __future__ import annotations

from pathlib import Path

from placer.errors import PlacerError
from tests.zoo.entries import Entry, Record, Torch, UnobtainableError
from tests.zoo.stages import DisagreementError, Stages, temporary

__all__ = ["examine"]


def examine(given: Entry) -> Record:
    """Take an entry as far as it goes: what is counted otherwise is a failure, but ends nothing."""
    record = Record(given.name, str(given.source))
    with temporary() as scratch:
        stages = _stages(given, record, Path(scratch))
        for stage in Stages.names:
            try:
                getattr(stages, stage)()
            except Exception as error:
                record.stage = _stage(stage, error)
                record.failure = _message(error)
                if stage != "count":
                    break
    return record


def _stages(given: Entry, record: Record, scratch: Path) -> Stages:
    if isinstance(given.source, Torch) and given.source.dynamic is None:
        from tests.zoo.torch_stages import TorchStages

        return TorchStages(given, record, scratch)
    from tests.zoo.onnx_stages import OnnxStages

    return OnnxStages(given, record, scratch)


def _stage(stage: str, error: Exception) -> str:
    if isinstance(error, UnobtainableError):
        return "obtain"
    return "build" if stage == "obtain" else stage.rstrip("_")


def _message(error: Exception) -> str:
    text = " ".join(str(error).split())
    own = isinstance(error, (PlacerError, DisagreementError, UnobtainableError))
    return (text if own else f"{type(error).__name__}: {text}")[:400]
