"""``solve_batch``: jobs are done once, kept whole, and fail alone."""

import concurrent.futures as cf
import errno
import itertools
import json
import os
import threading
import zipfile
from pathlib import Path

import pytest

import placer
from placer.errors import InputError, UsageError
from placer.formats import native
from placer.studies.attempt import FailureKind, Outcome
from placer.studies.batch import solve_batch
from placer.studies.batch.records import State
from tests.support.batches import ROOT, chain, outcomes, write_instances

DATA = ROOT / "data"


@pytest.fixture
def graphs(tmp_path):
    return write_instances(tmp_path / "graphs", 4)


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "results").iterdir()}


def states(batch) -> list[str]:
    return [record.state.value for record in batch.records]


class Counting(cf.ThreadPoolExecutor):
    """Counts what is handed to it."""

    count = 0

    def submit(self, function, /, *args, **more):
        self.count += 1
        return super().submit(function, *args, **more)


def test_results_are_those_of_solve(graphs, tmp_path):
    out = tmp_path / "out"
    batch = solve_batch(graphs, out, methods=["dp", "single"], objective=["throughput", "latency"], jobs=1)
    assert len(batch.records) == len(outcomes(out)) == 16
    for result in batch.results():
        (path,) = (p for p in graphs.iterdir() if placer.load(p).name == result.instance.name)
        alone = placer.solve(placer.load(path), result.options)
        assert (result.status, result.assignment) == (alone.status, alone.assignment)
        assert (result.objective, result.bound) == (alone.objective, alone.bound)
        assert result.stats["peak_memory_mb"] > 10
    assert {row.jobs for row in batch.summary.methods} == {4}


def test_finished_jobs_are_never_run_again(graphs, tmp_path):
    out = tmp_path / "out"
    with Counting(1) as executor:
        solve_batch(graphs, out, methods=["dpl"], executor=executor)
        before = times(out)
        solve_batch(graphs, out, methods=["dpl"], executor=executor)
        assert (executor.count, times(out)) == (4, before)
        batch = solve_batch(graphs, out, methods=["single", "dpl"], executor=executor)
        assert executor.count == 8
    assert times(out).items() > before.items()
    assert len(batch.records) == 8


def test_identity_is_the_content(graphs, tmp_path):
    """Copies, other names of files and other orders of edges are the same instance; another time is not."""
    document = json.loads((graphs / "000.json").read_text())
    (graphs / "copy.json").write_text(json.dumps(document | {"edges": document["edges"][::-1]}))
    document["nodes"][0]["memory_bytes"] = 0.125
    (graphs / "other.json").write_text(json.dumps(document))
    batch = solve_batch(graphs, tmp_path / "out", methods=["single"])
    assert len(batch.records) == 5


def test_an_edited_file_is_no_second_instance(graphs, tmp_path):
    """Its earlier result counts no more, nor is it lost: it counts again when the edit is undone."""
    out, file = tmp_path / "out", graphs / "000.json"
    solve_batch(graphs, out, methods=["single"])
    first = file.read_text()
    document = json.loads(first)
    document["nodes"][0]["memory_bytes"] = 0.125
    file.write_text(json.dumps(document))
    batch = solve_batch(graphs, out, methods=["single"])
    assert [row.jobs for row in batch.summary.methods] == [len(list(graphs.iterdir()))]
    assert any("000.json: edited" in line for line in batch.left_out)
    file.write_text(first)
    with Counting(1) as executor:
        batch = solve_batch(graphs, out, methods=["single"], executor=executor)
        assert executor.count == 0
    assert [row.jobs for row in batch.summary.methods] == [len(list(graphs.iterdir()))]


def test_another_version_of_the_solver_runs_all_jobs_again(graphs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    solve_batch(graphs, out, methods=["single"])
    for module in ("placer.studies.batch.batch", "placer.studies.batch.worker"):
        monkeypatch.setattr(f"{module}.code_version", lambda: "0123456789abcdef")
    batch = solve_batch(graphs, out, methods=["single"])
    assert len(batch.records) == 4
    assert len(times(out)) == 8


def test_a_worker_with_another_version_is_refused(graphs, tmp_path, monkeypatch):
    monkeypatch.setattr("placer.studies.batch.batch.code_version", lambda: "0123456789abcdef")
    batch = solve_batch(graphs, tmp_path / "out", methods=["single"])
    assert states(batch) == ["failed"] * 4
    assert "this worker runs another version of placer" in batch.records[0].reason


def test_bad_instances_fail_alone(graphs, tmp_path):
    out = tmp_path / "out"
    (graphs / "bad.json").write_text('{"format": "placer-instance", "version": 1}')
    (graphs / "deep.json").write_text("[" * 100_000)
    (graphs / "note.json").write_text('{"format": "placer-result"}')
    with zipfile.ZipFile(graphs / "more.zip", "w") as archive:
        archive.writestr("../up.json", native.to_json(chain()))
        archive.writestr("chain.json", native.to_json(chain()))
    batch = solve_batch(graphs, out, methods=["single"])
    reasons = {r.instance: r.reason for r in batch.failed}
    assert reasons.keys() == {"bad", "deep", "up"}
    assert reasons["bad"].startswith("bad instance: nodes: this field is required")
    assert reasons["deep"] == "bad instance: not acceptable JSON: nested too deeply"
    assert reasons["up"] == "bad instance: its path leads out of the archive"
    assert sum(state == "failed" for state in states(batch)) == 3
    assert len(states(batch)) == 8
    (left,) = batch.left_out
    assert "note.json: not an instance: this is a result document" in left
    # Repaired, it is a job as any other.
    (graphs / "bad.json").write_text(native.to_json(chain().replace(name="repaired")))
    (graphs / "deep.json").unlink()
    (graphs / "more.zip").unlink()
    batch = solve_batch(graphs, out, methods=["single"])
    assert {r.instance for r in batch.failed} == {"deep", "up"}


def test_instances_in_memory_and_grids(tmp_path):
    grids = [{"schedule": ["1f1b", "gpipe"]}, {"communication": "overlap", "pieces": 2}]
    batch = solve_batch(chain(), tmp_path / "out", methods=["dp"], grids=grids)
    assert [r.method for r in batch.records] == ["dp schedule=1f1b", "dp schedule=gpipe"]
    (left,) = batch.left_out
    assert left.endswith("pieces apply to the latency objective only")


def test_limits_of_a_job(tmp_path):
    heavy = placer.load(DATA / "inception.json")
    batch = solve_batch(heavy, tmp_path / "a", methods=["milp"], kill_after=0.05)
    assert batch.records[0].reason.startswith("time limit exceeded: it ran for more than 0.05 s")
    batch = solve_batch(heavy, tmp_path / "b", methods=["milp"], job_memory_mb=24)
    assert batch.records[0].reason.startswith("memory limit exceeded: it ")
    assert states(batch) == ["failed"]


def test_failed_jobs_stay_failed_unless_asked(tmp_path):
    # Its job takes seconds, so that a look at its memory comes before its end.
    slow, out = placer.load(DATA / "heterogeneous.json"), tmp_path / "out"
    with Counting(1) as executor:
        solve_batch(slow, out, methods=["milp"], job_memory_mb=24, executor=executor)
        assert states(solve_batch(slow, out, methods=["milp"], executor=executor)) == ["failed"]
        assert executor.count == 1
        again = solve_batch(slow, out, methods=["milp"], executor=executor, retry_failed=True)
        assert states(again) == ["proven"]
    assert list((out / "failures").iterdir()) == []


def test_too_many_threads(tmp_path):
    with pytest.raises(
        UsageError, match=r"1000 jobs with 2 threads need 2000 cores, of \d+; at most \d+ jobs"
    ):
        solve_batch(chain(), tmp_path / "out", jobs=1000, threads=2)


def test_one_batch_per_folder(tmp_path):
    class Second:
        """Starts a second batch when the first is about to run."""

        said = ""

        def planned(self, jobs, finished, parallel):
            with pytest.raises(UsageError) as caught:
                solve_batch(chain(), tmp_path / "out", methods=["single"])
            Second.said = str(caught.value)

        def __getattr__(self, name):
            return lambda *_: None

    solve_batch(chain(), tmp_path / "out", methods=["single"], watch=Second())
    assert Second.said.endswith("another batch is working in this folder")


# -- documents ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["objective", "cut"])
def test_altered_documents_are_noticed_and_set_aside(tmp_path, damage):
    out = tmp_path / "out"
    solve_batch(chain(), out, methods=["dp"])
    expected = outcomes(out)
    (path,) = (out / "results").iterdir()
    text = path.read_text()
    path.write_text(text[:100] if damage == "cut" else text.replace('"bound": 10.0', '"bound": 9.5'))
    batch = solve_batch(chain(), out, methods=["dp"])
    assert states(batch) == ["proven"]
    assert "it was set aside and the job is run again" in batch.left_out[0]
    assert path.with_suffix(".altered").exists()
    path.with_suffix(".altered").unlink()
    assert outcomes(out) == expected


def test_an_altered_manifest_leads_nowhere(tmp_path):
    out = tmp_path / "out"
    solve_batch(chain(), out, methods=["dp"])
    document = json.loads((out / "manifest.json").read_text())
    document["jobs"][0]["id"] = "../../etc/passwd"
    document["jobs"][0]["options"]["gap"] = 0.5
    (out / "manifest.json").write_text(json.dumps(document))
    failed, proven = solve_batch(chain(), out, methods=["dp"]).records
    assert (failed.state, proven.state) == (State.FAILED, State.PROVEN)
    assert failed.reason == "'../../etc/passwd' is no identity of a job or an instance"
    (out / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json: not JSON"):
        solve_batch(chain(), out, methods=["dp"])


def test_a_full_disk(graphs, tmp_path, monkeypatch):
    """Every write of the batch may be the one that does not fit."""
    reference = tmp_path / "reference"
    solve_batch(graphs, reference, methods=["single"])
    out, fsync = tmp_path / "out", os.fsync
    room, runs, seen = 0, 0, {}

    def full(handle):
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    said = "once"
    while said:
        room, runs, said = 5, runs + 1, ""
        with monkeypatch.context() as patch:
            patch.setattr("placer.formats.text.os.fsync", full)
            try:
                solve_batch(graphs, out, methods=["single"])
            except InputError as error:
                said = str(error)
        assert not said or said.endswith("cannot be written: No space left on device")
        assert times(out).items() >= seen.items()
        seen = times(out)
    assert runs >= 4
    assert outcomes(out) == outcomes(reference)


@pytest.mark.parametrize("folder", ["file/out", "file"])
def test_an_unwritable_folder(tmp_path, folder):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written: (Not a directory|File exists)"):
        solve_batch(chain(), tmp_path / folder)


# -- executors ------------------------------------------------------------------------------------------


def test_processes_of_the_standard_library(graphs, tmp_path):
    reference, out = tmp_path / "reference", tmp_path / "out"
    solve_batch(graphs, reference, methods=["single", "pipedream"])
    with cf.ProcessPoolExecutor(1) as executor:
        solve_batch(graphs, out, methods=["single", "pipedream"], executor=executor)
    assert outcomes(out) == outcomes(reference)


class Losing(cf.Executor):
    """Loses the worker of each job so many times."""

    def __init__(self, losses):
        self.losses, self.seen = losses, {}

    def submit(self, function, /, task, *more):
        future = cf.Future()
        self.seen[task.id] = self.seen.get(task.id, 0) + 1
        if self.seen[task.id] <= self.losses:
            future.set_exception(cf.BrokenExecutor("the worker died"))
        else:
            future.set_result(function(task, *more))
        return future


def test_jobs_of_a_lost_worker_are_run_elsewhere(graphs, tmp_path):
    out = tmp_path / "out"
    once = Losing(1)
    assert not solve_batch(graphs, out, methods=["single"], executor=once).failed
    assert set(once.seen.values()) == {2}
    batch = solve_batch(graphs, out, methods=["dpl"], executor=Losing(9))
    assert [r.reason for r in batch.failed] == [
        "killed from outside: its workers were lost (BrokenExecutor)"
    ] * 4
    # That was nothing that the jobs did: the next batch runs them.
    assert not solve_batch(graphs, out, methods=["dpl"]).failed


def test_an_executor_that_fails(graphs, tmp_path):
    class Failing(cf.Executor):
        def submit(self, function, /, *args):
            future = cf.Future()
            future.set_exception(ValueError("no\nway"))
            return future

    batch = solve_batch(graphs, tmp_path / "out", methods=["single"], executor=Failing())
    assert batch.failed[0].reason == "failed: its worker failed: ValueError: no way"
    closed = cf.ThreadPoolExecutor(1)
    closed.shutdown()
    with pytest.raises(UsageError, match="the executor takes no more jobs"):
        solve_batch(graphs, tmp_path / "other", methods=["single"], executor=closed)


# -- interruption ---------------------------------------------------------------------------------------


def test_interrupted_jobs_keep_their_plan_and_run_again(tmp_path):
    """An interrupted plan is kept apart; the document of the job is that of an undisturbed run."""
    out, stop = tmp_path / "out", threading.Event()
    heavy = placer.load(DATA / "inception.json")

    class Stopping:
        def progressed(self, job, point, phase):
            if point.incumbent_ms is not None:
                stop.set()

        def __getattr__(self, name):
            return lambda *_: None

    options = {"methods": ["local-search"], "contiguous": False}
    batch = solve_batch(heavy, out, **options, interrupt=stop, watch=Stopping())
    assert batch.interrupted
    if batch.records[0].state is State.WAITING:  # it may have ended just before
        assert list((out / "results").iterdir()) == []
        (path,) = (out / "interrupted").iterdir()
        assert placer.check(heavy, placer.formats.files.load_result(path)) == []
    batch = solve_batch(heavy, out, **options)
    assert states(batch) == ["solved"]
    outcomes(out)


def test_an_interruption_before_the_start(graphs, tmp_path):
    stop = threading.Event()
    stop.set()
    batch = solve_batch(graphs, tmp_path / "out", interrupt=stop)
    assert (batch.interrupted, batch.records) == (True, [])


def test_every_kind_of_failure_is_kept(graphs, tmp_path):
    kinds = itertools.cycle(FailureKind)

    class Failing(cf.Executor):
        def submit(self, function, /, task, *more):
            future = cf.Future()
            future.set_result(Outcome(None, next(kinds), "why", 2, 1.5, 99.0))
            return future

    batch = solve_batch(
        graphs, tmp_path / "out", methods=["single", "dpl"], executor=Failing(), retry_failed=True
    )
    assert {r.reason.removesuffix(": why") for r in batch.records} >= {kind.value for kind in FailureKind}
    assert next(r for r in batch.records if "not applicable" in r.reason).state is State.NOT_APPLICABLE
    assert batch.records[0].peak_memory_mb == 99.0
