"""A case: an instance document, options of the solve, and how they were drawn."""

import json
from dataclasses import dataclass, field
from typing import Any

from placer.formats.documents import NativeInstance
from placer.formats.native import to_instance
from placer.instance.instance import Instance


@dataclass(frozen=True)
class Case:
    """What is solved: a document of the instance format and options by name."""

    seed: int
    features: frozenset[str]
    document: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    def instance(self) -> Instance:
        return to_instance(NativeInstance.model_validate(self.document))

    def to_json(self) -> str:
        """One line, as it is written down for a failure."""
        whole = {
            "seed": self.seed,
            "features": sorted(self.features),
            "options": self.options,
            "instance": self.document,
        }
        return json.dumps(whole)

    @classmethod
    def from_json(cls, text: str) -> "Case":
        read = json.loads(text)
        return cls(read["seed"], frozenset(read["features"]), read["instance"], read["options"])
