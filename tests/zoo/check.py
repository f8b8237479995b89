"""Examine one entry: ``python -m tests.zoo.check NAME`` writes its record, within a limit on memory."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from placer.errors import PlacerError
from tests.zoo.entries import Entry, Record, Torch, UnobtainableError
from tests.zoo.every import entry
from tests.zoo.stages import DisagreementError, Stages, temporary

__all__ = ["examine"]

GIGABYTES = 8
"""Address space of a process; what an entry uses of it is less."""


def examine(given: Entry) -> Record:
    """Take an entry as far as it goes: what is counted otherwise is a failure, but ends nothing."""
    record = Record(given.name, str(given.source))
    with temporary() as scratch:
        stages = _stages(given, record, Path(scratch))
        for stage in Stages.names:
            try:
                getattr(stages, stage)()
            except Exception as error:
                record.stage = "obtain" if isinstance(error, UnobtainableError) else stage.rstrip("_")
                record.failure = _message(error)
                if stage != "count":
                    break
    return record


def _stages(given: Entry, record: Record, scratch: Path) -> Stages:
    if isinstance(given.source, Torch) and not given.source.exported:
        from tests.zoo.torch_stages import TorchStages

        return TorchStages(given, record, scratch)
    from tests.zoo.onnx_stages import OnnxStages

    return OnnxStages(given, record, scratch)


def _message(error: Exception) -> str:
    text = " ".join(str(error).split())
    own = isinstance(error, (PlacerError, DisagreementError, UnobtainableError))
    return (text if own else f"{type(error).__name__}: {text}")[:400]


def main(name: str) -> None:
    """Examine one and write its record."""
    import resource

    limit = GIGABYTES * 1000**3
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print(json.dumps(dataclasses.asdict(examine(entry(name)))))


if __name__ == "__main__":
    main(sys.argv[1])
