"""The exceptions of the library: bad input and broken promises.

Infeasibility and time-outs are *results*, never exceptions.
"""

from __future__ import annotations

import logging

__all__ = ["InputError", "NotAnInstanceError", "PlacerError", "UsageError", "VerificationError"]

# Without a handler Python prints warnings to standard error: what a solver says is for those who ask for it.
logging.getLogger("placer").addHandler(logging.NullHandler())


class PlacerError(Exception):
    """Base class of everything that this library raises on purpose."""


class InputError(PlacerError):
    """Input that breaks a rule: one line that names the file, the place and the rule.

    Parameters
    ----------
    rule
        The rule that is broken, in words, with the offending value.
    place
        Where in the input (``"nodes[3].time_ms"``, ``"node 'conv1'"``); empty for the whole.
    source
        The file it came from; empty when the input was built in memory.
    """

    def __init__(self, rule: str, *, place: str = "", source: str = "") -> None:
        self.rule = _one_line(rule)
        self.place = _one_line(place)
        self.source = _one_line(source)
        super().__init__(": ".join(part for part in (self.source, self.place, self.rule) if part))

    def within(self, source: str) -> InputError:
        """Return the same error, said of the file ``source``."""
        return InputError(self.rule, place=self.place, source=source)


class NotAnInstanceError(InputError):
    """A JSON document of another kind where an instance was expected."""


class UsageError(PlacerError):
    """Options that do not fit together, or do not fit the instance."""


class VerificationError(PlacerError):
    """A plan that a solver returned does not hold: a defect of this software, never of the input."""


def _one_line(text: str, limit: int = 400) -> str:
    """Collapse ``text`` to one printable line of at most ``limit`` characters."""
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return line if len(line) <= limit else line[: limit - 1] + "…"
