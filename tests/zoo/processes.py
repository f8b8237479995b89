"""A process of its own for each entry, with limits on time and memory."""

from __future__ import annotations

import dataclasses
import multiprocessing
import resource
import signal
from typing import Any

from tests.zoo.check import examine
from tests.zoo.entries import Entry, Record
from tests.zoo.every import entry as entry_of

__all__ = ["examined"]

GIGABYTES = 8
"""Address space of a process; what an entry uses of it is less."""
PATIENCE = 8
"""By how much an entry may take longer than its processor time, where others use the processor, too."""
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.zoo.preloaded"])


def examined(entry: Entry, seconds: int) -> Record:
    """Examine an entry in a process of its own."""
    failed = Record(entry.name, str(entry.source), stage="import")
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_send, args=(entry.name, seconds, sender), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(PATIENCE * seconds):
            return dataclasses.replace(failed, failure=f"not done within {PATIENCE * seconds} s")
        return receiver.recv()
    except EOFError:
        process.join()
        reason = f"not done within {seconds} s of processor time"
        if process.exitcode not in (-signal.SIGXCPU, -signal.SIGKILL):
            reason = f"its process ended with {process.exitcode}"
        return dataclasses.replace(failed, failure=reason)
    finally:
        process.kill()
        process.join()


def _send(name: str, seconds: int, sender: Any) -> None:
    limit = GIGABYTES * 1000**3
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sender.send(examine(entry_of(name)))
