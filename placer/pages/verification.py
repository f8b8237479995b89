"""Whether what a page shows was verified, and against what."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from placer.instance.instance import Instance
from placer.plans.check import check
from placer.plans.result import Result

__all__ = ["Trust", "Verdict", "verdict"]


class Trust(StrEnum):
    """What is known about the figures of a result."""

    VERIFIED = "verified"
    """Everything that can be recomputed from the instance was, and holds."""
    UNCHECKED = "unchecked"
    """The document is as it was written, but its instance is not at hand."""
    BROKEN = "broken"
    """Something does not hold; the plan must not be shown."""


@dataclass(frozen=True)
class Verdict:
    """The trust, and what does not hold, in words."""

    trust: Trust
    findings: tuple[str, ...] = ()


def verdict(result: Result, instance: Instance | None) -> Verdict:
    """Verify a result as far as its instance allows.

    Parameters
    ----------
    result
        The result.
    instance
        Its instance; without it only the digest of the document is checked.

    Returns
    -------
    Verdict
    """
    if instance is not None:
        findings = tuple(check(instance, result))
        return Verdict(Trust.BROKEN if findings else Trust.VERIFIED, findings)
    if result.digest != result.computed_digest():
        altered = "the document was altered after it was written (its digest does not match)"
        return Verdict(Trust.BROKEN, (altered,))
    return Verdict(Trust.UNCHECKED)
