"""``placer export``."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Protocol

from placer.cli.exit_codes import ExitCode
from placer.exports.api import export

__all__ = ["run"]


class Arguments(Protocol):
    """What the command is given."""

    result: str
    to: str
    out: str
    instance: str | None
    model: str | None


def run(args: Arguments) -> ExitCode:
    """Write the plan in another tool's format; remarks go to standard error."""
    with redirect_stdout(sys.stderr):  # a model is code, and may print
        remarks = export(args.result, args.to, args.out, instance=args.instance, model=args.model)
    for remark in remarks:
        print(f"placer: {args.to}: {remark}", file=sys.stderr)
    return ExitCode.DONE
