"""Dask as the executor of a batch: a running scheduler, or a cluster on this machine.

Each Dask worker starts every job in a process of its own; when a worker is lost, Dask runs its jobs
elsewhere.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from placer.errors import UsageError
from placer.plans.status import Point
from placer.studies.batch.executors import Engine, Tell

__all__ = ["dask_engine"]

CONNECT_SECONDS = 20
RUNNING = ("executing", "long-running")


@contextmanager
def dask_engine(address: str, jobs: int | None = None) -> Iterator[Engine]:
    """Connect to Dask.

    Parameters
    ----------
    address
        Of a scheduler (``tcp://host:8786``), the name of a scheduler file (``*.json``), or ``local``
        for a cluster of this machine that ends with the batch.
    jobs
        Workers of a local cluster, with one job each.

    Raises
    ------
    UsageError
        When Dask is not installed, or no scheduler answers.
    """
    try:
        import distributed
    except ImportError:
        raise UsageError("--scheduler needs Dask: pip install distributed") from None
    if address == "local":
        with (
            distributed.LocalCluster(
                n_workers=jobs, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs="CRITICAL"
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield _engine(client, jobs)
        return
    where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    try:
        client = distributed.Client(**where, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(f"no Dask scheduler answers at {address}: {error}") from None
    with client:
        yield _engine(client, jobs)


def _engine(client: Any, jobs: int | None) -> Engine:
    threads = sum(client.nthreads().values())
    topic = f"placer-{uuid.uuid4().hex}"

    def listen(tell: Tell) -> None:
        client.subscribe_topic(
            topic, lambda event: tell(event[1]["job"], Point(*event[1]["point"]), event[1]["phase"])
        )

    # Workers may come and go: without a number of jobs, enough is handed over for a growing cluster.
    return Engine(client.get_executor(), _Teller(topic), _released, listen, jobs or threads or None)


@dataclass(frozen=True)
class _Teller:
    """Sends progress from a worker through the scheduler."""

    topic: str

    def __call__(self, job: str, point: Point, phase: str) -> None:
        from distributed import get_worker

        where = (point.seconds, point.incumbent_ms, point.bound_ms)
        get_worker().log_event(self.topic, {"job": job, "point": where, "phase": phase})


def _released() -> bool:
    """Whether nobody waits any more for the task that this thread of a worker runs."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is None or task.state not in RUNNING
