"""What a batch consists of: jobs with an identity that depends on nothing but what is solved and how."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field

from placer.options import Options
from placer.plans.result import Result
from placer.studies.attempt import FailureKind
from placer.studies.saved import Document

__all__ = ["Failure", "Job", "Manifest", "belongs", "job_id", "options_key"]


class Job(Document):
    """An instance and the options to solve it with.

    Parameters
    ----------
    id
        Hash of the content of the instance, the options and the version of the solver: the same for
        the same work, and safe as a name of a file.
    instance, source
        Name of the instance and where it was read from; for people only.
    sha256
        Hash of the content of the instance, or ``"file:"`` and the hash of the bytes that are none.
    options
        How it is solved, the method among them.
    code
        Version of the solver.
    problem
        Why the instance cannot be read, if it cannot.
    """

    id: str
    instance: str
    source: str
    sha256: str
    options: Options
    code: str
    problem: str = ""

    @property
    def key(self) -> str:
        """The identity without the version of the solver, to find the same job in another batch."""
        return f"{self.sha256} {options_key(self.options)}"


class Failure(Document):
    """A job without a result, and the reason."""

    format: Literal["placer-failure"] = "placer-failure"
    version: Literal[1] = 1
    id: str
    instance: str
    sha256: str
    options: Options
    kind: FailureKind
    reason: str
    attempts: int
    seconds: float
    peak_memory_mb: float | None = None


class Manifest(Document):
    """The list of the jobs of a batch, readable by people.

    Parameters
    ----------
    jobs
        All jobs that the folder is about; the latest version of the solver only.
    left_out
        Files and combinations of options of the last command that are no jobs, with the reason.
    """

    format: Literal["placer-batch"] = "placer-batch"
    version: Literal[1] = 1
    jobs: list[Job] = Field(default=[])
    left_out: list[str] = Field(default=[])


def options_key(options: Options) -> str:
    """Canonical text of the options that differ from the defaults."""
    changed: dict[str, Any] = options.model_dump(mode="json", exclude_defaults=True)
    return json.dumps(changed, sort_keys=True, separators=(",", ":"))


def job_id(sha256: str, options: Options, code: str) -> str:
    """Identity of a job: 32 hexadecimal digits."""
    text = json.dumps([sha256, options.model_dump(mode="json"), code], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def belongs(result: Result, job: Job) -> bool:
    """Whether a result document is unaltered and about this job."""
    return (
        result.digest == result.computed_digest()
        and result.instance.sha256 == job.sha256
        and result.options == job.options
    )
