"""What studies write down."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Document"]


class Document(BaseModel):
    """Fields that never change; others are errors when it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> str:
        """Return the document as JSON text."""
        return self.model_dump_json(indent=1) + "\n"
