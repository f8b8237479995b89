"""Values of a configuration, each checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from placer.errors import InputError

__all__ = ["Values"]

LARGEST = 2**32
MOST_LAYERS = 10_000
MOST_EXPERTS = 100_000


class Values:
    """What a configuration states, with the defaults of its architecture.

    Parameters
    ----------
    given
        The document.
    defaults
        What applies where a key is absent; a key without a default has to be there where it is asked for.
    aliases
        Other names of keys.
    """

    def __init__(
        self,
        given: Mapping[str, Any],
        defaults: Mapping[str, Any] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.given, self.defaults, self.aliases = given, defaults or {}, aliases or {}

    def has(self, key: str) -> bool:
        """Whether a key is given and not null."""
        return self._named(key) is not None

    def need(self, keys: Sequence[str]) -> None:
        """Refuse a document in which keys are missing.

        Raises
        ------
        InputError
            Naming all of them.
        """
        missing = [self.aliases.get(key, key) for key in keys if not self.has(key)]
        if missing:
            raise InputError(f"missing: {', '.join(missing)}")

    def _named(self, key: str) -> str | None:
        names = (key, self.aliases.get(key, key))
        return next((name for name in names if self.given.get(name) is not None), None)

    def get(self, key: str) -> Any:
        """Value of a key, or its default; None where there is neither."""
        name = self._named(key)
        # An explicit null means what the architecture makes of it: no value.
        known = any(n in self.given for n in (key, self.aliases.get(key, key)))
        return self.given[name] if name is not None else None if known else self.defaults.get(key)

    def number(self, key: str, *, least: int = 1, most: int = LARGEST) -> int:
        """Whole number.

        Raises
        ------
        InputError
            When it is missing, or none, or out of bounds.
        """
        value = self.get(key)
        if value is None:
            raise InputError(f"missing: {self.aliases.get(key, key)}")
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InputError(
                f"expected a whole number from {least} to {most}, got {value!r:.60}",
                place=self._named(key) or key,
            )
        return value

    def optional(self, key: str, *, least: int = 1) -> int | None:
        """Whole number, or None."""
        return None if self.get(key) is None else self.number(key, least=least)

    def same(self, key: str) -> int:
        """Whole number, or a list that gives every layer the same one."""
        value = self.get(key)
        if not isinstance(value, list):
            return self.number(key)
        different = set(self.items(key, int) or ())
        if len(different) != 1:
            raise InputError("numbers that differ between layers are not known", place=key)
        return Values({key: different.pop()}).number(key)

    def flag(self, key: str) -> bool:
        """Truth value; false where there is none."""
        value = self.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise InputError(f"expected true or false, got {value!r:.60}", place=key)
        return value

    def items(self, key: str, kind: type) -> list[Any] | None:
        """List of values of one type, or None."""
        value = self.get(key)
        if value is not None and not (
            isinstance(value, list)
            and len(value) <= MOST_LAYERS
            and all(type(item) is kind for item in value)
        ):
            what = {int: "whole numbers", str: "names", bool: "truth values"}[kind]
            raise InputError(f"expected a list of {what}", place=self._named(key) or key)
        return value

    def divided(self, key: str, by: str) -> int:
        """Quotient of two numbers that leaves no rest."""
        whole, parts = self.number(key), self.number(by)
        if whole % parts:
            raise InputError(f"{key} ({whole}) is no multiple of {by} ({parts})")
        return whole // parts

    @property
    def layers(self) -> int:
        """Number of layers."""
        return self.number("num_hidden_layers", most=MOST_LAYERS)
