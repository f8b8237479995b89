"""The folder of a batch: what is in it is whole, and stays.

::

    manifest.json            the list of the jobs
    instances/<sha256>.json  the instances, as they were read
    results/<job>.json       one result document per finished job
    failures/<job>.json      why a job has no result
    interrupted/<job>.json   the best plan of a job that was interrupted, until it is run again
    summary.csv, jobs.csv    the tables

Names of files are hashes; no name from an instance gets into a path.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from placer.errors import InputError, UsageError
from placer.formats.files import load_result
from placer.formats.text import parse_json, read_text, validate, write_text
from placer.plans.result import Result
from placer.studies.batch.jobs import Failure, Job, Manifest, belongs

__all__ = ["Store"]

M = TypeVar("M", bound=BaseModel)

FOLDERS = ("instances", "results", "failures", "interrupted")
HEX = set("0123456789abcdef")


class Store:
    """The folder of a batch.

    Parameters
    ----------
    folder
        Created when it is written to.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder alone; the lock ends with the process, however that ends.

        Raises
        ------
        UsageError
            When another batch holds it.
        InputError
            When the folder cannot be written.
        """
        import fcntl  # not on all systems, as forks are not

        try:
            for name in FOLDERS:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("a+")
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", source=str(self.folder)) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"{self.folder}: another batch is working in this folder") from None
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Remove files that were being written when an earlier batch was killed."""
        for folder in (self.folder, *(self.folder / name for name in FOLDERS)):
            for leftover in folder.glob(".placer-*.tmp"):
                with contextlib.suppress(OSError):
                    leftover.unlink()

    # -- manifest -------------------------------------------------------------------------------

    def manifest(self) -> Manifest:
        """Read the manifest; an empty one when there is none.

        Raises
        ------
        InputError
            When the file is not what a batch wrote.
        """
        path = self.folder / "manifest.json"
        return _read(path, Manifest) if path.exists() else Manifest()

    def plan(self, jobs: Iterable[Job], left_out: list[str]) -> Manifest:
        """Add jobs to the manifest; those of an older solver, or of what a file held before, give way."""
        planned = {job.key: job for job in jobs}
        read = {job.source for job in planned.values()}
        held = {(job.source, job.sha256) for job in planned.values()}
        elsewhere = {job.sha256 for job in planned.values()}
        merged: dict[str, Job] = {}
        edited: set[str] = set()
        for job in self.manifest().jobs:
            if job.problem and job.source in read:  # what could not be read before is judged afresh
                self._drop("failures", job)
            elif job.source in read and (job.source, job.sha256) not in held and job.sha256 not in elsewhere:
                edited.add(job.source)  # its results stay, and count again when the file is as it was
            else:
                merged[job.key] = job
        merged.update(planned)
        left_out = [
            *left_out,
            *(f"{source}: edited, so that earlier results count no more" for source in sorted(edited)),
        ]
        manifest = Manifest(jobs=list(merged.values()), left_out=left_out)
        self._write("manifest.json", manifest.model_dump_json(indent=1) + "\n")
        return manifest

    # -- instances ------------------------------------------------------------------------------

    def keep_instance(self, sha256: str, data: bytes) -> None:
        """Keep the bytes of an instance, once."""
        path = self.folder / "instances" / f"{_hex(sha256)}.json"
        if not path.exists():
            self._write(f"instances/{path.name}", data.decode("utf-8-sig"))

    def instance(self, sha256: str) -> bytes:
        """Return the bytes of an instance."""
        path = self.folder / "instances" / f"{_hex(sha256)}.json"
        try:
            return path.read_bytes()
        except OSError as error:
            raise InputError(error.strerror or "cannot be read", source=str(path)) from None

    # -- outcomes -------------------------------------------------------------------------------

    def result(self, job: Job) -> Result | None:
        """Return the result of a job.

        Raises
        ------
        InputError
            When there is a document, but altered, cut off or about another job.
        """
        path = self.folder / "results" / f"{_hex(job.id)}.json"
        if not path.exists():
            return None
        result = load_result(path)
        if not belongs(result, job):
            raise InputError("the document was altered, or is about another job", source=str(path))
        return result

    def failure(self, job: Job) -> Failure | None:
        """Return why a job has no result; None when it is not known, or cannot be read."""
        path = self.folder / "failures" / f"{_hex(job.id)}.json"
        with contextlib.suppress(InputError):
            if path.exists():
                failure = _read(path, Failure)
                return failure if failure.id == job.id else None
        return None

    def finish(self, job: Job, result: Result) -> None:
        """Keep the result of a job; what was said of it before is void."""
        self._write(f"results/{_hex(job.id)}.json", result.to_json())
        self.finish_up(job)

    def finish_up(self, job: Job) -> None:
        """Remove what was said of a job before it had a result."""
        self._drop("failures", job)
        self._drop("interrupted", job)

    def fail(self, job: Job, failure: Failure) -> None:
        """Keep why a job has no result."""
        self._write(f"failures/{_hex(job.id)}.json", failure.model_dump_json(indent=1) + "\n")
        self._drop("interrupted", job)

    def interrupt(self, job: Job, result: Result) -> None:
        """Keep the best plan of a job that will be run again."""
        self._write(f"interrupted/{_hex(job.id)}.json", result.to_json())

    def set_aside(self, job: Job) -> None:
        """Keep a document that is no result of the job under another name."""
        path = self.folder / "results" / f"{_hex(job.id)}.json"
        with contextlib.suppress(OSError):
            path.replace(path.with_suffix(".altered"))

    def write_table(self, name: str, text: str) -> None:
        """Write a table beside the manifest."""
        self._write(name, text)

    # -- files ----------------------------------------------------------------------------------

    def _drop(self, folder: str, job: Job) -> None:
        (self.folder / folder / f"{_hex(job.id)}.json").unlink(missing_ok=True)

    def _write(self, name: str, text: str) -> None:
        """Write a file whole and have it survive a loss of power."""
        path = self.folder / name
        write_text(path, text)
        with contextlib.suppress(OSError):  # not every file system can do that
            handle = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _read(path: Path, model: type[M]) -> M:
    try:
        return validate(model, parse_json(read_text(path), str(path)))
    except InputError as error:
        raise error if error.source else error.within(str(path)) from None


def _hex(name: str) -> str:
    """Return ``name`` if it can only be a hash: a manifest may have been altered by hand."""
    if not name or not set(name) <= HEX:
        raise InputError(f"{name!r} is no identity of a job or an instance")
    return name
