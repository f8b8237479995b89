"""``placer report``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from placer.cli.exit_codes import ExitCode
from placer.errors import UsageError
from placer.formats.files import load, load_result
from placer.formats.text import check_writable, parse_json, read_text, write_text
from placer.pages.batch_page import batch_page
from placer.pages.folder import read_folder
from placer.pages.plan_page import plan_page
from placer.pages.serving_page import serving_page
from placer.pages.verification import verdict
from placer.serving.disaggregated_result import is_disaggregated
from placer.serving.serving_file import is_serving_result, load_serving_result

__all__ = ["run"]


class Arguments(Protocol):
    """What the command is given."""

    source: str
    instance: str | None
    out: str


def run(args: Arguments) -> ExitCode:
    """Write the page of a plan, an answer or a batch; exit code 1 when what it is about does not hold."""
    check_writable(args.out, args.source, args.instance)
    if Path(args.source).is_dir():
        if args.instance is not None:
            raise UsageError("a batch keeps its instances: leave out --instance")
        batch = read_folder(args.source)
        write_text(args.out, batch_page(batch))
        return _tell(args, batch.problems, "the page lists what does not hold")
    document = parse_json(read_text(args.source), args.source)
    if is_disaggregated(document):
        raise UsageError("an answer with prefill and decode groups has no page")
    if is_serving_result(document):
        if args.instance is not None:
            raise UsageError("an answer of placer serve is shown as it is: leave out --instance")
        write_text(args.out, serving_page(load_serving_result(args.source)))
        return _tell(args, (), "")
    instance = None if args.instance is None else load(args.instance)
    result = load_result(args.source)
    write_text(args.out, plan_page(result, instance))
    found = verdict(result, instance).findings
    return _tell(args, found, "the page shows what does not hold instead of the plan")


def _tell(args: Arguments, findings: Sequence[str], what: str) -> ExitCode:
    """Say where the page is, and on standard error what does not hold."""
    for finding in findings:
        print(f"placer: {args.source}: {finding}", file=sys.stderr)
    if findings:
        print(f"placer: {args.out}: {what}", file=sys.stderr)
    print(f"report: {args.out}")
    return ExitCode.DOES_NOT_HOLD if findings else ExitCode.DONE
