"""``placer serve --layout flow``: ranges of layers that several devices may share."""

from __future__ import annotations

import json
import time
from typing import Protocol

from placer.cli.exit_codes import ExitCode
from placer.cli.flow import finish, progress
from placer.cli.progress import Live
from placer.errors import UsageError
from placer.formats.text import check_writable, write_text
from placer.layered_flow.flow import flow
from placer.layered_flow.flow_file import flow_document
from placer.serving.flow_of_model import MOST_SEQUENCES, flow_of_model
from placer.serving.serving_model import ServingModel
from placer.serving.serving_request import Goal, ServingRequest
from placer.signals import stop_on_signals

__all__ = ["Arguments", "run_flow"]


class Arguments(Protocol):
    """What of the command's arguments counts here."""

    model: str
    time_limit: float
    out: str | None
    problem: str | None
    json: bool
    quiet: bool


def run_flow(args: Arguments, model: ServingModel, request: ServingRequest) -> ExitCode:
    """Make a layered flow, solve it, and print it as ``placer flow`` does."""
    began = time.perf_counter()
    if request.objective is not Goal.THROUGHPUT or request.max_tpot_ms or request.max_ttft_ms:
        raise UsageError("--layout flow knows throughput alone, without limits on times")
    if max(request.shards) > 1 or max(request.replicas) > 1 or request.scattered:
        raise UsageError("--layout flow has one device per range: no --shards, no --replicas, no --scattered")
    if args.problem:
        check_writable(args.problem, args.model)
    problem = flow_of_model(model, request.context or 1, request.concurrency or MOST_SEQUENCES)
    if args.problem:
        write_text(args.problem, json.dumps(flow_document(problem), indent=1) + "\n")
    with stop_on_signals() as interrupt, Live(quiet=args.quiet) as live:
        result = flow(
            problem,
            time_limit=args.time_limit,
            gap=max(request.gap, 1e-4),
            on_progress=lambda *news: live.show(news[0], progress(*news)),
            interrupt=interrupt,
            began=began,
        )
    return finish(args, problem, result, interrupted=interrupt.is_set())
