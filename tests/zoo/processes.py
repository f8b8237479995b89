"""A process of its own for each entry, with limits on time and memory."""

from __future__ import annotations

import dataclasses
import multiprocessing
import resource
from typing import Any

from tests.zoo.check import examine
from tests.zoo.entries import Entry, Record
from tests.zoo.every import entry as entry_of

__all__ = ["examined"]

GIGABYTES = 8
"""Address space of a process; what an entry uses of it is less."""
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.zoo.preloaded"])


def examined(entry: Entry, seconds: int) -> Record:
    """Examine an entry in a process of its own."""
    failed = Record(entry.name, str(entry.source), stage="import")
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_send, args=(entry.name, sender), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            return dataclasses.replace(failed, failure=f"not done within {seconds} s")
        return receiver.recv()
    except EOFError:
        process.join()
        return dataclasses.replace(failed, failure=f"its process ended with {process.exitcode}")
    finally:
        process.kill()
        process.join()


def _send(name: str, sender: Any) -> None:
    limit = GIGABYTES * 1000**3
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sender.send(examine(entry_of(name)))
