"""From a layered flow to a checked result: the only place that composes the steps."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from placer.errors import UsageError, VerificationError
from placer.layered_flow.blocks import plan_of_blocks
from placer.layered_flow.chains import plan_of_chains
from placer.layered_flow.covers import Covers, threshold
from placer.layered_flow.flow_check import violations
from placer.layered_flow.flow_file import load_flow
from placer.layered_flow.flow_problem import FlowProblem
from placer.layered_flow.flow_result import FlowResult
from placer.layered_flow.flow_search import OnProgress, Search
from placer.layered_flow.impossible import why_impossible
from placer.layered_flow.links import limit_by_links
from placer.layered_flow.range_search import improve, is_possible, prove
from placer.plans.result import Status
from placer.plans.status import Stop
from placer.search.run import Run
from placer.tolerances import BOUND_TOLERANCE

__all__ = ["flow"]

DOWN, LEAST = 0.92, 0.1
"""From one flow that chains are looked for to the next, and the least share of the bound."""
CHAINS_SHARE = 0.7
"""Share of the time limit for chains."""
NO_CHAIN = "no chain of linked devices from source to sink holds all layers"


def flow(
    problem: FlowProblem | str | Path | dict[str, Any],
    *,
    time_limit: float | None = 120.0,
    gap: float = 1e-4,
    threads: int = 1,
    seed: int = 0,
    on_progress: OnProgress | None = None,
    interrupt: threading.Event | None = None,
    began: float | None = None,
) -> FlowResult:
    """Hold ranges of layers on devices so that as many tokens per second as possible pass all of them.

    Parameters
    ----------
    problem
        The problem; or its file, or its document.
    time_limit
        Seconds; no limit when None.
    gap
        Relative gap ``(bound - tokens_per_s) / tokens_per_s`` at which to stop.
    threads, seed
        Equal values give equal results, but for the clock.
    on_progress
        Called with seconds, tokens per second of the best plan, the bound, and the name of the phase.
    interrupt
        Set it from another thread or a signal handler to stop and keep the best plan.
    began
        When the time limit began to run (`time.perf_counter`); now when None.

    Returns
    -------
    FlowResult
        Its plan is checked by a maximum flow (networkx) that knows nothing of the search.

    Raises
    ------
    InputError
        When the input breaks a rule.
    UsageError
        When a limit makes no sense.
    VerificationError
        When a plan does not hold (a defect of this software).
    """
    for name, value, least in (("time_limit", time_limit, 0.0), ("gap", gap, 0.0), ("threads", threads, 1)):
        if value is not None and not value >= least:
            raise UsageError(f"{name} must be at least {least:g}, got {value!r}")
    if not isinstance(problem, FlowProblem):
        problem = load_flow(problem)
    run = Run(time_limit=time_limit, interrupt=interrupt, began=began)
    search = Search(problem, run, gap=gap, seed=seed, on_progress=on_progress)
    message = why_impossible(problem)
    if not message and _search(search, threads) is False:
        message = NO_CHAIN
    return _result(search, message)


def _search(search: Search, threads: int) -> bool | None:
    """Look for plans and bounds until the gap is closed; False when there is proven to be no plan."""
    problem, run = search.problem, search.run
    search.phase = "bounds"
    covers = Covers(problem)
    search.limit(threshold(problem))
    search.limit(covers.limit(0.0, search.upper, run, search.precision))
    _start_from_blocks(search)
    _start_from_chains(search, covers)
    if search.over:
        return None
    if not search.ranges and (possible := is_possible(search)) is not True:
        return possible
    if not prove(search, threads):
        limit_by_links(search)
        improve(search, threads)
    return None


def _start_from_blocks(search: Search) -> None:
    """Look for the largest flow that blocks pass, by bisection between the best plan and the bound."""
    search.phase = "blocks"
    low, high = search.value, search.upper
    flow = high
    while not search.over and high - low > search.precision * high:
        ranges = plan_of_blocks(search.problem, flow, search.run)
        passed = search.offer(ranges)
        if ranges is None:
            high = flow
        else:
            low = max(flow, passed)
        flow = (low + high) / 2


def _start_from_chains(search: Search, covers: Covers) -> None:
    """Look for a flow that chains of groups pass, from the bound down, if links bind."""
    problem = search.problem
    if problem.strong(search.upper).all():
        return
    search.phase = "chains"
    flow, high, step = search.upper, search.upper, DOWN
    planned = search.run.planned
    run = search.run.part(work=None if planned is None else CHAINS_SHARE * planned, quiet=True)
    while (
        not search.proven
        and run.stopped() is None
        and flow > max(search.value * (1 + search.gap), LEAST * search.upper)
    ):
        found = covers.values(flow, run)
        if found is None:
            return
        value = np.zeros(problem.n)
        for t, devices in enumerate(problem.kinds):
            value[devices] = found[1][t]
        passed = search.offer(plan_of_chains(problem, flow, value, run))
        if passed < flow * (1 - BOUND_TOLERANCE) and search.value < flow:
            high, flow = flow, flow * step
        else:  # between what was found and the least flow that was not
            step = 1 - (1 - step) / 4
            flow = max(high * step, search.value * (1 + 2 * search.gap))
            if flow >= high:
                return


def _result(search: Search, message: str) -> FlowResult:
    stop = search.run.stopped() or (Stop.INFEASIBLE if message else Stop.FINISHED)
    held = bool(search.ranges)
    if message:
        status = Status.INFEASIBLE
    elif held:
        status = Status.OPTIMAL if search.proven else Status.FEASIBLE
    else:
        status = Status.UNKNOWN
    names = search.problem.names
    result = FlowResult(
        status=status,
        tokens_per_s=search.value if held else None,
        bound=None if message else search.bound,
        gap=(search.upper - search.value) / search.value if held else None,
        ranges={names[i]: search.ranges[i] for i in sorted(search.ranges)},
        flows=search.flows,
        seconds=search.run.seconds,
        stop=Stop.FINISHED if status is Status.OPTIMAL else stop,
        message=message or ("" if held else "no plan was found"),
    )
    found = violations(search.problem, result)
    if found:
        raise VerificationError(f"the plan does not hold: {found[0]}")
    return result
