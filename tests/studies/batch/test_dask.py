"""Batches on Dask: the same results, also when a worker is killed."""

import os
import time

import numpy as np
import pytest

from placer.errors import UsageError
from placer.studies.batch import solve_batch
from placer.studies.batch.dask import dask_engine
from tests.support.batches import METHODS, descendants, kill, outcomes, write_instances
from tests.support.level import count

distributed = pytest.importorskip("distributed", reason="the optional extra dask is not installed")

KILLS = count(1)
INSTANCES = min(25, count(4, least=4))
OPTIONS = {"methods": METHODS, "schedule": ["1f1b", "gpipe"]}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    return write_instances(tmp_path_factory.mktemp("dask") / "graphs", INSTANCES)


@pytest.fixture(scope="module")
def undisturbed(graphs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    solve_batch(graphs, folder, jobs=1, **OPTIONS)
    return outcomes(folder)


class Watch:
    """Kills one of two workers at random moments (Dask starts it again), and notes what is told."""

    def __init__(self, engine, rng, most):
        self.engine, self.rng, self.most = engine, rng, most
        self.done, self.killed, self.told = 0, 0, set()
        self.goal = int(rng.integers(1, 30))

    def ended(self, job, outcome):
        self.done += 1
        if self.done >= self.goal and self.killed < self.most:
            workers = workers_of(self.engine)
            if len(workers) == 2:
                time.sleep(self.rng.uniform(0, 0.1))
                kill(workers[int(self.rng.integers(2))])
                self.killed += 1
                self.goal = self.done + int(self.rng.integers(1, 30))

    def progressed(self, job, point, phase):
        self.told.add(job)

    def __getattr__(self, name):
        return lambda *_: None


def workers_of(engine):
    """Process ids of the workers of an engine that answer."""
    return list(engine.executor._client.run(os.getpid, on_error="ignore").values())


def test_a_worker_is_killed(graphs, undisturbed, tmp_path):
    rng = np.random.default_rng(0)
    killed, told, round_ = 0, set(), 0
    while killed < KILLS:
        out = tmp_path / f"round{round_}"
        with dask_engine("local", 2) as engine:
            assert len(set(workers_of(engine))) == 2
            watch = Watch(engine, rng, KILLS - killed)
            batch = solve_batch(graphs, out, executor=engine, watch=watch, **OPTIONS)
        assert not batch.failed
        assert outcomes(out) == undisturbed
        killed, told, round_ = killed + watch.killed, told | watch.told, round_ + 1
        print(f"round {round_}: {killed} workers killed", flush=True)
    assert told <= undisturbed.keys()
    assert told


def test_the_executor_interface_alone(graphs, undisturbed, tmp_path):
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        solve_batch(graphs, tmp_path / "out", executor=client.get_executor(), **OPTIONS)
    assert outcomes(tmp_path / "out") == undisturbed


def test_a_stop_reaches_the_workers(tmp_path):
    """A job that would take minutes is given up by its worker when the batch is stopped."""
    import threading

    from tests.support.batches import ROOT

    stop = threading.Event()

    class Stopping:
        def progressed(self, job, point, phase):
            stop.set()

        def __getattr__(self, name):
            return lambda *_: None

    with dask_engine("local", 1) as engine:
        began = time.monotonic()
        batch = solve_batch(
            ROOT / "data" / "inception.json",
            tmp_path / "out",
            methods=["local-search"],
            contiguous=False,
            executor=engine,
            interrupt=stop,
            watch=Stopping(),
        )
        assert batch.interrupted
        (worker,) = workers_of(engine)
        until = time.monotonic() + 60
        while len(descendants(worker)) > 1:  # the nursery stays, the job goes
            assert time.monotonic() < until
            time.sleep(0.05)
        assert time.monotonic() - began < 120


def test_no_scheduler(monkeypatch):
    monkeypatch.setattr("placer.studies.batch.dask.CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(UsageError, match="no Dask scheduler answers at tcp"),
        dask_engine("tcp://127.0.0.1:9"),
    ):
        pass
