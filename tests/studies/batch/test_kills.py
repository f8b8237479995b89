"""Batches and their processes, killed at random moments: nothing is lost, nothing is done twice."""

import sys
import time

import numpy as np
import pytest

from placer.studies.batch import solve_batch
from tests.support.batches import METHODS, command, descendants, gone, kill, outcomes, write_instances
from tests.support.level import count

KILLS = count(3)
INSTANCES = min(25, count(4, least=4))

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    return write_instances(tmp_path_factory.mktemp("kills") / "graphs", INSTANCES)


@pytest.fixture(scope="module")
def undisturbed(graphs, tmp_path_factory):
    """What comes of the jobs when nobody disturbs them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    solve_batch(graphs, folder, methods=METHODS, schedule=["1f1b", "gpipe"], jobs=1)
    found = outcomes(folder)
    assert len(found) == INSTANCES * 2 * len(METHODS)
    return found


def start(graphs, out, *more):
    where = ("--out", out, "--methods", ",".join(METHODS), "--schedule", "1f1b,gpipe")
    return command("batch", graphs, *where, "--jobs", 2, "--oversubscribe", *more)


def written(out):
    """Modification times of the results."""
    folder = out / "results"
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("*.json")} if folder.is_dir() else {}


def wait(rng, process, out, done, jobs):
    """Wait for a random moment: somewhere in the start, or around some number of results."""
    if rng.random() < 0.2:
        time.sleep(rng.uniform(0.0, 2.0))
        return
    goal = int(rng.integers(done + 1, max(done + 2, jobs - 4)))
    while process.poll() is None and len(written(out)) < goal:
        time.sleep(0.002)
    time.sleep(rng.uniform(0.0, 0.05))


def test_the_batch_is_killed(graphs, undisturbed, tmp_path):
    """A fresh folder each time all jobs are done; a result that is there is never written again."""
    rng = np.random.default_rng(0)
    round_, kills, partial = 0, 0, 0
    while kills < KILLS:
        out = tmp_path / f"round{round_}"
        before = written(out)
        process = start(graphs, out)
        wait(rng, process, out, len(before), len(undisturbed))
        below = descendants(process.pid)
        killed = process.poll() is None
        process.kill()
        process.communicate()
        kills += killed
        partial += 0 < len(written(out)) < len(undisturbed)
        assert gone(below)
        assert written(out).items() >= before.items()
        if not killed or kills == KILLS or len(written(out)) == len(undisturbed):
            process = start(graphs, out)
            said = process.communicate(timeout=600)
            assert process.returncode == 0, said
            assert outcomes(out) == undisturbed
            round_ += 1
    assert partial > 0


def test_workers_are_killed(graphs, undisturbed, tmp_path):
    """Nurseries and jobs are killed; their jobs are started once more, and by the next command."""
    rng = np.random.default_rng(1)
    round_, kills = 0, 0
    while kills < KILLS:
        out = tmp_path / f"round{round_}"
        process = start(graphs, out)
        while process.poll() is None:
            time.sleep(rng.uniform(0.0, 0.3))
            # The process itself waits for the one that works, and that one has the nurseries.
            below = descendants(process.pid)[1:]
            if below and kills < KILLS:
                kill(below[int(rng.integers(len(below)))])
                kills += 1
        assert process.returncode in (0, 1), process.communicate()
        process.communicate()
        process = start(graphs, out)
        said = process.communicate(timeout=600)
        assert process.returncode == 0, said
        assert outcomes(out) == undisturbed
        round_ += 1
