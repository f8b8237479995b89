"""The folder of a batch as its page shows it: every plan verified again, failures among the jobs."""

import json

import pytest

from placer.errors import UsageError
from placer.formats import native
from placer.formats.files import load
from placer.instance.fingerprint import fingerprint
from placer.options import Options
from placer.pages.batch_page import batch_page
from placer.pages.folder import read_folder
from placer.solving.solve import solve
from placer.studies.attempt import FailureKind
from placer.studies.batch.jobs import Failure, Job, job_id
from placer.studies.batch.store import Store
from tests.cli.test_cli import call
from tests.support.plans import DATA


@pytest.fixture
def folder(tmp_path):
    """The textbook instance: proven by ``milp`` (10 ms), planned by ``single`` (worse), refused by ``dp``."""
    instance = load(DATA / "textbook.json")
    sha256 = fingerprint(instance)
    store = Store(tmp_path / "night")
    jobs = []
    for method in ("milp", "single", "dp"):
        options = Options(method=method)
        jobs.append(
            Job(
                id=job_id(sha256, options, "1"),
                instance=instance.name,
                source="textbook.json",
                sha256=sha256,
                options=options,
                code="1",
            )
        )
    with store.locked():
        store.plan(jobs, ["notes.txt: not an instance"])
        store.keep_instance(sha256, native.to_json(instance).encode())
        for job in jobs[:2]:
            store.finish(job, solve(instance, job.options))
        store.fail(
            jobs[2],
            Failure(
                id=jobs[2].id,
                instance=instance.name,
                sha256=sha256,
                options=jobs[2].options,
                kind=FailureKind.CRASHED,
                reason="signal 11",
                attempts=1,
                seconds=0.5,
            ),
        )
    return store.folder


def test_jobs_and_methods(folder):
    found = read_folder(folder)
    assert found.problems == []
    assert [(e.method, e.state) for e in found.entries] == [
        ("milp", "proven"),
        ("single", "solved"),
        ("dp", "failed"),
    ]
    milp, single, dp = found.entries
    assert milp.objective == pytest.approx(10.0)
    assert single.ratio == pytest.approx(single.objective / 10.0)
    assert "signal 11" in dp.reason
    assert [row["wins"] for row in found.summary] == [1, 0, 0]
    page = batch_page(found)
    assert "notes.txt: not an instance" in page
    assert "✓ Verified." in page


def test_a_plan_that_does_not_hold_has_no_figures(folder, capsys, tmp_path):
    """Sealed anew with everything on one accelerator, which holds four of six nodes."""
    store = Store(folder)
    job = store.manifest().jobs[0]
    result = store.result(job)
    forged = result.model_copy(update={"assignment": dict.fromkeys(result.assignment, "gpu0")}).sealed()
    (folder / "results" / f"{job.id}.json").write_text(forged.to_json())
    found = read_folder(folder)
    (problem,) = found.problems
    assert problem.startswith("textbook, milp: the plan does not hold: ")
    assert (found.entries[0].state, found.entries[0].objective) == ("failed", None)
    code, _, err = call(capsys, "report", folder, "--out", tmp_path / "night.html")
    assert code == 1
    assert "the plan does not hold" in err
    assert "Something does not hold" in (tmp_path / "night.html").read_text()


def test_a_lost_instance_is_said(folder):
    (kept,) = (folder / "instances").iterdir()
    kept.unlink()
    found = read_folder(folder)
    assert len(found.problems) == 2
    assert "its instance cannot be read" in found.problems[0]


def test_command_line(folder, capsys, tmp_path):
    out = tmp_path / "night.html"
    assert call(capsys, "report", folder, "--out", out) == (0, f"report: {out}\n", "")
    assert '<h1 id="title">night</h1>' in out.read_text()
    instance = DATA / "textbook.json"
    assert call(capsys, "report", folder, "--instance", instance, "--out", out)[0] == 2


def test_no_batch(tmp_path):
    with pytest.raises(UsageError, match="holds no batch"):
        read_folder(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"format": "placer-batch", "version": 1}))
    with pytest.raises(UsageError, match="holds no batch"):
        read_folder(tmp_path)
