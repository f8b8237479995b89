"""``placer traffic``."""

from __future__ import annotations

import json
import sys
from typing import Protocol

from rich.table import Table
from rich.text import Text

from placer.cli.exit_codes import ExitCode
from placer.cli.tables import print_json, stdout
from placer.errors import InputError, UsageError
from placer.formats.text import parse_json, read_text
from placer.serving.disaggregated_result import is_disaggregated, load_disaggregated
from placer.serving.serving_file import load_serving_result
from placer.serving.serving_plan import ServingPlan
from placer.simulation.disaggregated_traffic import PromptStage, saturated_groups
from placer.simulation.serving_answer import saturation_ms, traffic
from placer.simulation.serving_figures import ServingFigures
from placer.simulation.serving_requests import Request, poisson, read_requests

__all__ = ["run"]

REQUESTS, PROMPT, OUTPUT = 200, 512, 128
HOLDS = 1e-3
"""Relative difference from the formulas that a finite run may leave."""


class Arguments(Protocol):
    """What the command is given."""

    answer: str
    rate: float | None
    requests: int | None
    prompt: int | None
    output: int | None
    seed: int
    requests_file: str | None
    json: bool


def run(args: Arguments) -> ExitCode:
    """Simulate requests; exit code 1 when the plan's time per token does not hold at saturation."""
    if is_disaggregated(parse_json(read_text(args.answer), args.answer)):
        return _groups(args)
    plan = load_serving_result(args.answer).plan
    if plan is None:
        raise InputError("there is no plan to simulate", source=args.answer)
    found = traffic(plan, _requests(args, plan))
    tpot_ms = saturation_ms(plan)
    document = {
        "saturated": {"tpot_ms": tpot_ms, "tokens_per_s": plan.tokens_per_s * plan.tpot_ms / tpot_ms},
        "predicted": {"tpot_ms": plan.tpot_ms, "tokens_per_s": plan.tokens_per_s},
        **found.to_dict(),
    }
    if args.json:
        print_json(json.dumps(document, indent=1) + "\n")
    else:
        _print(plan, found, tpot_ms)
    if abs(tpot_ms - plan.tpot_ms) <= HOLDS * plan.tpot_ms:
        return ExitCode.DONE
    what = f"{plan.tpot_ms:.6g} ms per token, but microbatches that go round take {tpot_ms:.6g} ms"
    print(f"placer: {args.answer}: the plan says {what}", file=sys.stderr)
    return ExitCode.DOES_NOT_HOLD


def _groups(args: Arguments) -> ExitCode:
    """Simulate prefill and decode groups that always have requests to serve."""
    if any(v is not None for v in (args.rate, args.requests, args.prompt, args.output, args.requests_file)):
        raise UsageError("requests that two groups serve are those of the answer, and always waiting")
    result = load_disaggregated(args.answer)
    if result.prefill is None or result.decode is None or result.value is None:
        raise InputError("there is no plan to simulate", source=args.answer)
    stages = [PromptStage(s.replicas, s.load_ms, s.hand_over_ms) for s in result.prefill.stages]
    rate = saturated_groups(stages, result.decode, result.arrive_ms, result.output - 1)
    if args.json:
        print_json(json.dumps({"requests_per_s": rate, "predicted": result.value}, indent=1) + "\n")
    else:
        print(f"saturated: {rate:.6g} requests/s (the plan says {result.value:.6g})")
    if abs(rate - result.value) <= HOLDS * result.value:
        return ExitCode.DONE
    what = f"{result.value:.6g} requests/s, but the groups serve {rate:.6g}"
    print(f"placer: {args.answer}: the plan says {what}", file=sys.stderr)
    return ExitCode.DOES_NOT_HOLD


def _requests(args: Arguments, plan: ServingPlan) -> list[Request]:
    """Read the requests of the file, or draw them at random."""
    given = (args.rate, args.requests, args.prompt, args.output)
    if args.requests_file is not None:
        if any(value is not None for value in given):
            raise UsageError("--requests-file says when requests come and how long they are")
        return read_requests(args.requests_file)
    room = plan.context or PROMPT + OUTPUT
    if room < 2:
        raise UsageError(f"the plan's context of {room} token holds no prompt with its answer")
    # What is not given shares the context as the defaults would share theirs.
    output = args.output or max(1, min(OUTPUT, room // 5))
    prompt = args.prompt or max(1, min(PROMPT, room - output))
    rate = plan.tokens_per_s / output if args.rate is None else args.rate
    return poisson(
        rate,
        REQUESTS if args.requests is None else args.requests,
        prompt=prompt,
        output=output,
        seed=args.seed,
    )


def _print(plan: ServingPlan, found: ServingFigures, tpot_ms: float) -> None:
    console = stdout()
    table = Table(header_style="bold")
    table.add_column("ms")
    for name in ("mean", "median", "90 %", "99 %", "largest"):
        table.add_column(name, justify="right")
    for name, spread in (
        ("waiting", found.queue_ms),
        ("to first token", found.ttft_ms),
        ("per token", found.tpot_ms),
    ):
        if spread is not None:
            values = (spread.mean, spread.median, spread.p90, spread.p99, spread.largest)
            table.add_row(name, *(f"{value:,.4g}" for value in values))
    console.print(table)
    busy = ", ".join(
        f"{' + '.join(stage.devices)} {100 * share:.0f} %"
        for stage, share in zip(plan.stages, found.utilisation, strict=True)
    )
    for line in (
        f"{found.requests} requests in {found.seconds:.4g} s: {found.tokens_per_s:.4g} tokens/s, at most "
        f"{found.most_running} at once and {found.peak_tokens:,} tokens in the cache",
        f"busy: {busy}",
        f"saturated: {tpot_ms:.6g} ms per token, {plan.tokens_per_s * plan.tpot_ms / tpot_ms:.6g} tokens/s "
        f"(the plan says {plan.tpot_ms:.6g} and {plan.tokens_per_s:.6g})",
    ):
        console.print(Text(line), soft_wrap=True)
