"""``placer schema``."""

from __future__ import annotations

import json
import sys

from placer.cli.exit_codes import ExitCode
from placer.formats import documents

__all__ = ["run"]


def run(_: object) -> ExitCode:
    """Print the JSON Schema of the native instance format."""
    sys.stdout.write(json.dumps(documents.schema(), indent=1) + "\n")
    return ExitCode.DONE
